//! `traceparent` (W3C Trace Context, level 1): read strictly, so that what goes into logs and to backends is a trace.

/// The trace id of a `traceparent`, 32 lower-case hexadecimal digits; `None` if the header is not a valid one.
///
/// A version that is not known may have more behind the flags.
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut parts = text.splitn(5, '-');
    let mut part = |digits: usize| parts.next().filter(|part| is_hex(part, digits));
    let (version, trace, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let more = parts.next().is_some();
    let zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    let bad = version == "ff" || (version == "00" && more) || zero(trace) || zero(parent);
    (!bad).then_some(trace)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn only_valid_ones_are_read() {
        let valid = format!("00-{ID}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(valid.as_bytes()), Some(ID));
        let later = format!("cc-{ID}-00f067aa0ba902b7-01-what-follows");
        assert_eq!(trace_id(later.as_bytes()), Some(ID));
        for wrong in [
            "",
            "00",
            &format!("ff-{ID}-00f067aa0ba902b7-01"),
            &format!("{valid}-more"),
            &format!("{valid} "),
            &format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("00-{ID}-00f067aa0ba902b7-1"),
            &format!("0-{ID}-00f067aa0ba902b7-01"),
            "00-\u{e9}",
        ] {
            assert_eq!(trace_id(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
