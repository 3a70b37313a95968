//! Something that all apps take from: places for requests, memory for bodies. Bounded, and no app's flood takes
//! what the others need.
//!
//! Nothing that was given is taken back, so fairness must begin before all is gone. Four fifths are whoever's
//! comes first: an app alone may be as busy as that. Of the last fifth each configured app has an equal part
//! reserved. What is left of it goes to apps with less than their *fair share*, the limit over the number of
//! apps that hold anything; whoever has that much is refused first. So
//!
//! - an app within its reserve is never refused, whatever the others do;
//! - of two apps that both want all, the one that has more is refused until they hold the same: each place that
//!   it gives back goes to the other.
//!
//! The rule is [`judge`], a function of plain numbers; the rest is counting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part that is reserved: one of so many.
const RESERVED: u64 = 5;

/// What there is not enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// There is too little for anybody who asks for so much, but for what is reserved.
    Everything,
    /// The app has its fair share, and little is left.
    Share,
}

/// What decides about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// All there is.
    pub limit: u64,
    /// What all apps hold together.
    pub total: u64,
    /// What the app that asks holds.
    pub own: u64,
    /// Apps that hold anything, with the one that asks.
    pub active: u64,
    /// What is reserved for each app.
    pub reserve: u64,
    /// What the other apps have not taken of their reserves.
    pub unclaimed: u64,
}

/// Whether so many units may be taken.
pub fn judge(seen: &Seen, units: u64) -> Result<(), Scarce> {
    let (own, total) = (seen.own.saturating_add(units), seen.total.saturating_add(units));
    let plenty = seen.limit - seen.limit / RESERVED;
    // What is alone passes if it fits at all: it could never be served otherwise.
    let free = own <= seen.reserve || total <= plenty || seen.total == 0;
    if free && total <= seen.limit {
        return Ok(());
    }
    if own > seen.limit / seen.active.max(1) {
        return Err(Scarce::Share);
    }
    if total.saturating_add(seen.unclaimed) > seen.limit { Err(Scarce::Everything) } else { Ok(()) }
}

/// What all apps take from.
///
/// # Examples
///
/// ```
/// use firstlight::quota::Shares;
/// use std::sync::Arc;
///
/// let places = Arc::new(Shares::new(10, 2));
/// let flood: Vec<_> = (0..20).map_while(|_| places.take(&"batch".into(), 1).ok()).collect();
/// assert_eq!(flood.len(), 9);
/// let other = places.take(&"chat".into(), 1).unwrap();
/// drop((flood, other));
/// assert_eq!(places.free(), 10);
/// ```
#[derive(Debug)]
pub struct Shares {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: u64,
    apps: u64,
    total: u64,
    /// What every configured app together has not taken of its reserve.
    unclaimed: u64,
    /// By app; one that holds nothing is not here.
    held: BTreeMap<Arc<str>, u64>,
}

impl Shares {
    /// So many units for so many configured apps.
    pub fn new(limit: u64, apps: usize) -> Self {
        let mut state = State { limit, apps: 0, total: 0, unclaimed: 0, held: BTreeMap::new() };
        state.change(limit, apps);
        Self { state: Mutex::new(state) }
    }

    /// Another limit from now on. What is held above it is given back when its holders end.
    pub fn change(&self, limit: u64, apps: usize) {
        self.lock().change(limit, apps);
    }

    /// Takes so many units for an app, or none.
    pub fn take(self: &Arc<Self>, app: &Arc<str>, units: u64) -> Result<Held, Scarce> {
        self.lock().take(app, units)?;
        Ok(Held { shares: Arc::clone(self), app: Arc::clone(app), units })
    }

    /// Units that nobody holds.
    pub fn free(&self) -> u64 {
        let state = self.lock();
        state.limit.saturating_sub(state.total)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, limit: u64, apps: usize) {
        (self.limit, self.apps) = (limit, u64::try_from(apps).unwrap_or(u64::MAX).max(1));
        let reserve = self.reserve();
        let idle = self.apps.saturating_sub(count(self.held.len()));
        let left: u64 = self.held.values().map(|own| reserve.saturating_sub(*own)).sum();
        self.unclaimed = idle * reserve + left;
    }

    fn reserve(&self) -> u64 {
        self.limit / RESERVED / self.apps
    }

    fn take(&mut self, app: &Arc<str>, units: u64) -> Result<(), Scarce> {
        let (own, reserve) = (self.held.get(app).copied().unwrap_or(0), self.reserve());
        let left = reserve.saturating_sub(own);
        let seen = Seen {
            limit: self.limit,
            total: self.total,
            own,
            active: count(self.held.len()) + u64::from(own == 0),
            reserve,
            unclaimed: self.unclaimed.saturating_sub(left),
        };
        judge(&seen, units)?;
        self.set(app, (own, own + units));
        Ok(())
    }

    fn give_back(&mut self, app: &Arc<str>, units: u64) {
        let own = self.held.get(app).copied().unwrap_or(0);
        debug_assert!(own >= units, "more was given back than was held");
        self.set(app, (own, own.saturating_sub(units)));
    }

    fn set(&mut self, app: &Arc<str>, (before, after): (u64, u64)) {
        let reserve = self.reserve();
        self.total = (self.total + after).saturating_sub(before);
        let left = |own: u64| reserve.saturating_sub(own);
        self.unclaimed = (self.unclaimed + left(after)).saturating_sub(left(before));
        if after == 0 {
            self.held.remove(app);
        } else if let Some(held) = self.held.get_mut(app) {
            *held = after;
        } else {
            self.held.insert(Arc::clone(app), after);
        }
    }
}

fn count(apps: usize) -> u64 {
    u64::try_from(apps).unwrap_or(u64::MAX)
}

/// What one request holds; given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    shares: Arc<Shares>,
    app: Arc<str>,
    units: u64,
}

impl Held {
    /// How much.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Takes so much that it holds `units` in all, or nothing more.
    pub fn grow(&mut self, units: u64) -> Result<(), Scarce> {
        let more = units.saturating_sub(self.units);
        if more == 0 {
            return Ok(());
        }
        self.shares.lock().take(&self.app, more)?;
        self.units += more;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shares.lock().give_back(&self.app, self.units);
    }
}
