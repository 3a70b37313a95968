//! Why a request is refused that nothing is wrong with: there is no room for it. The answer is always 503 with the
//! code `overloaded` and a `Retry-After`.

/// What there is no room in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shed {
    /// As many requests are under way as may be.
    Concurrent,
    /// Many requests are under way, and its app has its fair share of them.
    Share,
    /// The memory for request bodies is used up, or its app's share of it.
    Memory,
    /// Every target that could be tried has as many attempts as it may have.
    Targets,
}

impl Shed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Concurrent, Self::Share, Self::Memory, Self::Targets];

    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent",
            Self::Share => "share",
            Self::Memory => "memory",
            Self::Targets => "targets",
        }
    }

    /// What the client is told.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Concurrent => "Too many requests are under way here; try again.",
            Self::Share => {
                "Too many requests are under way here, and this application has its share of them; try again."
            }
            Self::Memory => "Too many large requests are waiting; try again.",
            Self::Targets => "Every backend of this model is busy; try again.",
        }
    }
}
