//! Backends that we cannot prove ourselves to, for want of a token: their targets are blocked.
//!
//! The states of targets outlive a reload, and so would a block that an old snapshot's backend called for. So
//! blocks are set under the lock of the swap, always for the snapshot that is live.

use crate::live::{Live, Snapshot};
use crate::routing::{Block, Switch};
use std::sync::PoisonError;
use std::time::Duration;

impl Live {
    /// Blocks the targets of backends without a usable token, and unblocks those that have one. To be called when
    /// a token came, and now and then, since tokens end.
    pub fn settle_tokens(&self) {
        let _no_swap = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        apply_tokens(&self.snapshot(), self.clock().unix());
    }
}

/// The same for one snapshot.
pub(super) fn apply_tokens(snapshot: &Snapshot, unix: Duration) {
    for model in snapshot.models().chain([&snapshot.any_backend]) {
        for (target, backend) in model.backends.iter().enumerate() {
            let switch = if backend.is_proved(unix) { Switch::Off } else { Switch::On };
            model.pool.set_block(target, Block::NoToken, switch);
        }
    }
}
