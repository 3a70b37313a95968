//! A list of what one resource holds, less what belongs to others.
//!
//! All apps share the resource's credential, so its lists show what every app made. What is known to be another's is
//! cut out; the rest stays as it came, byte for byte, and so does what is no list.

use crate::azure::json::{Cursor, Fault, Token};
use std::ops::Range;

/// The largest list that is looked at. A page has a hundred entries at most.
pub const LIST_BYTES_MAX: usize = 16 << 20;

/// The list without the entries whose id `is_foreign`; `None`: it can pass as it is.
///
/// # Examples
///
/// ```
/// let list = br#"{"data":[{"id":"file-1"},{"id":"file-2"}],"object":"list"}"#;
/// let cut = firstlight::azure::listing::without(list, |id| id == "file-1");
/// assert_eq!(cut.unwrap(), br#"{"data":[{"id":"file-2"}],"object":"list"}"#);
/// ```
pub fn without(body: &[u8], is_foreign: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut cursor = Cursor::new(body);
    let read = cursor.object(|cursor, key| member(cursor, key, &is_foreign, &mut entries));
    if read.is_err() || entries.iter().all(|entry| entry.stays) {
        return None;
    }
    let (first, last) = (entries.first()?.span.start, entries.last()?.span.end);
    let mut cut = body.get(..first)?.to_vec();
    for (place, entry) in entries.iter().filter(|entry| entry.stays).enumerate() {
        cut.extend_from_slice(if place > 0 { b"," } else { b"" });
        cut.extend_from_slice(body.get(entry.span.clone())?);
    }
    cut.extend_from_slice(body.get(last..)?);
    Some(cut)
}

struct Entry {
    span: Range<usize>,
    stays: bool,
}

fn member(
    cursor: &mut Cursor<'_>,
    key: Token<'_>,
    is_foreign: &impl Fn(&str) -> bool,
    entries: &mut Vec<Entry>,
) -> Result<(), Fault> {
    if key.raw() != b"data" || cursor.next_byte() != Some(b'[') {
        return cursor.skip_value();
    }
    // Given twice, the last one counts for most readers: nothing of the first is kept then.
    entries.clear();
    cursor.array(|cursor| {
        let object = cursor.next_byte() == Some(b'{');
        let start = cursor.place();
        let stays = if object {
            is_ours(cursor, is_foreign)?
        } else {
            cursor.skip_value()?;
            true
        };
        entries.push(Entry { span: start..cursor.place(), stays });
        Ok(())
    })
}

/// Passes one entry, and tells whether it may be shown.
fn is_ours(cursor: &mut Cursor<'_>, is_foreign: &impl Fn(&str) -> bool) -> Result<bool, Fault> {
    let mut ours = true;
    cursor.object(|cursor, key| {
        if key.raw() != b"id" || cursor.next_byte() != Some(b'"') {
            return cursor.skip_value();
        }
        ours &= !is_foreign(&cursor.string()?.text()?);
        Ok(())
    })?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, expected: Option<&str>) {
        let cut = without(list.as_bytes(), |id| id.starts_with("theirs"));
        assert_eq!(cut.as_deref().map(|cut| std::str::from_utf8(cut).unwrap()), expected, "{list}");
    }

    #[test]
    fn what_belongs_to_others_is_cut_out() {
        check(
            r#"{ "data" : [ {"id":"theirs1","x":[1]} , {"a":{"id":"theirs"},"id":"ours"},{"id":"theirs2"}, {"id":"o2"} ], "has_more":true}"#,
            Some(
                r#"{ "data" : [ {"a":{"id":"theirs"},"id":"ours"},{"id":"o2"} ], "has_more":true}"#,
            ),
        );
        check(r#"{"data":[{"id":"theirs1"}]}"#, Some(r#"{"data":[]}"#));
        check(r#"{"data":[{"id":"their\u00731"}]}"#, Some(r#"{"data":[]}"#));
    }

    #[test]
    fn anything_else_passes() {
        for list in [
            r#"{"data":[{"id":"ours"}]}"#,
            r#"{"data":[]}"#,
            r#"{"data":{"id":"theirs"}}"#,
            r#"{"data":["theirs",1,null]}"#,
            "[1]",
            "",
        ] {
            check(list, None);
        }
    }
}
