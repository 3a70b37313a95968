//! What one answer is going to say, before anything is written: identity, length, usage, times.

use crate::mock::ask::Ask;
use crate::mock::behaviour::{Behaviour, Timing};
use serde_json::{Value, json};

/// What an answer says.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Unique, without the prefix of its surface.
    pub(super) id: String,
    pub(super) model: String,
    pub(super) tokens: u32,
    pub(super) finish: Finish,
    pub(super) tool: Option<String>,
    pub(super) usage: Usage,
    pub(super) timing: Timing,
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// What an answer costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u32,
    pub(super) cached: u32,
    pub(super) completion: u32,
    pub(super) reasoning: u32,
}

impl Draft {
    /// The answer of a backend that behaves so.
    pub(super) fn new(ask: &Ask, behaviour: &Behaviour, timing: Timing, id: String) -> Self {
        let most = ask.max_completion_tokens.or(ask.max_tokens).unwrap_or(u32::MAX);
        let tokens = behaviour.tokens.min(most);
        let finish = match (&ask.tool, tokens < behaviour.tokens) {
            (_, true) => Finish::Length,
            (Some(_), false) => Finish::ToolCalls,
            (None, false) => Finish::Stop,
        };
        let usage = Usage {
            prompt: ask.prompt_tokens,
            cached: part(ask.prompt_tokens, behaviour.cached_share),
            completion: tokens.saturating_add(behaviour.reasoning_tokens),
            reasoning: behaviour.reasoning_tokens,
        };
        Self {
            id,
            model: ask.deployment.clone(),
            tokens,
            finish,
            tool: ask.tool.clone(),
            usage,
            timing,
        }
    }

    /// Where the time went, as the service tells it beside the usage.
    pub(super) fn latency_checkpoint(&self) -> Value {
        let ms =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let Timing { headers, first, gap, .. } = self.timing;
        let last = self.timing.token(self.tokens.saturating_sub(1));
        json!({
            "pre_inference_ms": ms(headers),
            "user_visible_ttft_ms": ms(first.saturating_sub(headers)),
            "service_ttft_ms": ms(first),
            "service_tbt_ms": ms(gap),
            "service_ttlt_ms": ms(last),
            "total_duration_ms": ms(last),
        })
    }
}

impl Finish {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
        }
    }
}

impl Usage {
    /// As chat and completions report it.
    pub(super) fn json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt.saturating_add(self.completion),
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": self.cached},
            "completion_tokens_details": {
                "accepted_prediction_tokens": 0, "audio_tokens": 0,
                "reasoning_tokens": self.reasoning, "rejected_prediction_tokens": 0,
            },
        })
    }
}

/// Token `index` of every answer. Each says its number, so that a lost or doubled one is seen.
pub(super) fn word(index: u32) -> String {
    format!("w{index} ")
}

/// All the tokens of an answer.
pub(super) fn words(tokens: u32) -> String {
    (0..tokens).map(word).collect()
}

/// `share` of `whole`, rounded down to a thousandth of it.
fn part(whole: u32, share: f64) -> u32 {
    let thousandths =
        (0..=1_000_u32).rev().find(|step| f64::from(*step) <= share * 1_000.0).unwrap_or(0);
    u32::try_from(u64::from(whole) * u64::from(thousandths) / 1_000).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use crate::mock::draft::part;

    #[test]
    fn a_part_is_its_share() {
        assert_eq!([0.0, 0.5, 1.0].map(|share| part(2_000, share)), [0, 1_000, 2_000]);
    }
}
