//! Changing a body in places, without reading it into a tree and writing it again: what is not edited arrives
//! as it was sent, byte for byte.

use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// What is not larger is copied into one piece: cheaper than to write several to a connection.
const COPIED: usize = 64 << 10;

/// One piece of a body, and what stands there instead. An empty piece is a place to insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where, in bytes of the body.
    pub span: Range<usize>,
    /// What is written there.
    pub text: Cow<'static, str>,
}

impl Edit {
    /// Names another model, where `span` (of [`Peek::model_span`](crate::azure::peek::Peek::model_span)) says
    /// that the model stands.
    pub fn of_model(span: Range<usize>, deployment: &str) -> Self {
        Self { span, text: serde_json::Value::from(deployment).to_string().into() }
    }
}

/// The body with all `edits`, which are of this body and do not overlap, in pieces that follow each other.
///
/// What stays of a large body is not copied: however many attempts a request has, its memory is needed once. The
/// very same bytes in one piece, if nothing changes.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use firstlight::azure::edit::{Edit, apply};
///
/// let body = Bytes::from_static(br#"{ "model": "gpt-4o" }"#);
/// let edits = [Edit::of_model(11..19, "mini"), Edit { span: 1..1, text: r#""n":1,"#.into() }];
/// assert_eq!(apply(&body, &edits).concat(), br#"{"n":1, "model": "mini" }"#);
/// ```
pub fn apply(body: &Bytes, edits: &[Edit]) -> Vec<Bytes> {
    let changes = |edit: &&Edit| body.get(edit.span.clone()) != Some(edit.text.as_bytes());
    let mut edits: Vec<&Edit> = edits.iter().filter(changes).collect();
    if edits.is_empty() {
        return vec![body.clone()];
    }
    edits.sort_by_key(|edit| edit.span.start);
    let mut pieces = Vec::with_capacity(2 * edits.len() + 1);
    let mut rest = 0;
    for edit in edits {
        let Range { start, end } = edit.span;
        if rest > start || start > end || end > body.len() {
            debug_assert!(false, "{edit:?} is not of this body, or overlaps another");
            continue;
        }
        pieces.push(body.slice(rest..start));
        pieces.push(Bytes::copy_from_slice(edit.text.as_bytes()));
        rest = end;
    }
    pieces.push(body.slice(rest..));
    if body.len() <= COPIED {
        return vec![pieces.concat().into()];
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_may_come_in_any_order() {
        let body = Bytes::from_static(b"abcdef");
        let one = Edit { span: 4..6, text: "X".into() };
        let two = Edit { span: 0..0, text: "<".into() };
        let three = Edit { span: 1..4, text: "".into() };
        let edits = [one, two, three];
        assert_eq!(apply(&body, &edits), ["<aX"]);
    }

    #[test]
    fn what_changes_nothing_copies_nothing() {
        let body = Bytes::from_static(br#"{"model":"gpt-4o"}"#);
        let same = apply(&body, &[Edit::of_model(9..17, "gpt-4o")]);
        assert_eq!(same[0].as_ptr(), body.as_ptr());
        assert_eq!(apply(&body, &[])[0].as_ptr(), body.as_ptr());
    }

    #[test]
    fn another_model_is_written_in_place() {
        let body = Bytes::from_static(br#"{"model" : "gpt-4o","n":1}"#);
        let span = crate::azure::peek::peek(&body).unwrap().model_span.unwrap();
        let named = |name: &str| apply(&body, &[Edit::of_model(span.clone(), name)]);
        assert_eq!(named("mini-prod"), [r#"{"model" : "mini-prod","n":1}"#]);
        assert_eq!(named("a\"b"), [r#"{"model" : "a\"b","n":1}"#]);
        assert_eq!(named("gpt-4o")[0].as_ptr(), body.as_ptr());
    }

    #[test]
    fn of_a_large_body_only_what_is_written_is_new() {
        let text = format!(r#"{{"model":"gpt-4o","input":"{}"}}"#, "x".repeat(COPIED));
        let body = Bytes::from(text.clone());
        let edits = [Edit { span: 0..0, text: " ".into() }, Edit::of_model(9..17, "mini")];
        let pieces = apply(&body, &edits);
        assert_eq!(
            pieces.concat(),
            text.replacen(r#"{"model":"gpt-4o""#, r#" {"model":"mini""#, 1).as_bytes()
        );
        let within = body.as_ptr_range();
        let new = pieces.iter().filter(|piece| !within.contains(&piece.as_ptr()));
        assert_eq!(new.map(Bytes::len).collect::<Vec<_>>(), [1, 6]);
    }
}
