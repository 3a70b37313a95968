//! How long a 429 asks to be left alone.
//!
//! Azure says it in `retry-after-ms`, in `Retry-After` as seconds or as a date, or in both, and the two can
//! differ: a token quota's 429 has been seen with `retry-after-ms: 0` beside `Retry-After: 60`. The larger
//! one is meant. What does not parse is ignored, what is too large is cut to a day; flooring, capping and
//! growing the wait on repeats is the routing core's business, which knows the history.

use http::HeaderMap;
use std::time::Duration;
use std::time::UNIX_EPOCH;

/// The longest wait that is believed; the longest that has been seen in the field.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// The larger of the waits that an answer names, if it names one.
///
/// `now_unix_seconds` turns a date into a wait; a date in the past is no wait at all.
pub fn retry_after(headers: &HeaderMap, now_unix_seconds: u64) -> Option<Duration> {
    let milliseconds = values(headers, "retry-after-ms").filter_map(|text| amount(text, 0.001));
    let seconds = values(headers, "retry-after")
        .filter_map(|text| amount(text, 1.0).or_else(|| until(text, now_unix_seconds)));
    milliseconds.chain(seconds).max()
}

fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::trim)
}

/// A decimal number of units; signs, exponents and words are not amounts.
fn amount(text: &str, unit_seconds: f64) -> Option<Duration> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = text.parse::<f64>().ok()? * unit_seconds;
    Some(Duration::try_from_secs_f64(seconds).map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX)))
}

fn until(date: &str, now_unix_seconds: u64) -> Option<Duration> {
    let since_epoch = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(Duration::from_secs(now_unix_seconds)).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: u64 = 784_111_777;

    fn check(headers: &[(&'static str, &str)], expected_ms: Option<u64>) {
        let pairs =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = pairs.collect();
        assert_eq!(
            retry_after(&headers, NOW),
            expected_ms.map(Duration::from_millis),
            "{headers:?}"
        );
    }

    #[test]
    fn each_form_is_read() {
        check(&[("retry-after-ms", "1500")], Some(1_500));
        check(&[("retry-after", "7")], Some(7_000));
        check(&[("retry-after", " 0.5 ")], Some(500));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60_000));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0));
    }

    #[test]
    fn the_larger_one_is_meant() {
        check(&[("retry-after-ms", "0"), ("retry-after", "60")], Some(60_000));
        check(&[("retry-after-ms", "2500"), ("retry-after", "2")], Some(2_500));
        check(&[("retry-after", "1"), ("retry-after", "3")], Some(3_000));
    }

    #[test]
    fn nonsense_is_ignored() {
        for value in ["", "-1", "+1", "soon", "NaN", "inf", "1e3", ".", "1.2.3", "0x10", "1 s"] {
            check(&[("retry-after", value), ("retry-after-ms", value)], None);
            check(&[("retry-after", value), ("retry-after-ms", "10")], Some(10));
        }
        check(&[], None);
    }

    #[test]
    fn the_huge_is_cut_to_a_day() {
        for value in
            ["86401", "18446744073709551616", &"9".repeat(400), "Fri, 31 Dec 9999 23:59:59 GMT"]
        {
            check(&[("retry-after", value)], Some(86_400_000));
        }
    }
}
