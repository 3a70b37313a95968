//! The token of one identity of ours, for one scope: what the request path loads, and what its refresher keeps.
//!
//! A request takes no lock and waits for nobody: it loads a pointer. All backends with the same identity share one
//! slot, and a reload that does not change the identity keeps it, with the token in it.

use crate::config::checked::{Credential, Endpoint, Entra, Identity};
use crate::time::Time;
use arc_swap::ArcSwapOption;
use http::HeaderValue;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

/// So long before its end a token is not used any more, seconds: a request takes a while, and clocks differ.
const MARGIN: u64 = 30;
/// A refused token is renewed at most this often.
const RENEWALS: Duration = Duration::from_secs(30);
/// The scope that is not worth a mention.
const USUAL_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// A token, ready to be sent.
pub struct Token {
    header: HeaderValue,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

impl Token {
    /// `None` if the text cannot be sent in a header.
    pub fn new(text: &str, expires: u64) -> Option<Self> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).ok().filter(|_| plain)?;
        header.set_sensitive(true);
        Some(Self { header, expires })
    }

    /// How long it may still be used at `unix`, the time since 1970.
    pub fn left(&self, unix: Duration) -> Duration {
        Duration::from_secs(self.expires.saturating_sub(MARGIN)).saturating_sub(unix)
    }
}

/// What a slot's tokens are, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource {
    /// Whose, and what for.
    pub identity: Identity,
    /// Who gives them: the metadata service of this machine, or Entra ID.
    pub giver: Endpoint,
}

impl TokenSource {
    fn new(identity: &Identity, entra: &Entra) -> Self {
        let giver = match &identity.credential {
            Credential::SystemAssigned
            | Credential::ClientId(_)
            | Credential::ObjectId(_)
            | Credential::ResourceId(_) => &entra.imds,
            Credential::Workload { .. } | Credential::Secret { .. } => &entra.authority,
        };
        Self { identity: identity.clone(), giver: giver.clone() }
    }
}

/// How the refreshing goes. Its times are the process's own: the machine's clock may be put right under it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// When the next fetch is due.
    pub due: Time,
    /// Fetches that failed since the last good one.
    pub failures: u32,
    /// Why the last one failed; `None` if it did not.
    pub error: Option<String>,
    /// When the last renewal for a refused token began.
    renewed: Option<Time>,
    /// There was a usable token when somebody last looked.
    had_token: bool,
}

/// The place of one token.
pub struct TokenSlot {
    source: TokenSource,
    name: String,
    token: ArcSwapOption<Token>,
    /// Counts the tokens that came.
    revision: AtomicU64,
    course: Mutex<Course>,
    /// Held while a token is fetched.
    turn: AsyncMutex<()>,
}

impl TokenSlot {
    fn new(source: TokenSource) -> Self {
        let name = name(&source.identity);
        let (token, revision, course, turn) = Default::default();
        Self { source, name, token, revision, course, turn }
    }

    /// What its tokens are.
    pub fn source(&self) -> &TokenSource {
        &self.source
    }

    /// What the identity is called in metrics and logs: `system`, `client_id:1111...`; with the scope if that is
    /// not the usual one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When its token ends, in seconds since 1970; `None`: there is none.
    pub fn expires(&self) -> Option<u64> {
        self.token.load().as_ref().map(|token| token.expires)
    }

    /// Whether there is a token at `unix` that a request may use.
    pub fn is_usable(&self, unix: Duration) -> bool {
        !self.left(unix).is_zero()
    }

    /// How long requests may still use its token at `unix`; zero without one.
    pub fn left(&self, unix: Duration) -> Duration {
        self.token.load().as_ref().map_or(Duration::ZERO, |token| token.left(unix))
    }

    /// What a request sends as `Authorization`. It was told that the token is usable: it has the margin to get
    /// here.
    pub(super) fn header(&self, unix: Duration) -> Option<HeaderValue> {
        let token = self.token.load();
        let token = token.as_ref().filter(|token| unix.as_secs() < token.expires)?;
        Some(token.header.clone())
    }

    /// How many tokens came: another number, another token.
    pub fn revision(&self) -> u64 {
        self.revision.load(Relaxed)
    }

    /// Another token for all requests from now on.
    pub fn publish(&self, token: Token) {
        self.token.store(Some(Arc::new(token)));
        self.revision.fetch_add(1, Relaxed);
    }

    /// The right to fetch a token, once nobody else has it.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The same, if nobody has it.
    pub fn free_turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.turn.try_lock().ok()
    }

    /// How the refreshing goes.
    pub fn course(&self) -> Course {
        self.with_course(|course| course.clone())
    }

    /// The next fetch is due at `due`; the last one failed for `error`, if it did.
    pub fn note(&self, due: Time, error: Option<String>) {
        self.with_course(|course| {
            course.failures = error.as_ref().map_or(0, |_| course.failures.saturating_add(1));
            (course.due, course.error) = (due, error);
        });
    }

    /// Takes the permission to renew a token that was refused, if there is one.
    pub fn take_renewal(&self, now: Time) -> bool {
        self.with_course(|course| {
            let lately = course.renewed.is_some_and(|at| now.since(at) < RENEWALS);
            if !lately {
                course.renewed = Some(now);
            }
            !lately
        })
    }

    /// Whether the last usable token ended since somebody last asked this.
    pub fn ran_out(&self, unix: Duration) -> bool {
        let has = self.is_usable(unix);
        self.with_course(|course| std::mem::replace(&mut course.had_token, has) && !has)
    }

    fn with_course<R>(&self, change: impl FnOnce(&mut Course) -> R) -> R {
        change(&mut self.course.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The slots of a configuration.
#[derive(Clone, Default)]
pub(super) struct TokenSlots(Vec<Arc<TokenSlot>>);

impl TokenSlots {
    /// The slot for an identity: one that is there already, one of `previous`, or a new one.
    pub(super) fn slot(
        &mut self,
        identity: &Identity,
        entra: &Entra,
        previous: Option<&Self>,
    ) -> Arc<TokenSlot> {
        let source = TokenSource::new(identity, entra);
        if let Some(slot) = self.find(&source) {
            return slot;
        }
        let kept = previous.and_then(|previous| previous.find(&source));
        let slot = kept.unwrap_or_else(|| Arc::new(TokenSlot::new(source)));
        self.0.push(Arc::clone(&slot));
        slot
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<TokenSlot>> {
        self.0.iter()
    }

    fn find(&self, source: &TokenSource) -> Option<Arc<TokenSlot>> {
        self.0.iter().find(|slot| slot.source == *source).cloned()
    }
}

fn name(identity: &Identity) -> String {
    let who = match &identity.credential {
        Credential::SystemAssigned => "system".to_owned(),
        Credential::ClientId(id) => format!("client_id:{id}"),
        Credential::ObjectId(id) => format!("object_id:{id}"),
        Credential::ResourceId(id) => format!("resource_id:{id}"),
        Credential::Workload { tenant, client_id, .. } => format!("workload:{tenant}/{client_id}"),
        Credential::Secret { tenant, client_id, .. } => format!("secret:{tenant}/{client_id}"),
    };
    if identity.scope == USUAL_SCOPE { who } else { format!("{who} for {}", identity.scope) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entra() -> Entra {
        let minimal = include_str!("../../conf/minimal.yaml");
        crate::config::check(minimal).unwrap().config.entra
    }

    fn system(scope: &str) -> Identity {
        Identity { credential: Credential::SystemAssigned, scope: scope.to_owned() }
    }

    #[test]
    fn a_token_is_used_until_shortly_before_its_end_and_never_printed() {
        let slot = TokenSlots::default().slot(&system(USUAL_SCOPE), &entra(), None);
        let at = Duration::from_secs;
        assert!(!slot.is_usable(at(0)) && slot.header(at(0)).is_none() && !slot.ran_out(at(0)));
        slot.publish(Token::new("eyJ.e.s", 1000).unwrap());
        let header = slot.header(at(0)).unwrap();
        assert_eq!((header.as_bytes(), slot.expires()), (&b"Bearer eyJ.e.s"[..], Some(1000)));
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert!(slot.is_usable(at(969)) && !slot.ran_out(at(969)));
        assert!(!slot.is_usable(at(970)), "30 s before its end");
        assert!(slot.header(at(999)).is_some(), "one that was chosen in time is still sent");
        assert!(slot.header(at(1000)).is_none());
        assert!(slot.ran_out(at(970)) && !slot.ran_out(at(971)), "told once");
        assert!(Token::new("a\r\nb", 1).is_none() && Token::new("", 1).is_none());
    }

    #[test]
    fn one_slot_for_each_identity_scope_and_giver_outlives_a_reload() {
        let (entra, mut first) = (entra(), TokenSlots::default());
        let slot = first.slot(&system(USUAL_SCOPE), &entra, None);
        assert!(Arc::ptr_eq(&slot, &first.slot(&system(USUAL_SCOPE), &entra, None)));
        let other = first.slot(&system("https://ai.azure.com/.default"), &entra, None);
        assert_eq!((slot.name(), first.0.len()), ("system", 2));
        assert_eq!(other.name(), "system for https://ai.azure.com/.default");
        let mut next = TokenSlots::default();
        assert!(Arc::ptr_eq(&slot, &next.slot(&system(USUAL_SCOPE), &entra, Some(&first))));
        let mut moved = entra.clone();
        moved.authority.host = "login.microsoftonline.us".to_owned();
        assert!(Arc::ptr_eq(&slot, &next.slot(&system(USUAL_SCOPE), &moved, Some(&first))));
        moved.imds.port = 8080;
        assert!(!Arc::ptr_eq(&slot, &next.slot(&system(USUAL_SCOPE), &moved, Some(&first))));
    }

    #[test]
    fn a_refused_token_is_renewed_now_and_then() {
        let slot = TokenSlots::default().slot(&system(USUAL_SCOPE), &entra(), None);
        let granted =
            [100, 101, 129, 130, 131].map(|s| slot.take_renewal(Time::at(Duration::from_secs(s))));
        assert_eq!(granted, [true, false, false, true, false]);
        slot.note(Time::at(Duration::from_secs(5)), Some("x".to_owned()));
        slot.note(Time::at(Duration::from_secs(6)), Some("y".to_owned()));
        assert_eq!(slot.course().failures, 2);
        slot.note(Time::at(Duration::from_secs(7)), None);
        assert_eq!((slot.course().failures, slot.course().error), (0, None));
    }
}
