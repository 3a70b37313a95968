//! The `stream_options` of a request: whether it asks for its usage, and what to write so that it does.
//!
//! Where it cannot be said in one way what the request means (the member or the option stands there twice, or is of
//! another type), nothing is written: that is Azure's to judge.

use crate::azure::edit::Edit;
use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use std::ops::Range;

/// What asks for it, in the request and in its `stream_options`.
const MEMBER: &str = r#""stream_options":{"include_usage":true},"#;
const OPTIONS: &str = r#"{"include_usage":true}"#;
const OPTION: &str = r#""include_usage":true,"#;
const ONLY_OPTION: &str = r#""include_usage":true"#;

/// What was seen of the member.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamOptions {
    /// Whether the usage is asked for.
    pub(super) include_usage: bool,
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// It is not there.
    #[default]
    Absent,
    /// This would ask for the usage.
    Lacks(Edit),
    /// Nothing is to be done, or nothing can be.
    Settled,
}

impl StreamOptions {
    /// Reads the value of the member, whatever it is.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        let first = matches!(self.state, State::Absent);
        self.state = State::Settled;
        if cursor.next_byte() != Some(b'{') {
            let start = cursor.place();
            // The same as not to give it.
            if cursor.raw_value()? == b"null" && first {
                let text = OPTIONS.into();
                self.state = State::Lacks(Edit { span: start..cursor.place(), text });
            }
            return Ok(());
        }
        let open = cursor.place() + 1;
        let mut members = 0_u32;
        let mut option = None;
        let mut options = 0_u32;
        cursor.object(|cursor, key| {
            members = members.saturating_add(1);
            cursor.next_byte();
            let start = cursor.place();
            let value = cursor.raw_value()?;
            if key.text()? == "include_usage" {
                self.include_usage |= value == b"true";
                option = Some((start..cursor.place(), value));
                options = options.saturating_add(1);
            }
            Ok::<(), Fault>(())
        })?;
        if !first {
            return Ok(());
        }
        let edit =
            |span: Range<usize>, text: &'static str| State::Lacks(Edit { span, text: text.into() });
        self.state = match (options, option) {
            (0, _) if members == 0 => edit(open..open, ONLY_OPTION),
            (0, _) => edit(open..open, OPTION),
            (1, Some((span, b"false" | b"null"))) => edit(span, "true"),
            _ => State::Settled,
        };
        Ok(())
    }

    /// What to write so that the usage is asked for; `open` is the place behind the bracket that opens the request, which
    /// has other members.
    pub(super) fn edit(self, open: usize) -> Option<Edit> {
        match self.state {
            State::Absent => Some(Edit { span: open..open, text: MEMBER.into() }),
            State::Lacks(edit) => Some(edit),
            State::Settled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::azure::edit::apply;
    use crate::azure::peek::peek;
    use bytes::Bytes;

    fn check(body: &str, expected: Option<&str>) {
        let bytes = Bytes::from(body.to_owned());
        let edit = peek(&bytes).unwrap().usage_edit;
        let edited = edit.map(|edit| apply(&bytes, &[edit]).concat());
        assert_eq!(edited.as_deref(), expected.map(str::as_bytes), "{body}");
    }

    #[test]
    fn a_request_is_made_to_ask() {
        check(
            r#" { "stream":true}"#,
            Some(r#" {"stream_options":{"include_usage":true}, "stream":true}"#),
        );
        for (options, expected) in [
            ("{}", r#"{"include_usage":true}"#),
            ("{ }", r#"{"include_usage":true }"#),
            ("null", r#"{"include_usage":true}"#),
            (
                r#"{"include_obfuscation":false}"#,
                r#"{"include_usage":true,"include_obfuscation":false}"#,
            ),
            (r#"{"include_usage" : false }"#, r#"{"include_usage" : true }"#),
            (r#"{"x":[{}],"include_usage":null}"#, r#"{"x":[{}],"include_usage":true}"#),
        ] {
            let with =
                |options| format!(r#"{{"a":"é","stream_options": {options},"stream":true}}"#);
            check(&with(options), Some(&with(expected)));
        }
    }

    #[test]
    fn what_asks_already_or_can_be_read_in_two_ways_is_left_alone() {
        check("{}", None);
        check(r#"{"stream":false}"#, None);
        check(r#"{"stream_options":{}}"#, None);
        for options in [
            r#"{"stream_options":{"include_usage":true}}"#,
            r#"{"stream_options":{"include_usage":1}}"#,
            r#"{"stream_options":{"include_usage":false,"include_usage":false}}"#,
            r#"{"stream_options":{},"stream_options":{}}"#,
            r#"{"stream_options":{},"stream_options":null}"#,
            r#"{"stream_options":null,"stream_options":{}}"#,
            r#"{"stream_options":[]}"#,
            r#"{"stream_options":"include_usage"}"#,
        ] {
            check(&options.replacen('{', r#"{"stream":true,"#, 1), None);
        }
    }
}
