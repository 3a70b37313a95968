//! The attempts that wait for a whole response on one target, and how many of them are late.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Whole responses that wait, and those of them that are late.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    open: AtomicU32,
    late: AtomicU32,
}

impl Waiting {
    pub(super) fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    pub(super) fn late(&self) -> u32 {
        self.late.load(Relaxed)
    }

    /// Half or more of them are late.
    pub(super) fn is_suspect(&self) -> bool {
        let open = self.open();
        open > 0 && self.late().saturating_mul(2) >= open
    }

    pub(super) fn enter(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(super) fn leave(&self) {
        let before = self.open.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease ended twice");
    }

    pub(super) fn enter_late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    pub(super) fn leave_late(&self) {
        let before = self.late.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a lease was late twice");
    }
}
