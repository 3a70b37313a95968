//! The form that a good response has: whether the first bytes of a 2xx can be what was asked for.
//!
//! A gateway in front of a model, or a model that is ill, may say 200 and send nothing, or a page of HTML. Where the
//! form of a response is fixed this shows in its first byte. No more than that is looked at: what a JSON object says
//! is between the client and the model. Contents of files, audio, transcriptions (which may be text), and the paths
//! that the operator added have no fixed form.

use crate::azure::json::Cursor;
use crate::azure::operation::Operation;
use crate::azure::route::Route;
use http::{HeaderMap, Method, header};

/// The form that a good response must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any.
    Any,
    /// A JSON object.
    Object,
    /// A stream of events, or a JSON object: some gateways answer so.
    Events,
}

impl Form {
    /// The form of the response to a request.
    #[expect(clippy::fn_params_excessive_bools, reason = "a fact of the request")]
    pub fn of(route: &Route, streamed: bool) -> Self {
        match route.operation {
            Operation::Resource if is_object(route) => Self::Events,
            Operation::Embeddings => Self::Object,
            Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Images
                if streamed =>
            {
                Self::Events
            }
            Operation::ChatCompletions
            | Operation::Completions
            | Operation::Responses
            | Operation::Images => Self::Object,
            Operation::Transcriptions
            | Operation::Speech
            | Operation::Models
            | Operation::Realtime
            | Operation::Resource => Self::Any,
        }
    }

    /// Whether a body that begins so has this form; `None`: there must be more of it to tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use firstlight::azure::form::Form;
    ///
    /// assert_eq!(Form::Object.fits(b" {\"id\"", false), Some(true));
    /// assert_eq!(Form::Object.fits(b"<html>", false), Some(false));
    /// assert_eq!(Form::Object.fits(b"\n", false), None);
    /// assert_eq!(Form::Object.fits(b"\n", true), Some(false));
    /// ```
    #[expect(clippy::fn_params_excessive_bools, reason = "a fact of the body")]
    pub fn fits(self, begin: &[u8], has_ended: bool) -> Option<bool> {
        if self == Self::Any {
            return Some(true);
        }
        let text = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin).trim_ascii_start();
        match text.first() {
            None if has_ended => Some(false),
            None => None,
            Some(b'{') => Some(true),
            Some(_) if self == Self::Object => Some(false),
            Some(_) if FIELDS.iter().any(|field| text.starts_with(field)) => Some(true),
            Some(_) if FIELDS.iter().any(|field| field.starts_with(text)) && !has_ended => None,
            Some(_) => Some(false),
        }
    }
}

/// What a line of an event stream begins with.
const FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b":"];

/// Whether what lives on a resource is told of in a JSON object. A deletion may say nothing, the calls of a
/// conversation are answered in other forms.
fn is_object(route: &Route) -> bool {
    route.method != Method::DELETE && route.tells_of_objects()
}

/// Whether a response has a body whose bytes can be looked at: one that is encoded is passed on as it is.
pub fn is_readable(status: u16, headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    let is_plain = encoding.is_none_or(|value| {
        let value = value.as_bytes().trim_ascii();
        value.is_empty() || value.eq_ignore_ascii_case(b"identity")
    });
    is_plain && !matches!(status, 204 | 205)
}

/// Whether a body is a JSON object from its first byte to its last.
pub fn is_whole_object(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut cursor = Cursor::new(body);
    cursor.next_byte() == Some(b'{') && cursor.skip_value().is_ok() && cursor.end().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::route::route;

    fn check(form: Form, begin: &str, expected: [Option<bool>; 2]) {
        let found = [false, true].map(|ended| form.fits(begin.as_bytes(), ended));
        assert_eq!(found, expected, "{form:?} {begin:?}");
    }

    #[test]
    fn the_first_bytes_tell_the_form() {
        let (yes, no, more) = ([Some(true); 2], [Some(false); 2], [None, Some(false)]);
        for form in [Form::Object, Form::Events] {
            for begin in ["{", " \r\n{\"id\":1}", "\u{feff}{}"] {
                check(form, begin, yes);
            }
            for begin in ["", " ", "\r\n\t"] {
                check(form, begin, more);
            }
            for begin in ["<html>", "Bad Gateway", "null", "\"text\"", "[]", "\0"] {
                check(form, begin, no);
            }
        }
        for begin in ["data: {}", "data", "event: x", ": ping", "id: 1", "retry: 3", "\n\ndata:{}"]
        {
            check(Form::Events, begin, yes);
            check(Form::Object, begin, no);
        }
        for begin in ["d", "dat", "e", "even", "i", "retr"] {
            check(Form::Events, begin, more);
        }
        for begin in ["dog", "error", "internal"] {
            check(Form::Events, begin, no);
        }
        check(Form::Any, "", yes);
        check(Form::Any, "<html>", yes);
    }

    #[test]
    fn every_operation_has_its_form() {
        let check = |method: Method, target: &str, streamed: bool, expected: Form| {
            let more = ["agents".to_owned()];
            let route = route(&method, target, &more).unwrap();
            assert_eq!(Form::of(&route, streamed), expected, "{method} {target}");
        };
        let post = |path: &str, streamed, expected| {
            check(Method::POST, &format!("/openai/v1/{path}"), streamed, expected);
        };
        for path in ["chat/completions", "completions", "responses", "images/generations"] {
            post(path, false, Form::Object);
            post(path, true, Form::Events);
        }
        post("embeddings", false, Form::Object);
        for path in ["audio/transcriptions", "audio/translations", "audio/speech", "agents/x"] {
            post(path, false, Form::Any);
            post(path, true, Form::Any);
        }
        post("files", false, Form::Events);
        post("threads/thread_1/runs", true, Form::Events);
        post("realtime/calls", false, Form::Any);
        let file = "/openai/v1/files/file-1";
        check(Method::GET, file, false, Form::Events);
        check(Method::DELETE, file, false, Form::Any);
        for path in ["files/f/content", "video/generations/g/content/video", "videos/v/thumbnail"] {
            check(Method::GET, &format!("/openai/v1/{path}"), false, Form::Any);
        }
    }

    #[test]
    fn what_is_encoded_or_has_no_body_is_not_looked_at() {
        let check = |status, encoding: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(encoding) = encoding {
                headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            }
            assert_eq!(is_readable(status, &headers), expected, "{status} {encoding:?}");
        };
        check(200, None, true);
        check(201, Some("Identity"), true);
        for encoding in ["gzip", "br", "deflate, gzip"] {
            check(200, Some(encoding), false);
        }
        check(204, None, false);
    }

    #[test]
    fn half_of_an_object_is_not_whole() {
        let whole = r#"{"a":[1,{"b":"}"}],"c":{}} "#;
        assert!(is_whole_object(whole.as_bytes()));
        for end in 0..whole.len() - 1 {
            assert!(!is_whole_object(&whole.as_bytes()[..end]), "{end}");
        }
        assert!(!is_whole_object(b"[]") && !is_whole_object(b"{} {}"));
    }
}
