//! The fields of a head, of either protocol.

use crate::gate::{HeadLimits, Malformed};

/// What was seen of the fields that decide how a request is framed.
#[derive(Debug, Default)]
pub(super) struct Fields {
    hosts: usize,
    lengths: usize,
    codings: usize,
}

impl Fields {
    /// Judges a field, and notes it. The value has no white space around it.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        check_name(name)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") {
            self.hosts += 1;
            let plain = !value.is_empty() && value.iter().all(|&byte| is_of_host(byte));
            return if plain && self.hosts == 1 { Ok(()) } else { Err(Malformed::Host) };
        }
        if is("content-length") {
            self.lengths += 1;
            let number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            let good = number && self.lengths == 1;
            return if good { Ok(()) } else { Err(Malformed::ContentLength) };
        }
        if is("transfer-encoding") {
            self.codings += 1;
            if self.codings > 1 {
                return Err(Malformed::TransferEncoding);
            }
            return check_coding(value);
        }
        if is("expect") && !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::Expectation);
        }
        Ok(())
    }

    /// Whether the body comes in chunks.
    pub(super) fn is_chunked(&self) -> bool {
        self.codings > 0
    }

    pub(super) fn settle_http11(&self) -> Result<(), Malformed> {
        match self {
            Self { hosts: 0, .. } => Err(Malformed::Host),
            Self { lengths: 1.., codings: 1.., .. } => Err(Malformed::TwoFramings),
            Self { .. } => Ok(()),
        }
    }

    pub(super) fn settle_http10(&self) -> Result<(), Malformed> {
        if self.codings > 0 { Err(Malformed::TransferEncoding) } else { Ok(()) }
    }
}

/// Judges the fields of an h2 request, without the pseudo ones. (That `:authority` and `Host` are the same is
/// checked where both are read.)
pub fn judge_h2<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    limits: HeadLimits,
) -> Result<(), Malformed> {
    let mut seen = Fields::default();
    let mut bytes: usize = 0;
    for (count, (name, value)) in fields.enumerate() {
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if count >= limits.fields {
            return Err(Malformed::HeaderFields);
        }
        if bytes > limits.bytes {
            return Err(Malformed::HeaderBytes);
        }
        let about_connection = matches!(
            name,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
        );
        if about_connection || (name == b"te" && value != b"trailers") {
            return Err(Malformed::ConnectionField);
        }
        seen.note(name, value)?;
    }
    Ok(())
}

/// Exactly one `chunked`. Beside it, codings that exist are not served, and what else stands there is nonsense.
fn check_coding(value: &[u8]) -> Result<(), Malformed> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let known = |coding: &[u8]| {
        ["gzip", "x-gzip", "deflate", "compress", "x-compress"]
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known.as_bytes()))
    };
    let chunked_last = codings.next_back().is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
    if chunked_last && codings.all(known) {
        Err(Malformed::TransferCoding)
    } else {
        Err(Malformed::TransferEncoding)
    }
}

fn check_name(name: &[u8]) -> Result<(), Malformed> {
    if !is_token(name) {
        Err(Malformed::FieldName)
    } else if name.contains(&b'_') {
        Err(Malformed::Underscore)
    } else {
        Ok(())
    }
}

/// A token as RFC 9110 has it, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(allowed)
}

/// A name or address with a port (RFC 3986, section 3.2), without user information.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(fields: &[(&str, &str)]) -> Result<(), Malformed> {
        let limits = HeadLimits { bytes: 60, fields: 3 };
        judge_h2(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), limits)
    }

    #[test]
    fn h2_fields() {
        assert_eq!(judge(&[("te", "trailers"), ("host", "x"), ("content-length", "3")]), Ok(()));
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            assert_eq!(judge(&[(name, "x")]), Err(Malformed::ConnectionField), "{name}");
        }
        assert_eq!(judge(&[("te", "gzip")]), Err(Malformed::ConnectionField));
        assert_eq!(judge(&[("api_key", "x")]), Err(Malformed::Underscore));
        assert_eq!(judge(&[("expect", "x")]), Err(Malformed::Expectation));
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(judge(&twice), Err(Malformed::ContentLength));
        assert_eq!(judge(&[("a", "1"); 4]), Err(Malformed::HeaderFields));
        assert_eq!(judge(&[("a", &"x".repeat(60))]), Err(Malformed::HeaderBytes));
    }
}
