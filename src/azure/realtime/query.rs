//! What the query of a conversation says beside its model and `api-version`.
//!
//! The route lets an `intent` cross: with `transcription` a backend opens another kind of session.
//! `call_id` is refused, for it names a call that lives on one resource, and without it the backend would open a
//! new conversation instead. Whatever else there is stays here, credentials above all.

use std::borrow::Cow;

/// Why a query is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It names a call.
    #[error("call_id in the query")]
    Call,
    /// `intent` is no plain word, or stands there twice.
    #[error("an intent that cannot be read")]
    Intent,
}

/// Checks what a query says.
pub fn check(query: &str) -> Result<(), QueryError> {
    let mut intents = 0;
    for (key, value) in pairs(query) {
        match key.to_ascii_lowercase().as_str() {
            "call_id" => return Err(QueryError::Call),
            "intent" if intents > 0 || !is_word(&value) => return Err(QueryError::Intent),
            "intent" => intents += 1,
            _ => {}
        }
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// The decoded pairs of a query, as a browser writes them.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_intent_crosses() {
        let judged = |query: &str, expected: Result<(), QueryError>| {
            assert_eq!(check(query), expected, "{query}");
        };
        judged("", Ok(()));
        judged("model=m&api-key=k&x=y", Ok(()));
        judged("model=m&intent=transcription", Ok(()));
        judged("intent=a%26api-key%3dk", Err(QueryError::Intent));
        judged("intent=", Err(QueryError::Intent));
        judged("intent=a&intent=a", Err(QueryError::Intent));
        judged("model=m&call_id=rtc_1", Err(QueryError::Call));
        judged("c%61ll_id=rtc_1", Err(QueryError::Call));
    }
}
