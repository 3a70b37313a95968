//! How many files a process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process has open beside its connections, and some more.
const OTHERS: u64 = 200;

/// Raises the limit as far as it may be raised. Shells give 1,024, with which a few idle clients would leave nothing for
/// metrics and health.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where that is not allowed (a sandbox) what there is must do.
        _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Warns where so many clients, each with a backend behind it, need more.
pub(super) fn warn_if_few(connections: usize) {
    let allowed = getrlimit(Resource::Nofile).current;
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2) + OTHERS;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "too few open files are allowed for limits.connections: with that many clients not even metrics answer; \
             raise the limit (LimitNOFILE, ulimit -n) or lower limits.connections"
        );
    }
}
