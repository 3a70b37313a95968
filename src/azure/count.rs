//! Counts, in every way in which JSON can write them.

/// The count that a JSON number which is not negative stands for: `1e5` and `1000.0` are counts too, `1.5` is none.
pub(super) fn count(written: &str) -> Option<u64> {
    let (number, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent.parse().ok()?)?;
    // With twenty zeros behind the last digit it is too large, or 0.
    let most = written.len() + 20;
    let point = usize::try_from(point.max(0)).map_or(most, |point| point.min(most));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().skip(point).any(|digit| digit != b'0') {
        return None;
    }
    let add = |count: u64, digit: u8| count.checked_mul(10)?.checked_add((digit & 0xf).into());
    digits().chain(std::iter::repeat(b'0')).take(point).try_fold(0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_may_have_an_exponent() {
        let check = |written: &str, expected: Option<u64>| {
            assert_eq!(count(written), expected, "{written}");
        };
        check("800", Some(800));
        check("1e5", Some(100_000));
        check("1.0e3", Some(1_000));
        check("1.5E+3", Some(1_500));
        check("12.75e1", None);
        check("1000.0", Some(1_000));
        check("1.9", None);
        check("120e-1", Some(12));
        check("125e-1", None);
        check("1e-400", None);
        check("0e9223372036854775800", Some(0));
        check("1e9223372036854775800", None);
        check("1e20", None);
        check("1e99999999999999999999", None);
    }
}
