//! What the gate passes, an independent reader reads in the same way; what it refuses never depends on how it came.

use firstlight::gate::{Head, HeadLimits};
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 2000, fields: 20 };

/// One head as a reader sees it.
#[derive(Debug, PartialEq)]
struct Seen {
    length: usize,
    method: String,
    target: Vec<u8>,
    minor: u8,
    fields: Vec<(String, Vec<u8>)>,
}

/// As `httparse` sees it, which is the parser under Pingora and hyper.
fn by_httparse(bytes: &[u8]) -> Option<Seen> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes).ok()? else { return None };
    Some(Seen {
        length,
        method: request.method?.to_owned(),
        target: request.path?.as_bytes().to_vec(),
        minor: request.version?,
        fields: request.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect(),
    })
}

/// As the simplest reader there is sees it: split at the line ends, the spaces and the first colons.
fn by_hand(bytes: &[u8]) -> Option<Seen> {
    let length = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lines: Vec<&[u8]> = bytes[..length - 4].split(|b| *b == b'\n').collect();
    let lines: Vec<&[u8]> = lines.iter().map(|l| l.strip_suffix(b"\r").unwrap_or(l)).collect();
    let parts: Vec<&[u8]> = lines[0].split(|b| *b == b' ').collect();
    let [method, target, version] = parts.as_slice() else { return None };
    let field = |line: &&[u8]| {
        let colon = line.iter().position(|b| *b == b':')?;
        let name = String::from_utf8(line[..colon].to_vec()).ok()?;
        Some((name, line[colon + 1..].trim_ascii().to_vec()))
    };
    Some(Seen {
        length,
        method: String::from_utf8(method.to_vec()).ok()?,
        target: target.to_vec(),
        minor: version.last()? - b'0',
        fields: lines[1..].iter().map(field).collect::<Option<_>>()?,
    })
}

/// Pieces that heads are made of, good ones more often than bad ones.
fn piece() -> impl Strategy<Value = String> {
    let fields = [
        "Host: x",
        "Host: y:1",
        "Content-Length: 3",
        "Content-Length: 3, 3",
        "content-length: 03",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "transfer-encoding: \tchunked \t",
        "Transfer-Encoding : chunked",
        "X-A: \u{e9}",
        "X-A:",
        "x_a: 1",
        " folded",
        "Expect: 100-continue",
        "Connection: close",
        "X-A: a\tb",
        "X-A: a\rb",
        "X-A: a\0",
        ": x",
        "x",
    ];
    let ends = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n"), 1 => Just(" \r\n")];
    (prop::sample::select(fields.to_vec()), ends).prop_map(|(field, end)| format!("{field}{end}"))
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let lines = [
        "GET / HTTP/1.1\r\n",
        "POST /a?b=c HTTP/1.1\r\n",
        "POST /\u{e9} HTTP/1.1\r\n",
        "POST /a b HTTP/1.1\r\n",
        "POST  / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.1\n",
        "\r\nGET / HTTP/1.1\r\n",
        "GET /#a HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
    ];
    let host = prop_oneof![3 => Just("Host: x\r\n"), 1 => Just("")];
    let line = prop_oneof![3 => Just(lines[1]), 2 => prop::sample::select(lines.to_vec())];
    let whole = (line, host, prop::collection::vec(piece(), 0..5), "[ -~\r\n]{0,9}").prop_map(
        |(line, host, fields, rest)| {
            format!("{line}{host}{}\r\n{rest}", fields.concat()).into_bytes()
        },
    );
    // And one byte of it is another one now and then.
    (whole, any::<prop::sample::Index>(), prop::option::weighted(0.3, any::<u8>())).prop_map(
        |(mut head, at, byte)| {
            if let Some(byte) = byte {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_passes_is_read_by_all_in_one_way(bytes in head()) {
        let Ok(Some(end)) = Head::new(LIMITS).read(&bytes) else { return Ok(()) };
        let (one, other) = (by_httparse(&bytes), by_hand(&bytes));
        prop_assert_eq!(&one, &other, "{}", bytes.escape_ascii());
        let seen = one.unwrap();
        prop_assert_eq!(seen.length, end);
        let values = |name: &str| {
            let named = seen.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.as_slice()).collect::<Vec<_>>()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        prop_assert!(lengths.len() + codings.len() <= 1);
        prop_assert!(lengths.iter().all(|value| value.iter().all(u8::is_ascii_digit) && !value.is_empty()));
        prop_assert!(codings.iter().all(|value| value.eq_ignore_ascii_case(b"chunked") && seen.minor == 1));
        prop_assert!(values("host").len() == 1 || (seen.minor == 0 && values("host").is_empty()));
        prop_assert!(seen.fields.iter().all(|(name, _)| !name.contains('_')));
    }

    #[test]
    fn it_does_not_matter_in_which_pieces_a_head_comes(bytes in head(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let whole = Head::new(LIMITS).read(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut head = Head::new(LIMITS);
        let mut drip = Ok(None);
        for cut in cuts {
            drip = head.read(&bytes[..cut]);
            if drip != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(drip, whole);
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let verdict = Head::new(LIMITS).read(&bytes);
        prop_assert!(verdict != Ok(Some(0)));
    }
}
