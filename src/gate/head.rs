//! The head of an HTTP/1 request, byte by byte as it came.

use crate::gate::Malformed;
use crate::gate::fields::{Fields, is_token};

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request line and all fields, in bytes.
    pub bytes: usize,
    /// How many fields.
    pub fields: usize,
}

/// One head, read while it comes.
///
/// # Examples
///
/// ```
/// use firstlight::gate::{Head, HeadLimits, Malformed};
///
/// let limits = HeadLimits { bytes: 1000, fields: 10 };
/// let mut head = Head::new(limits);
/// assert_eq!(head.read(b"GET / HTTP/1.1\r\nHost: x\r\n"), Ok(None));
/// assert_eq!(head.read(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nand more"), Ok(Some(27)));
/// assert_eq!(Head::new(limits).read(b"GET / HTTP/1.1\n"), Err(Malformed::BareLineFeed));
/// ```
#[derive(Debug)]
pub struct Head {
    limits: HeadLimits,
    /// How many bytes were looked at.
    seen: usize,
    /// Where the present line begins.
    line: usize,
    previous: u8,
    chunked: bool,
}

impl Head {
    /// Nothing was read yet.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, seen: 0, line: 0, previous: 0, chunked: false }
    }

    /// `bytes` are all that came since the head's beginning. Tells where it ends once it is whole and can be
    /// read in one way only; refuses it as soon as it cannot.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let end = self.find_end(bytes)?;
        let length = end.unwrap_or(bytes.len());
        if length > self.limits.bytes {
            return Err(Malformed::HeaderBytes);
        }
        if let Some(head) = end.and_then(|end| bytes.get(..end)) {
            self.chunked = judge(head, self.limits.fields)?.is_chunked();
        }
        Ok(end)
    }

    /// Whether a whole head says that its body comes in chunks.
    pub fn is_chunked(&self) -> bool {
        self.chunked
    }

    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        for (at, &byte) in bytes.iter().enumerate().skip(self.seen) {
            let after_cr = self.previous == b'\r';
            match byte {
                b'\n' if !after_cr => return Err(Malformed::BareLineFeed),
                // An empty line before the request line, which some servers skip.
                b'\n' if at == 1 => return Err(Malformed::RequestLine),
                b'\n' if at == self.line + 1 => return Ok(Some(at + 1)),
                b'\n' => self.line = at + 1,
                _ if after_cr => return Err(Malformed::ControlCharacter),
                b'\t' | b'\r' => {}
                0..=0x1f | 0x7f => return Err(Malformed::ControlCharacter),
                _ => {}
            }
            self.previous = byte;
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// Judges a whole head, whose lines are known to end with CRLF.
fn judge(head: &[u8], most_fields: usize) -> Result<Fields, Malformed> {
    let mut lines =
        (head.split(|&byte| byte == b'\n')).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let keeps = request_line(lines.next().unwrap_or_default())?;
    let mut fields = Fields::default();
    for (count, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if count >= most_fields {
            return Err(Malformed::HeaderFields);
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Err(Malformed::FoldedLine);
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Malformed::FieldName)?;
        let (name, value) = line.split_at_checked(colon).ok_or(Malformed::FieldName)?;
        fields.note(name, value.get(1..).unwrap_or_default().trim_ascii())?;
    }
    match keeps {
        Version::Http11 => fields.settle_http11()?,
        Version::Http10 => fields.settle_http10()?,
    }
    Ok(fields)
}

enum Version {
    Http10,
    Http11,
}

/// Exactly `METHOD SP TARGET SP VERSION`.
fn request_line(line: &[u8]) -> Result<Version, Malformed> {
    let space = |byte: &u8| *byte == b' ';
    let (first, last) = (line.iter().position(space))
        .zip(line.iter().rposition(space))
        .filter(|(first, last)| first < last)
        .ok_or(Malformed::RequestLine)?;
    let part = |from: usize, to: usize| line.get(from..to).unwrap_or_default();
    let (method, target, version) =
        (part(0, first), part(first + 1, last), part(last + 1, line.len()));
    if !is_token(method) || target.is_empty() {
        return Err(Malformed::RequestLine);
    }
    // Pingora would encode a space and drop a fragment, so that nobody behind it could see them.
    if target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f.. | b'#')) {
        return Err(Malformed::Target);
    }
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ => Err(Malformed::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 500, fields: 4 };

    fn read(text: &str) -> Result<Option<usize>, Malformed> {
        Head::new(LIMITS).read(text.as_bytes())
    }

    fn with(field: &str) -> Result<Option<usize>, Malformed> {
        read(&format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n"))
    }

    #[test]
    fn plain_heads_pass() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a?b=%20 HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nhost:x\r\n\r\n",
            "POST /%C3%A9 HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length:  12 \r\nA:\r\n\r\n",
        ] {
            assert_eq!(read(text), Ok(Some(text.len())));
        }
        assert!(with("Transfer-Encoding: Chunked").is_ok());
        assert!(with("Expect: 100-Continue").is_ok());
        assert!(with("X: \u{e9}\ttab").is_ok());
    }

    #[test]
    fn request_lines() {
        let check = |line: &str, wrong| {
            assert_eq!(read(&format!("{line}\r\nHost: x\r\n\r\n")), Err(wrong), "{line}");
        };
        check("\r\nGET / HTTP/1.1", Malformed::RequestLine);
        check("GET /", Malformed::RequestLine);
        check("GET", Malformed::RequestLine);
        check(" / HTTP/1.1", Malformed::RequestLine);
        check("GET  HTTP/1.1", Malformed::RequestLine);
        check("G(T / HTTP/1.1", Malformed::RequestLine);
        check("GET  / HTTP/1.1", Malformed::Target);
        check("GET /a b HTTP/1.1", Malformed::Target);
        check("GET /a\tb HTTP/1.1", Malformed::Target);
        check("GET /a#b HTTP/1.1", Malformed::Target);
        check("GET /é HTTP/1.1", Malformed::Target);
        check("GET / HTTP/1.2", Malformed::Version);
        check("GET / http/1.1", Malformed::Version);
        check("GET / HTTP/2.0", Malformed::Version);
    }

    #[test]
    fn framing() {
        let check = |fields: &str, wrong| assert_eq!(with(fields), Err(wrong), "{fields}");
        check("Content-Length: 2\r\nTransfer-Encoding: chunked", Malformed::TwoFramings);
        check("Transfer-Encoding: chunked\r\nContent-Length: 2", Malformed::TwoFramings);
        check("Content-Length: 2\r\nContent-Length: 2", Malformed::ContentLength);
        for length in ["2, 2", "+2", "-2", "0x2", "", "2 2", "99999999999999999999"] {
            check(&format!("Content-Length: {length}"), Malformed::ContentLength);
        }
        check("Transfer-Encoding: gzip, chunked", Malformed::TransferCoding);
        for coding in
            ["identity", "xchunked", "chunked, chunked", "chunked, gzip", "", "gzip", "\"chunked\""]
        {
            check(&format!("Transfer-Encoding: {coding}"), Malformed::TransferEncoding);
        }
        check(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Malformed::TransferEncoding,
        );
        check("Transfer-Encoding : chunked", Malformed::FieldName);
        check("Transfer-Encoding: \u{b}chunked", Malformed::ControlCharacter);
        let old = read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old, Err(Malformed::TransferEncoding));
    }

    #[test]
    fn fields() {
        let check = |fields: &str, wrong| assert_eq!(with(fields), Err(wrong), "{fields}");
        check("api_key: x", Malformed::Underscore);
        check(" folded", Malformed::FoldedLine);
        check("no colon", Malformed::FieldName);
        check(": x", Malformed::FieldName);
        check("Host: y", Malformed::Host);
        check("Expect: 200-ok", Malformed::Expectation);
        check("A: b\rc", Malformed::ControlCharacter);
        check("A: b\0c", Malformed::ControlCharacter);
        check("A: b\nC: d", Malformed::BareLineFeed);
        check("A: 1\r\nB: 2\r\nC: 3\r\nD: 4", Malformed::HeaderFields);
        check(&format!("A: {}", "x".repeat(500)), Malformed::HeaderBytes);
        for host in ["", "x/#", "a@b", "a b", "é"] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(read(&text), Err(Malformed::Host), "{host}");
        }
        assert_eq!(read("GET / HTTP/1.1\r\nA: b\r\n\r\n"), Err(Malformed::Host));
        assert_eq!(read("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Err(Malformed::Host));
    }
}
