//! What one request brings to a choice of its next target. Plain values.

/// What one request brings to a choice: the targets that it has used, as many as it may have attempts (no
/// allocation), and its size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    targets: [u16; Self::CAPACITY],
    len: usize,
    /// Tokens of its prompt and of what it may generate.
    size: u64,
    /// Whether it has tried a target that rests.
    pub(super) trickled: bool,
}

impl Used {
    const CAPACITY: usize = 12;

    /// None yet, of a request of that size.
    pub fn none_of(size: u64) -> Self {
        Self { size, ..Self::default() }
    }

    /// The size of the request.
    pub const fn size(&self) -> u64 {
        self.size
    }

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
