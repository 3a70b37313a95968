//! What a new API key looks like: `firstlight_`, 32 random bytes and a checksum.
//!
//! The prefix says whose key was found in a repository, and the checksum tells a scanner, without asking anyone,
//! whether it is a key or only looks like one. Both numbers are written with the digits `0-9A-Za-z`, which a double
//! click selects whole.

use crc32fast::hash;

/// What every key begins with.
pub const PREFIX: &str = "firstlight_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62 to the power of 43 is the first above 2 to the power of 256.
const RANDOM_DIGITS: usize = 43;

/// 62 to the power of 6 is above 2 to the power of 32.
const CHECKSUM_DIGITS: usize = 6;

/// Whether a text is a key of this form. Apps may have keys of any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Made by [`key_text`].
    Ours,
    /// With our prefix and a checksum that is wrong: mistyped, or cut off.
    Damaged,
    /// Made by somebody else.
    Foreign,
}

/// The text of a key out of 32 bytes, which have to be random.
pub fn key_text(random: [u8; 32]) -> String {
    let random = base62(random, RANDOM_DIGITS);
    let checksum = checksum(&random);
    format!("{PREFIX}{random}{checksum}")
}

/// Whether it is a key of ours.
pub fn key_form(key: &str) -> KeyForm {
    let Some(rest) = key.strip_prefix(PREFIX) else { return KeyForm::Foreign };
    match rest.split_at_checked(RANDOM_DIGITS) {
        Some((random, sum)) if checksum(random) == sum => KeyForm::Ours,
        _ => KeyForm::Damaged,
    }
}

/// The CRC-32 of the random digits.
fn checksum(random: &str) -> String {
    base62(hash(random.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS)
}

/// A big-endian number, with leading zeros.
fn base62<const N: usize>(mut number: [u8; N], digits: usize) -> String {
    let mut written: Vec<u8> = Vec::with_capacity(digits);
    for _ in 0..digits {
        let mut rest = 0_u16;
        for byte in &mut number {
            let part = rest * 256 + u16::from(*byte);
            *byte = u8::try_from(part / 62).unwrap_or_default();
            rest = part % 62;
        }
        written.extend(DIGITS.get(usize::from(rest)).copied());
    }
    written.into_iter().rev().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_number_and_a_checksum() {
        assert_eq!(base62([0; 32], 43), "0".repeat(43));
        assert_eq!(base62([255; 4], 6), "4gfFC3");
        assert_eq!(base62(62_u32.to_be_bytes(), 3), "010");
        assert_eq!(hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(base62([255; 32], 43), "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
        let key = key_text([7; 32]);
        assert_eq!(key.len(), 11 + 43 + 6);
        assert!(key.starts_with("firstlight_") && key.is_ascii());
    }

    #[test]
    fn a_damaged_key_is_told() {
        let key = key_text(std::array::from_fn(|n| u8::try_from(n * 7).unwrap()));
        assert_eq!(key_form(&key), KeyForm::Ours);
        assert_eq!(key_form("sk-something"), KeyForm::Foreign);
        for place in PREFIX.len()..key.len() {
            let mut damaged = key.clone().into_bytes();
            damaged[place] = if damaged[place] == b'x' { b'y' } else { b'x' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert_eq!(key_form(&damaged), KeyForm::Damaged, "{damaged}");
        }
        let shorter: String = key.chars().take(key.len() - 1).collect();
        let longer = format!("{key}x");
        for cut in [&*shorter, &longer, "firstlight_", "firstlight_x", "firstlight_\u{e9}"] {
            assert_eq!(key_form(cut), KeyForm::Damaged, "{cut}");
        }
    }
}
