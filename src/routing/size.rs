//! Prompt sizes in powers of two. TTFT grows with the prompt, so a long prompt is no evidence of a slow
//! region: what is expected is asked per size.

/// How many sizes there are: under 256 tokens, 256, 512, ... 64k and over.
pub(super) const SIZES: usize = 10;

/// The size of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(usize);

impl Size {
    /// 512 to 1023 tokens: the size that others are expressed by, its factor is 1.
    pub const REFERENCE: Self = Self(2);

    /// The size of a prompt of about so many tokens.
    pub fn of(prompt_tokens: u64) -> Self {
        // 256 is two to the eighth, and opens size 1.
        let power = prompt_tokens.checked_ilog2().unwrap_or(0);
        Self(usize::try_from(power.saturating_sub(7)).unwrap_or(0).min(SIZES - 1))
    }

    /// Every size, from the smallest.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SIZES).map(Self)
    }

    /// Position among [`Size::all`].
    pub const fn index(self) -> usize {
        self.0
    }

    /// The word for metrics: the least number of tokens.
    pub fn as_str(self) -> &'static str {
        const WORDS: [&str; SIZES] =
            ["0", "256", "512", "1k", "2k", "4k", "8k", "16k", "32k", "64k"];
        WORDS.get(self.0).copied().unwrap_or("0")
    }

    /// The factor on TTFT before anything was learned: 0.9 and 0.1 for each 1,000 tokens, by the middle of the
    /// size, over that of the reference.
    pub(super) fn prior(self) -> f64 {
        let raw = |size: Self| {
            let middle = i32::try_from(size.0).map_or(7.5, |k| f64::from(k) + 7.5).exp2();
            0.9 + 0.1 * middle / 1000.0
        };
        raw(self) / raw(Self::REFERENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_open_at_powers_of_two() {
        let of = |tokens| Size::of(tokens).as_str();
        let found = [0, 255, 256, 511, 512, 1023, 1024, 65_535, 65_536, u64::MAX].map(of);
        assert_eq!(found, ["0", "0", "256", "256", "512", "512", "1k", "32k", "64k", "64k"]);
        assert_eq!(Size::of(700), Size::REFERENCE);
    }

    #[test]
    fn longer_prompts_are_expected_to_take_longer() {
        let priors: Vec<f64> = Size::all().map(Size::prior).collect();
        assert!(priors.is_sorted() && priors.first() < priors.last());
        assert!((Size::REFERENCE.prior() - 1.0).abs() < 1e-12);
    }
}
