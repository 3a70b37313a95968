//! Refusals that are kept aside: what a 4xx of one attempt means for a request that another attempt may still serve.
//!
//! The first attempt's 4xx is the client's own mistake and ends the race. One of a later attempt counts for less: it
//! waits while another attempt is open, though not for minutes, and is passed on only if nothing better comes. A
//! refusal that is about the resource (404, 410, encrypted content that only its own resource can read) counts for
//! less still: an earlier rate limit, with its time, tells the client more.
//!
//! A refusal is tried elsewhere in two cases, once: it is a 404 or 410 to a request that names nothing kept on one
//! resource, or an earlier attempt was limited. A 400 alone is never tried elsewhere.
//!
//! Memory: the body of one error per request, at most 64 KiB.

use crate::azure::status::{FOREIGN_ENCRYPTION, error_code, is_of_resource};
use crate::exchange::Answer;
use crate::proxy::watch::Watch;
use crate::time::Time;
use std::time::Duration;

/// A refusal that is kept aside, its attempt settled.
pub(super) struct Aside {
    pub(super) watch: Watch,
    pub(super) answer: Answer,
    pub(super) refusal: Refusal,
    /// When it is used although another attempt is open: that one is late already, and may be dead.
    pub(super) until: Time,
}

/// How long a refusal waits for open attempts: so many times what the race took until then, within these bounds.
const PATIENCE: u32 = 3;
const PATIENCE_LEAST: Duration = Duration::from_secs(10);
const PATIENCE_MOST: Duration = Duration::from_mins(1);

impl Aside {
    /// The one that tells the client more: what is about the request, else what came last.
    pub(super) fn better(self, before: Option<Self>) -> (Self, Option<Self>) {
        match before {
            Some(before) if before.is_certain() && !self.is_certain() => (before, Some(self)),
            before => (self, before),
        }
    }

    /// Whether it is about the request, so that no other target would serve it.
    pub(super) fn is_certain(&self) -> bool {
        !self.refusal.is_of_resource
    }
}

/// A refusal, and how the race stands when it comes.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Refusal {
    /// Whether it is about the resource that gave it.
    pub(super) is_of_resource: bool,
    /// Whether it refuses encrypted content of another resource.
    pub(super) is_foreign_encryption: bool,
    /// Whether the first attempt was refused.
    pub(super) is_first: bool,
    /// Whether no other attempt is open.
    pub(super) is_alone: bool,
    /// Whether another attempt was limited.
    pub(super) was_limited: bool,
    /// Whether another attempt was asked for because of a refusal before.
    pub(super) has_looked: bool,
    /// Whether the request names nothing that is kept on one resource.
    pub(super) is_of_model: bool,
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The client gets it.
    Pass,
    /// It is kept aside until the open attempts have ended.
    Wait,
    /// It is kept aside and another target is asked, if one may be.
    Elsewhere,
    /// Nothing else is tried: the race decides between it, what was kept aside before, and a rate limit.
    End,
}

impl Refusal {
    /// What the response itself says.
    pub(super) fn of(answer: &Answer, status: u16) -> Self {
        let code = answer.held.as_deref().and_then(error_code);
        let code = code.as_deref();
        Self {
            is_of_resource: is_of_resource(status, code),
            is_foreign_encryption: code == Some(FOREIGN_ENCRYPTION),
            ..Self::default()
        }
    }

    /// What becomes of it.
    pub(super) fn rule(self) -> Ruling {
        // Of what is kept on one resource a 404 says that it is gone, if the right resource says so.
        let nothing_there = self.is_of_resource && !self.is_foreign_encryption && self.is_of_model;
        if !self.is_alone {
            let is_final = self.is_first && !self.is_foreign_encryption && !nothing_there;
            return if is_final { Ruling::Pass } else { Ruling::Wait };
        }
        let after_limit = self.was_limited && !self.is_first;
        let elsewhere = if self.is_foreign_encryption {
            after_limit
        } else {
            !self.has_looked && (after_limit || nothing_there)
        };
        if elsewhere {
            Ruling::Elsewhere
        } else if self.is_first && !self.was_limited {
            Ruling::Pass
        } else {
            Ruling::End
        }
    }

    /// Until when it waits for open attempts, in a race that began then. What only one resource can read waits for as
    /// long as they take.
    pub(super) fn until(self, began: Time, now: Time) -> Time {
        if self.is_foreign_encryption {
            return Time::END;
        }
        let patience = now.since(began).saturating_mul(PATIENCE);
        now + patience.clamp(PATIENCE_LEAST, PATIENCE_MOST)
    }

    /// Whether an earlier rate limit, with its time, tells the client more.
    pub(super) fn yields_to_limit(self) -> bool {
        self.is_foreign_encryption || (self.is_of_resource && !self.is_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISTAKE: Refusal = Refusal {
        is_of_resource: false,
        is_foreign_encryption: false,
        is_first: false,
        is_alone: true,
        was_limited: false,
        has_looked: false,
        is_of_model: true,
    };
    const NOT_FOUND: Refusal = Refusal { is_of_resource: true, ..MISTAKE };
    const ENCRYPTED: Refusal = Refusal { is_foreign_encryption: true, ..NOT_FOUND };

    fn check(refusal: Refusal, expected: Ruling) {
        assert_eq!(refusal.rule(), expected, "{refusal:?}");
    }

    #[test]
    fn the_first_attempts_own_mistake_ends_the_race() {
        for is_alone in [false, true] {
            check(Refusal { is_first: true, is_alone, ..MISTAKE }, Ruling::Pass);
            let kept = Refusal { is_first: true, is_alone, is_of_model: false, ..NOT_FOUND };
            check(kept, Ruling::Pass);
        }
        check(Refusal { is_first: true, ..ENCRYPTED }, Ruling::Pass);
    }

    #[test]
    fn a_later_attempts_refusal_waits_for_the_open_ones() {
        for refusal in [MISTAKE, NOT_FOUND, ENCRYPTED] {
            check(Refusal { is_alone: false, ..refusal }, Ruling::Wait);
            check(Refusal { is_alone: false, was_limited: true, ..refusal }, Ruling::Wait);
        }
        for refusal in [NOT_FOUND, ENCRYPTED] {
            check(Refusal { is_first: true, is_alone: false, ..refusal }, Ruling::Wait);
        }
    }

    #[test]
    fn what_names_nothing_is_looked_for_in_one_other_place() {
        check(Refusal { is_first: true, ..NOT_FOUND }, Ruling::Elsewhere);
        check(NOT_FOUND, Ruling::Elsewhere);
        check(Refusal { has_looked: true, ..NOT_FOUND }, Ruling::End);
        check(Refusal { is_of_model: false, ..NOT_FOUND }, Ruling::End);
        check(MISTAKE, Ruling::End);
    }

    #[test]
    fn a_refusal_does_not_wait_for_ever() {
        let at = |seconds| Time::at(Duration::from_secs(seconds));
        for (now, until) in [(1, 11), (10, 40), (100, 160)] {
            assert_eq!(MISTAKE.until(at(0), at(now)), at(until));
        }
        assert_eq!(ENCRYPTED.until(at(0), at(1)), Time::END);
    }

    #[test]
    fn after_a_limit_one_refusal_is_not_believed() {
        check(Refusal { was_limited: true, ..MISTAKE }, Ruling::Elsewhere);
        check(Refusal { was_limited: true, has_looked: true, ..MISTAKE }, Ruling::End);
        check(Refusal { was_limited: true, has_looked: true, ..ENCRYPTED }, Ruling::Elsewhere);
        check(Refusal { was_limited: true, is_first: true, ..ENCRYPTED }, Ruling::End);
        assert!(!MISTAKE.yields_to_limit() && ENCRYPTED.yields_to_limit());
        assert!(NOT_FOUND.yields_to_limit());
        assert!(!Refusal { is_first: true, ..NOT_FOUND }.yields_to_limit());
    }
}
