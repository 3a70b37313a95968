//! The tools of a request, as far as they decide whether the request may be sent twice.
//!
//! Most tools tell the model what it may ask its client to do, or let it read: a second copy of such a request
//! costs tokens and nothing else. Other tools act while the response is written: a server is called, code runs,
//! a picture is paid for. A copy of such a request acts a second time.
//!
//! | type of a tool | effect |
//! |---|---|
//! | `function`, `custom` | none: the client runs them |
//! | `file_search`, `web_search`, `web_search_preview` | none: they read |
//! | `computer`, `computer_use`, `computer_use_preview` | none: they return actions |
//! | any other (`mcp`, `code_interpreter`, `image_generation`, `shell`, ...) | possible |
//! | not in the body: brought by a stored prompt or an agent, or a tool that names no type | possible |
//!
//! A type may end in a date (`web_search_2025_08_26`). What a tool does is not looked at: `mcp` acts, whatever
//! server it names.

use crate::azure::json::{Cursor, Fault, Token};
use std::borrow::Cow;

/// Stands for every type in the operator's list, and for the tools that are not in the body.
pub const ALL: &str = "all";

/// Types without an effect.
const HARMLESS: [&str; 8] = [
    "function",
    "custom",
    "file_search",
    "web_search",
    "web_search_preview",
    "computer",
    "computer_use",
    "computer_use_preview",
];

/// The most types with an effect that are told apart in one request.
const TYPES_MAX: usize = 16;

/// The tools of one request that may have an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools<'a> {
    /// Their types, each once.
    types: Vec<Cow<'a, str>>,
    /// Whether there are tools of unknown type.
    has_unknown: bool,
}

impl<'a> Tools<'a> {
    /// Whether the tools allow a second copy of the request. `allowed` lists further types, or [`ALL`].
    ///
    /// # Examples
    ///
    /// ```
    /// let body = br#"{"tools":[{"type":"function"},{"type":"mcp"}]}"#;
    /// let tools = firstlight::azure::peek::peek(body)?.tools;
    /// assert!(!tools.may_repeat(&[]));
    /// assert!(tools.may_repeat(&["mcp".to_owned()]));
    /// # Ok::<(), firstlight::azure::peek::PeekError>(())
    /// ```
    pub fn may_repeat(&self, allowed: &[String]) -> bool {
        let lists = |kind: &str| allowed.iter().any(|one| one == kind);
        let is_allowed = |kind: &Cow<'_, str>| lists(kind) || lists(undated(kind));
        lists(ALL) || (!self.has_unknown && self.types.iter().all(is_allowed))
    }

    /// Reads the value of `tools`, or the object that brings tools from elsewhere. `see` gets every string in it that is neither a key nor a type.
    ///
    /// Nothing is refused: a value that is not a list of tools counts as an unknown tool, and Azure says what is
    /// wrong with it.
    pub(super) fn read<F: FnMut(Token<'a>)>(
        &mut self,
        cursor: &mut Cursor<'a>,
        see: &mut F,
    ) -> Result<(), Fault> {
        match cursor.next_byte() {
            Some(b'[') => cursor.array(|cursor| self.tool(cursor, see)),
            Some(b'n') => cursor.literal(b"null"),
            _ => self.pass_unknown(cursor, see),
        }
    }

    /// Passes a value that stands where tools belong and cannot be judged.
    fn pass_unknown<F: FnMut(Token<'a>)>(
        &mut self,
        cursor: &mut Cursor<'a>,
        see: &mut F,
    ) -> Result<(), Fault> {
        self.has_unknown = true;
        cursor.skip_value_seeing(see)
    }

    fn tool<F: FnMut(Token<'a>)>(
        &mut self,
        cursor: &mut Cursor<'a>,
        see: &mut F,
    ) -> Result<(), Fault> {
        if cursor.next_byte() != Some(b'{') {
            return self.pass_unknown(cursor, see);
        }
        let mut has_type = false;
        cursor.object(|cursor, key| {
            let names_type = key.text().is_ok_and(|key| key == "type");
            if names_type && cursor.next_byte() == Some(b'"') {
                has_type = true;
                self.add(cursor.string()?);
                return Ok::<(), Fault>(());
            }
            // A type that is not text: some reader may take it for one.
            self.has_unknown |= names_type;
            cursor.skip_value_seeing(see)
        })?;
        self.has_unknown |= !has_type;
        Ok(())
    }

    fn add(&mut self, kind: Token<'a>) {
        match kind.text() {
            Ok(kind) if HARMLESS.contains(&undated(&kind)) || self.types.contains(&kind) => {}
            Ok(kind) if self.types.len() < TYPES_MAX => self.types.push(kind),
            Ok(_) | Err(_) => self.has_unknown = true,
        }
    }
}

/// A type without the date at its end: `web_search_2025_08_26` is `web_search`.
fn undated(kind: &str) -> &str {
    const DATE: &[u8] = b"_dddd_dd_dd";
    let Some((name, date)) =
        kind.len().checked_sub(DATE.len()).and_then(|at| kind.split_at_checked(at))
    else {
        return kind;
    };
    let fits = |(form, byte): (&u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        other => *other == byte,
    };
    if DATE.iter().zip(date.bytes()).all(fits) { name } else { kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::peek::{PeekError, peek};

    fn may(body: &str, allowed: &[&str]) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|&kind| kind.to_owned()).collect();
        peek(body.as_bytes()).unwrap().tools.may_repeat(&allowed)
    }

    #[expect(clippy::fn_params_excessive_bools, reason = "the answer that is expected")]
    fn check(tools: &str, expected: bool) {
        let body = format!(r#"{{"model":"m","tools":{tools},"input":"x"}}"#);
        assert_eq!(may(&body, &[]), expected, "{tools}");
        assert!(may(&body, &[ALL]), "{tools}");
    }

    #[test]
    fn only_types_that_are_known_to_do_nothing_are_harmless() {
        for kind in HARMLESS {
            check(&format!(r#"[{{"type":"{kind}"}}]"#), true);
        }
        for kind in ["web_search_2025_08_26", "web_search_preview_2025_03_11"] {
            check(&format!(r#"[{{"type":"{kind}"}}]"#), true);
        }
        let acting = [
            "mcp",
            "code_interpreter",
            "image_generation",
            "shell",
            "local_shell",
            "apply_patch",
            "namespace",
            "bing_grounding",
            "web_search_2025_08_2x",
            "web_search_evil",
            "mcp_2025_08_26",
            "Function",
            "",
        ];
        for kind in acting {
            check(&format!(r#"[{{"type":"{kind}"}}]"#), false);
            check(&format!(r#"[{{"type":"function"}},{{"a":[],"type":"{kind}"}}]"#), false);
        }
        for none in ["[]", "null"] {
            check(none, true);
        }
    }

    #[test]
    fn a_tool_is_found_however_it_is_written() {
        check(r#"[{"type":"\u006dcp"}]"#, false);
        check(r#"[{"\u0074ype":"mcp"}]"#, false);
        check(r#"[{"type":"\u0066unction"}]"#, true);
        check(r#"[{"type":"function","type":"mcp"}]"#, false);
        check(r#"[{"type":"mcp","type":"function"}]"#, false);
        check(r#"[{"server_url":"https://x","require_approval":"never","type":"mcp"}]"#, false);
        assert!(!may(r#"{"\u0074ools":[{"type":"mcp"}]}"#, &[]));
        assert!(!may(r#"{"tools":[{"type":"mcp"}],"model":"m"}"#, &[]));
    }

    #[test]
    fn only_the_type_of_the_tool_itself_counts() {
        let parameters = r#"{"type":"object","properties":{"type":{"type":"mcp"}}}"#;
        check(
            &format!(r#"[{{"type":"function","function":{{"parameters":{parameters}}}}}]"#),
            true,
        );
        check(r#"[{"function":{"type":"function"}}]"#, false);
        // Not among the tools: words of the conversation, and the choice among them.
        assert!(may(r#"{"input":[{"tools":[{"type":"mcp"}]}],"tool_choice":{"type":"mcp"}}"#, &[]));
    }

    #[test]
    fn what_cannot_be_judged_may_act_and_is_not_refused() {
        for odd in [
            r#"{"type":"function"}"#,
            r#""function""#,
            "true",
            "7",
            r#"["function"]"#,
            "[[]]",
            "[null]",
            "[{}]",
            r#"[{"type":7}]"#,
            r#"[{"type":null,"type":"function"}]"#,
            r#"[{"type":"\ud800"}]"#,
        ] {
            check(odd, false);
        }
        check(r#"[{"type":"function","\ud800":1}]"#, true);
    }

    #[test]
    fn tools_that_are_not_in_the_body_may_act() {
        for bringing in [
            r#"{"prompt":{"id":"pmpt_1"}}"#,
            r#"{"agent":{"name":"a","type":"agent_reference"}}"#,
            r#"{"agent_reference":{"name":"a"},"tools":[]}"#,
        ] {
            assert!(!may(bringing, &["mcp"]), "{bringing}");
            assert!(may(bringing, &[ALL]), "{bringing}");
        }
        // Of a completion, or of a picture.
        for plain in [r#"{"prompt":"Say hi"}"#, r#"{"prompt":["a","b"]}"#, r#"{"prompt":null}"#] {
            assert!(may(plain, &[]), "{plain}");
        }
    }

    #[test]
    fn an_operator_may_allow_more() {
        let two = r#"{"tools":[{"type":"mcp"},{"type":"code_interpreter"}]}"#;
        assert!(!may(two, &["mcp"]));
        assert!(may(two, &["code_interpreter", "mcp"]));
        assert!(may(r#"{"tools":[{"type":"bing_grounding_2026_01_01"}]}"#, &["bing_grounding"]));
        assert!(!may(r#"{"tools":[{"type":"mcp"},{}]}"#, &["mcp"]));
    }

    #[test]
    fn a_body_with_very_many_tools_is_read_in_bounded_memory() {
        let tools: Vec<String> =
            (0..20_000).map(|n| format!(r#"{{"type":"t{n}","x":[[{n}]]}}"#)).collect();
        let body = format!(r#"{{"tools":[{}]}}"#, tools.join(","));
        let found = peek(body.as_bytes()).unwrap().tools;
        assert_eq!((found.types.len(), found.has_unknown), (TYPES_MAX, true));
        let allowed: Vec<String> = (0..20_000).map(|n| format!("t{n}")).collect();
        assert!(!found.may_repeat(&allowed));
        let functions = vec![r#"{"type":"function"}"#; 20_000].join(",");
        check(&format!("[{functions}]"), true);
        check(&format!(r#"[{functions},{{"type":"mcp"}}]"#), false);
    }

    #[test]
    fn tools_that_are_given_twice_are_refused() {
        for body in [r#"{"tools":[],"tools":[]}"#, r#"{"tools":null,"x":1,"\u0074ools":[]}"#] {
            assert_eq!(peek(body.as_bytes()).err(), Some(PeekError::Duplicate("tools")), "{body}");
        }
    }

    #[test]
    fn ids_in_tools_are_still_seen() {
        let body =
            r#"{"tools":[{"type":"file_search","vector_store_ids":["vs_0123456789abcdef01"]}]}"#;
        assert_eq!(peek(body.as_bytes()).unwrap().ids.mentioned, ["vs_0123456789abcdef01"]);
    }
}
