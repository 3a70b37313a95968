//! Readings for people and metrics.

use crate::routing::expected::Basis;
use crate::routing::health::State;
use crate::routing::pool::Pool;
use crate::routing::size::Size;
use crate::routing::target::Blocks;
use crate::time::Time;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A reading of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Its state.
    pub state: State,
    /// Effective score in milliseconds.
    pub score_ms: f64,
    /// Its first token when all is well, in milliseconds; `None` before the first sample and in `ema`.
    pub base_ms: Option<f64>,
    /// Strikes held against it.
    pub strikes: f64,
    /// Attempts that wait for their first token.
    pub in_flight: u32,
    /// Those of them that are past their D.
    pub late: u32,
    /// Attempts that wait for a whole response, and those of them that are past their D.
    pub whole: (u32, u32),
    /// Attempts under way, to the end of their answers, timed or not.
    pub seats: u32,
    /// How much longer it rests after a 429; zero when it does not.
    pub limited: Duration,
    /// Its recent responses are errors: it is passed over while another target is in use.
    pub failing: bool,
    /// From how many tokens on a request is kept away then; 0: every one. `None`: it does not rest.
    pub limited_tokens: Option<u64>,
    /// Requests in a second that it is given at most since it refused some; `None`: any number.
    pub served_rate: Option<f64>,
    /// Why it is out of use beside its state, if it is.
    pub blocks: Blocks,
}

/// A reading of a pool as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolView {
    /// D in units of the expected first token.
    pub late_mult: f64,
    /// Lower median of the scores, milliseconds.
    pub fleet_now_ms: Option<f64>,
    /// Lower median of the bases, milliseconds.
    pub fleet_base_ms: Option<f64>,
    /// Lower median of score over base.
    pub pool_ratio: f64,
    /// Share of the requests that go to a degraded target.
    pub overflow: f64,
    /// The pool is slow, and none is degraded: routing cannot help.
    pub all_slow: bool,
    /// Tokens that hedges may still spend, and have spent.
    pub hedge_tokens: (f64, f64),
    /// Trips that a guard held back: by the rest of the pool, by too many being out.
    pub trips_blocked: (u64, u64),
    /// How often a slow time was learned as the new normal.
    pub rebased: u64,
}

impl Pool {
    /// A reading of a target.
    pub fn view(&self, target: usize, now: Time) -> Option<View> {
        let state = &self.targets().get(target)?.state;
        let settings = self.settings();
        let unknown = self.fleet().load().unknown_ms(settings);
        Some(View {
            state: state.state(now),
            score_ms: state.score_ms(settings, unknown, now),
            base_ms: state.base_ms(),
            strikes: state.with(|known| known.health.strikes.sum(settings, now)),
            in_flight: state.in_flight(),
            late: state.late(),
            whole: (state.whole.open(), state.whole.late()),
            seats: state.seats(),
            limited: state.throttle.longest(now),
            limited_tokens: state.throttle.smallest(now),
            served_rate: state.throttle.rate(now),
            failing: state.is_failing(),
            blocks: state.blocks(),
        })
    }

    /// A reading of the pool.
    pub fn overview(&self, now: Time) -> PoolView {
        let fleet = self.fleet().load();
        let counters = &self.shared().counters;
        PoolView {
            late_mult: self.shared().with_norm(|norm| norm.late_mult()),
            fleet_now_ms: fleet.now_ms,
            fleet_base_ms: fleet.base_ms,
            pool_ratio: fleet.ratio,
            overflow: fleet.overflow,
            all_slow: fleet.is_congested() && self.count(State::Degraded, now) == 0,
            hedge_tokens: self.shared().hedges.left_and_spent(),
            trips_blocked: (
                counters.blocked_by_rest.load(Relaxed),
                counters.blocked_by_max_out.load(Relaxed),
            ),
            rebased: counters.rebased.load(Relaxed),
        }
    }

    /// What a first token is expected to take on a target, in milliseconds; `None` while too little is known.
    pub fn expected_ms(&self, target: usize, size: Size) -> Option<f64> {
        let state = &self.targets().get(target)?.state;
        let expected = self.expected(state, size);
        (expected.basis != Basis::Cold).then_some(expected.ms)
    }
}
