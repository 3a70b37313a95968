//! The words for how much a model is to reason.

/// How much a model is to reason: `reasoning_effort` of a chat completion, `reasoning.effort` of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// `none`.
    None,
    /// `minimal`.
    Minimal,
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh`.
    Xhigh,
    /// A word that is not known here.
    Other,
}

impl Effort {
    /// Every effort, the least first.
    pub const ALL: [Self; 7] =
        [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Other];

    /// The word for it in a request, and in a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Other => "other",
        }
    }

    pub(super) fn of_word(word: &[u8]) -> Self {
        let known = Self::ALL.into_iter().find(|effort| effort.label().as_bytes() == word);
        known.unwrap_or(Self::Other)
    }
}
