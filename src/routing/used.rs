//! The targets that one request has used, as a small set without allocation.

/// The targets that one request has used. Holds as many as a request may have attempts; no allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    targets: [u16; Self::CAPACITY],
    len: usize,
}

impl Used {
    const CAPACITY: usize = 12;

    /// Adds one; false if there is no room for it, and the request must stop looking.
    #[must_use]
    pub fn add(&mut self, target: usize) -> bool {
        let (Some(slot), Ok(id)) = (self.targets.get_mut(self.len), u16::try_from(target)) else {
            return false;
        };
        *slot = id;
        self.len += 1;
        true
    }

    /// Whether `target` was added.
    pub fn contains(&self, target: usize) -> bool {
        self.iter().any(|id| id == target)
    }

    /// Those that were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.targets.iter().take(self.len).map(|&id| usize::from(id))
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
