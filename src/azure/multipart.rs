//! What a form with a file asks for (`multipart/form-data`, RFC 7578): the model, and whether to stream.
//!
//! Only the two parts that decide the routing are read, in place, so that the rest passes as it came. As in a JSON
//! body, a form that two readers may read differently is refused: one of these parts given twice, a part with two
//! dispositions or an encoded name, anything before the first part, or a boundary where only some look for one.

use crate::azure::ids::Named;
use memchr::memmem;
use std::ops::Range;

/// The longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// The longest head of a part.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The longest value that is read; model names have 64 bytes.
const VALUE_BYTES_MAX: usize = 256;

/// What a form says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form<'a> {
    /// The part `model`.
    pub model: Option<String>,
    /// Where its value stands in the body: see [`Edit`](crate::azure::edit::Edit).
    pub model_span: Option<Range<usize>>,
    /// Whether the part `stream` is `true`.
    pub stream: bool,
    /// Whether there is such a part.
    says_stream: bool,
    /// The bytes of the parts that are no files.
    pub text_bytes: usize,
    /// The ids in them of what lives on one resource.
    pub ids: Named<'a>,
}

/// Why a form is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The content type names no boundary, or a bad one.
    #[error("its content type has no plain boundary")]
    Boundary,
    /// The body is not made of parts.
    #[error("{0}")]
    Parts(&'static str),
    /// A part that decides the routing stands there twice.
    #[error("{0} is given twice")]
    Duplicate(&'static str),
}

/// Reads a form. `content_type` is the value of the header.
///
/// # Examples
///
/// ```
/// let body = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--\r\n";
/// let form = firstlight::azure::multipart::read(b"multipart/form-data; boundary=x", body)?;
/// assert_eq!(form.model.as_deref(), Some("whisper"));
/// # Ok::<(), firstlight::azure::multipart::FormError>(())
/// ```
pub fn read<'a>(content_type: &[u8], body: &'a [u8]) -> Result<Form<'a>, FormError> {
    let boundary = boundary(content_type).ok_or(FormError::Boundary)?;
    let delimiter = [b"\r\n--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    let opening = delimiter.get(2..).unwrap_or_default();
    let loose = memmem::Finder::new(delimiter.get(1..).unwrap_or_default());
    if !body.starts_with(opening) {
        return Err(FormError::Parts("it does not begin with its boundary"));
    }
    let mut form = Form::default();
    let mut at = opening.len();
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if let Some(end) = rest.strip_prefix(b"--") {
            let blank = end.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | b'\t'));
            return if blank {
                Ok(form)
            } else {
                Err(FormError::Parts("something follows its end"))
            };
        }
        if !rest.starts_with(b"\r\n") {
            return Err(FormError::Parts("a boundary is not at the end of its line"));
        }
        // The head begins with the line end of the boundary, so that an empty head ends like any other.
        let window = rest.get(..HEAD_BYTES_MAX).unwrap_or(rest);
        let head =
            memmem::find(window, b"\r\n\r\n").ok_or(FormError::Parts("a part has no head"))?;
        let start = at + head + 4;
        let behind = body.get(start..).unwrap_or_default();
        let length = finder.find(behind).ok_or(FormError::Parts("its last part does not end"))?;
        let value = behind.get(..length).unwrap_or_default();
        // Some readers take a boundary right behind a head, or behind a bare line feed.
        if behind.starts_with(opening) || loose.find(value).is_some() {
            return Err(FormError::Parts("a boundary stands inside of a part"));
        }
        form.take(&name(rest.get(..head).unwrap_or_default())?, body, start..start + length)?;
        at = start + length + delimiter.len();
    }
}

impl<'a> Form<'a> {
    fn take(
        &mut self,
        part: &Part<'_>,
        body: &'a [u8],
        span: Range<usize>,
    ) -> Result<(), FormError> {
        if !part.file {
            self.text_bytes += span.len();
        }
        let value = body.get(span.clone()).filter(|value| value.len() <= VALUE_BYTES_MAX);
        let value = || value.and_then(|value| std::str::from_utf8(value).ok());
        if !part.file
            && let Some(text) = value()
        {
            self.ids.mention_part(text);
        }
        match part.name {
            b"model" => {
                if self.model_span.replace(span).is_some() {
                    return Err(FormError::Duplicate("model"));
                }
                let text = value().ok_or(FormError::Parts("`model` is not a name"))?;
                self.model = Some(text.to_owned());
            }
            b"stream" => {
                if std::mem::replace(&mut self.says_stream, true) {
                    return Err(FormError::Duplicate("stream"));
                }
                self.stream = value().is_some_and(|text| text.eq_ignore_ascii_case("true"));
            }
            _ => {}
        }
        Ok(())
    }
}

struct Part<'a> {
    name: &'a [u8],
    file: bool,
}

/// The boundary of a content type; `None` if there is not one plain one.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for parameter in content_type.split(|&byte| byte == b';').skip(1) {
        let parameter = parameter.trim_ascii();
        let equals = memchr::memchr(b'=', parameter)?;
        let (key, value) = parameter.split_at_checked(equals)?;
        if !key.eq_ignore_ascii_case(b"boundary") {
            continue;
        }
        let value = value.get(1..)?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let bare = bare.unwrap_or(value);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
        let fits = (1..=BOUNDARY_BYTES_MAX).contains(&bare.len()) && bare.iter().all(plain);
        if found.is_some() || !fits || bare.ends_with(b" ") {
            return None;
        }
        found = Some(bare);
    }
    found
}

/// Which part it is, by its head, whose first line is empty.
fn name(head: &[u8]) -> Result<Part<'_>, FormError> {
    const WORD: &[u8] = b"content-disposition:";
    let mut found = None;
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(FormError::Parts("the head of a part is folded"));
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (key, value) = line.split_at_checked(colon + 1).unwrap_or_default();
        if !key.eq_ignore_ascii_case(WORD) {
            // `Content-Disposition :` is one to some readers.
            let name = key.strip_suffix(b":").unwrap_or_default();
            if name.trim_ascii().len() != name.len() {
                return Err(FormError::Parts("the head of a part is unclear"));
            }
            continue;
        }
        if found.is_some() {
            return Err(FormError::Parts("a part has two dispositions"));
        }
        found = Some(disposition(value.trim_ascii())?);
    }
    found.ok_or(FormError::Parts("a part has no name"))
}

/// `form-data; name="..."; filename="..."`.
fn disposition(value: &[u8]) -> Result<Part<'_>, FormError> {
    const UNCLEAR: FormError = FormError::Parts("the name of a part is unclear");
    let mut rest = value.strip_prefix(b"form-data").ok_or(UNCLEAR)?;
    let (mut name, mut file) = (None, false);
    while !rest.is_empty() {
        rest = rest.strip_prefix(b";").ok_or(UNCLEAR)?.trim_ascii_start();
        let equals = memchr::memchr(b'=', rest).ok_or(UNCLEAR)?;
        let (key, after) = rest.split_at_checked(equals).ok_or(UNCLEAR)?;
        let (value, after) = text(after.get(1..).unwrap_or_default()).ok_or(UNCLEAR)?;
        if !key
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'_'))
        {
            return Err(UNCLEAR);
        }
        match key.to_ascii_lowercase().as_slice() {
            // What some readers decode is not compared with what is looked for.
            b"name" if value.iter().any(|byte| matches!(byte, b'\\' | b'%' | b'\t' | 0x7f..)) => {
                return Err(UNCLEAR);
            }
            b"name" if name.is_some() => return Err(UNCLEAR),
            b"name" => name = Some(value),
            b"name*" => return Err(UNCLEAR),
            b"filename" | b"filename*" => file = true,
            _ => {}
        }
        rest = after.trim_ascii_start();
    }
    name.map(|name| Part { name, file }).ok_or(UNCLEAR)
}

/// A parameter's value, in quotes or not, and what follows it. An escaped quote is passed over and stays as it is:
/// the names that matter have none.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = bytes.strip_prefix(b"\"") else {
        let ends = |byte: &u8| matches!(byte, b';' | b' ');
        let end = bytes.iter().position(ends).unwrap_or(bytes.len());
        return bytes.split_at_checked(end).filter(|(value, _)| !value.contains(&b'"'));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &[u8] = b"multipart/form-data; boundary=x-1";

    fn part(disposition: &str, value: &str) -> String {
        format!("--x-1\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    }

    fn form(parts: &[(&str, &str)]) -> String {
        let parts: String = parts.iter().map(|(name, value)| part(name, value)).collect();
        format!("{parts}--x-1--\r\n")
    }

    fn check_refused(body: &str, expected: &str) {
        assert_eq!(read(TYPE, body.as_bytes()).unwrap_err().to_string(), expected, "{body}");
    }

    #[test]
    fn the_model_is_found_among_files() {
        let audio = "RIFF\r\n--x-\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nfalse";
        let body = form(&[
            (r#"name="file"; filename="a \"model\".wav""#, audio),
            (r#"name="model""#, "whisper-1"),
            ("name=stream", "true"),
            (r#"filename="model"; name="language""#, "en"),
        ]);
        let read = read(TYPE, body.as_bytes()).unwrap();
        assert_eq!(read.model.as_deref(), Some("whisper-1"));
        assert_eq!(body.get(read.model_span.unwrap()), Some("whisper-1"));
        assert!(read.stream);
        assert_eq!(read.text_bytes, "whisper-1true".len());
    }

    #[test]
    fn boundaries_are_read_as_they_are_written() {
        let of = |value: &'static str| boundary(value.as_bytes()).map(<[u8]>::to_vec);
        assert_eq!(of("multipart/form-data; boundary=abc"), Some(b"abc".to_vec()));
        assert_eq!(
            of("multipart/form-data;charset=utf-8; Boundary=\"a b\""),
            Some(b"a b".to_vec())
        );
        for bad in [
            "multipart/form-data",
            "a; boundary=",
            "a; boundary=x; boundary=y",
            "a; boundary=\"x\"y\"",
            "a; boundary",
            "a; boundary=x\ty",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(boundary(format!("a; boundary={}", "x".repeat(71)).as_bytes()), None);
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        check_refused(
            &form(&[("name=\"model\"", "a"), ("name=model", "b")]),
            "model is given twice",
        );
        check_refused(
            &form(&[("name=\"model\"; name=\"x\"", "a")]),
            "the name of a part is unclear",
        );
        check_refused(&form(&[("name*=utf-8''model", "a")]), "the name of a part is unclear");
        check_refused(&form(&[("name=\"model", "a")]), "the name of a part is unclear");
        check_refused(&form(&[("filename=x", "a")]), "the name of a part is unclear");
        for name in ["name=\"mo\\del\"", "name=\"x\"; name =\"model\"", "name=\"%6Dodel\""] {
            check_refused(&form(&[(name, "a")]), "the name of a part is unclear");
        }
        let spaced = "name=a\r\nContent-Disposition : form-data; name=model";
        check_refused(&form(&[(spaced, "a")]), "the head of a part is unclear");
        check_refused(&form(&[("name=a\r\n b", "a")]), "the head of a part is folded");
        let twice = "name=a\r\nContent-Disposition: form-data; name=model";
        check_refused(&form(&[(twice, "a")]), "a part has two dispositions");
        let long = "m".repeat(257);
        check_refused(&form(&[("name=model", &long)]), "`model` is not a name");
        let inside = "a boundary stands inside of a part";
        let hidden = "--x-1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother";
        check_refused(&form(&[("name=prompt", hidden)]), inside);
        check_refused(&form(&[("name=prompt", &format!("a\n{hidden}"))]), inside);
        let streams = [("name=stream", "false"), ("name=stream", "true")];
        check_refused(&form(&streams), "stream is given twice");
        check_refused("hello", "it does not begin with its boundary");
        check_refused(&format!("preamble\r\n{}", form(&[])), "it does not begin with its boundary");
        check_refused("--x-1\r\n\r\na\r\n--x-1--", "a part has no name");
        check_refused(
            "--x-1\r\nContent-Disposition: form-data; name=a\r\n\r\nb",
            "its last part does not end",
        );
        check_refused("--x-1 \r\n", "a boundary is not at the end of its line");
        check_refused(&format!("{}more", form(&[])), "something follows its end");
        check_refused("--x-1\r\nContent-Disposition: form-data", "a part has no head");
    }

    #[test]
    fn a_form_may_be_empty() {
        assert_eq!(read(TYPE, b"--x-1--"), Ok(Form::default()));
        assert_eq!(read(b"multipart/form-data", b"--x--"), Err(FormError::Boundary));
    }
}
