//! The members of a body, one by one as they come.

use super::{Peek, PeekError};
use crate::azure::affinity::Affinity;
use crate::azure::count::count;
use crate::azure::effort::Effort;
use crate::azure::ids::Named;
use crate::azure::ids::decisive;
use crate::azure::json::Cursor;
use crate::azure::json::Token;
use crate::azure::size::Media;
use crate::azure::stream_options::StreamOptions;
use crate::azure::tools::Tools;

/// What has been read so far.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// The place behind the bracket that opens the body.
    open: usize,
    model: Once<Token<'a>>,
    stream: Once<bool>,
    store: Once<bool>,
    background: Once<bool>,
    options: StreamOptions,
    effort: Option<Effort>,
    max_tokens: Option<u64>,
    answers: Option<u64>,
    affinity: Affinity,
    media: Media,
    ids: Named<'a>,
    /// What the request goes on from, by its keys.
    decided: Vec<&'static str>,
    own_data: bool,
    session_model: Option<Token<'a>>,
    conversation: bool,
    tools: Tools<'a>,
    has_tools: Once<()>,
}

impl<'a> Found<'a> {
    /// Nothing yet; `open`: the place behind the bracket that opens the body.
    pub(super) fn new(open: usize) -> Self {
        Self { open, ..Self::default() }
    }

    pub(super) fn member(
        &mut self,
        cursor: &mut Cursor<'a>,
        key: Token<'a>,
    ) -> Result<(), PeekError> {
        let key = key.text()?;
        self.conversation |= key == "conversation" && cursor.next_byte() != Some(b'n');
        if let Some(key) = decisive(&key)
            && cursor.next_byte() == Some(b'"')
        {
            return self.decide(cursor, key);
        }
        match key.as_ref() {
            "model" => self.model.set("model", model(cursor)?),
            "stream" => self.stream.set("stream", boolean(cursor, "stream")?),
            "store" => self.store.set("store", boolean(cursor, "store")?),
            // What is behind a picture: a word.
            "background" if cursor.next_byte() == Some(b'"') => {
                cursor.string()?;
                self.background.set("background", None)
            }
            "background" => self.background.set("background", boolean(cursor, "background")?),
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" if at_digit(cursor) => {
                larger(&mut self.max_tokens, cursor)
            }
            "n" | "best_of" if at_digit(cursor) => larger(&mut self.answers, cursor),
            "reasoning_effort" if cursor.next_byte() == Some(b'"') => self.word_of_effort(cursor),
            "reasoning" if cursor.next_byte() == Some(b'{') => {
                cursor.object(|cursor, key| self.reasoning_member(cursor, key))
            }
            "stream_options" => Ok(self.options.read(cursor)?),
            "session" if cursor.next_byte() == Some(b'{') => {
                cursor.object(|cursor, key| self.session_member(cursor, key))
            }
            "conversation" if cursor.next_byte() == Some(b'{') => {
                cursor.object(|cursor, key| self.conversation_member(cursor, key))
            }
            "tools" => {
                self.has_tools.set("tools", Some(()))?;
                self.tools_member(cursor)
            }
            // Each may bring tools that do not stand in the body.
            "prompt" | "agent" | "agent_reference" if cursor.next_byte() == Some(b'{') => {
                self.tools_member(cursor)
            }
            "data_sources" => {
                self.own_data = true;
                Ok(cursor.skip_value_seeing(&mut |string| self.ids.mention(string))?)
            }
            "prompt_cache_key" | "user" if cursor.next_byte() == Some(b'"') => {
                self.affinity.named(&key, cursor.string()?.raw());
                Ok(())
            }
            "messages" | "input" | "instructions" => {
                let written = cursor.raw_value_seeing(&mut |string| {
                    self.media.see(string);
                    self.ids.mention(string);
                })?;
                self.affinity.prompt(written);
                Ok(())
            }
            _ => Ok(cursor.skip_value_seeing(&mut |string| {
                self.media.see(string);
                self.ids.mention(string);
            })?),
        }
    }

    /// Reads what brings tools, and sees the strings in it as everywhere else.
    fn tools_member(&mut self, cursor: &mut Cursor<'a>) -> Result<(), PeekError> {
        let Self { media, ids, tools, .. } = self;
        Ok(tools.read(cursor, &mut |string| {
            media.see(string);
            ids.mention(string);
        })?)
    }

    fn conversation_member(
        &mut self,
        cursor: &mut Cursor<'a>,
        key: Token<'a>,
    ) -> Result<(), PeekError> {
        if key.text()? == "id" && cursor.next_byte() == Some(b'"') {
            return self.decide(cursor, "conversation");
        }
        Ok(cursor.skip_value()?)
    }

    /// Where it stands twice, the last counts, as for most readers.
    fn session_member(&mut self, cursor: &mut Cursor<'a>, key: Token<'a>) -> Result<(), PeekError> {
        if key.text()? == "model" && cursor.next_byte() == Some(b'"') {
            self.session_model = Some(cursor.string()?);
            return Ok(());
        }
        Ok(cursor.skip_value_seeing(&mut |string| self.ids.mention(string))?)
    }

    /// Takes the id that a request goes on from. Given twice, two readers may see two.
    fn decide(&mut self, cursor: &mut Cursor<'a>, key: &'static str) -> Result<(), PeekError> {
        if self.decided.contains(&key) {
            return Err(PeekError::Duplicate(key));
        }
        self.decided.push(key);
        self.ids.decisive.push(cursor.string()?.text()?);
        Ok(())
    }

    fn reasoning_member(
        &mut self,
        cursor: &mut Cursor<'a>,
        key: Token<'a>,
    ) -> Result<(), PeekError> {
        if key.text()? == "effort" && cursor.next_byte() == Some(b'"') {
            return self.word_of_effort(cursor);
        }
        Ok(cursor.skip_value()?)
    }

    fn word_of_effort(&mut self, cursor: &mut Cursor<'a>) -> Result<(), PeekError> {
        self.effort = Some(Effort::of_word(cursor.string()?.raw()));
        Ok(())
    }

    pub(super) fn into_peek(mut self, body_bytes: usize) -> Result<Peek<'a>, PeekError> {
        self.ids.finish();
        if self.ids.too_many {
            return Err(PeekError::WrongType { key: "ids", expected: "at most 4096" });
        }
        Ok(Peek {
            model: self.model.value.map(|token| token.text()).transpose()?,
            model_span: self.model.value.map(|token| token.span()),
            stream: self.stream.value.unwrap_or(false),
            include_usage: self.options.include_usage,
            usage_edit: self.options.edit(self.open).filter(|_| self.stream.value == Some(true)),
            store: self.store.value,
            background: self.background.value,
            effort: self.effort,
            max_tokens: self.max_tokens,
            answers: self.answers,
            affinity: self.affinity.key(),
            prompt_tokens_estimate: self.media.tokens_estimate(body_bytes),
            own_data: self.own_data,
            session_model: self.session_model.and_then(|token| token.text().ok()),
            session_model_span: self.session_model.map(|token| token.span()),
            ids: self.ids,
            conversation: self.conversation,
            tools: self.tools,
        })
    }
}

/// A member that may stand in the body once; `null` counts as standing there without a value.
struct Once<T> {
    seen: bool,
    value: Option<T>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { seen: false, value: None }
    }
}

impl<T> Once<T> {
    fn set(&mut self, key: &'static str, value: Option<T>) -> Result<(), PeekError> {
        if self.seen {
            return Err(PeekError::Duplicate(key));
        }
        *self = Self { seen: true, value };
        Ok(())
    }
}

fn at_digit(cursor: &mut Cursor<'_>) -> bool {
    cursor.next_byte().is_some_and(|byte| byte.is_ascii_digit())
}

/// Takes a number that is larger than what was found. One that is no count is Azure's to judge.
fn larger(found: &mut Option<u64>, cursor: &mut Cursor<'_>) -> Result<(), PeekError> {
    let written = cursor.raw_value()?;
    *found = std::str::from_utf8(written).ok().and_then(count).max(*found);
    Ok(())
}

fn model<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Token<'a>>, PeekError> {
    match cursor.next_byte() {
        Some(b'"') => Ok(Some(cursor.string()?)),
        Some(b'n') => Ok(cursor.literal(b"null").map(|()| None)?),
        _ => wrong_type(cursor, "model", "a string"),
    }
}

fn boolean(cursor: &mut Cursor<'_>, key: &'static str) -> Result<Option<bool>, PeekError> {
    match cursor.next_byte() {
        Some(b't') => Ok(cursor.literal(b"true").map(|()| Some(true))?),
        Some(b'f') => Ok(cursor.literal(b"false").map(|()| Some(false))?),
        Some(b'n') => Ok(cursor.literal(b"null").map(|()| None)?),
        _ => wrong_type(cursor, key, "true or false"),
    }
}

/// What is there is not of the right type; broken JSON is told as such.
fn wrong_type<T>(
    cursor: &mut Cursor<'_>,
    key: &'static str,
    expected: &'static str,
) -> Result<T, PeekError> {
    cursor.skip_value()?;
    Err(PeekError::WrongType { key, expected })
}
