//! The framing of a body in chunks (RFC 9112, section 7.1), read as strictly as the head before it.
//!
//! Pingora looks for the end of a size line alone: behind the size it takes a space, and in an extension a bare line
//! feed, where another reader sees the line end and reads other data.

/// The longest extension of a chunk, and the longest trailer.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Digits of a size: with more it would not fit.
const DIGITS_MAX: usize = 15;

/// The chunks of one body, as the bytes pass by.
///
/// # Examples
///
/// ```
/// use firstlight::gate::Chunks;
///
/// assert!(Chunks::default().pass(b"5;a=b\r\nhello\r\n0\r\nX-Late: 1\r\n\r\nwhat follows"));
/// assert!(!Chunks::default().pass(b"5;a\nhello\r\n"));
/// ```
#[derive(Debug, Default)]
pub struct Chunks {
    place: Place,
    /// Bytes of the present line, or digits of the present size.
    line: usize,
    /// What is left of the present chunk.
    left: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerBegin,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    /// Whatever follows is not of this body.
    Over,
}

impl Chunks {
    /// Bytes that the client sent. False: two readers may read them in two ways.
    #[must_use]
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        loop {
            if self.place == Place::Data {
                rest = self.data(rest);
            }
            let Some((&byte, behind)) = rest.split_first() else { return true };
            if self.place == Place::Over {
                return true;
            }
            let Some(next) = self.step(byte) else { return false };
            if next != self.place {
                (self.place, self.line) = (next, 0);
            }
            rest = behind;
        }
    }

    /// What follows the data of the present chunk, as far as that came.
    fn data<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= u64::try_from(here).unwrap_or(self.left);
        if self.left == 0 {
            self.place = Place::DataReturn;
        }
        bytes.get(here..).unwrap_or_default()
    }

    /// Where one byte of the framing leads; `None`: nowhere.
    fn step(&mut self, byte: u8) -> Option<Place> {
        self.line += 1;
        if self.line > LINE_BYTES_MAX {
            return None;
        }
        match (self.place, byte) {
            (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.line <= DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16)?;
                self.left = self.left * 16 + u64::from(digit);
                Some(Place::Size)
            }
            (Place::Size, b';') if self.line > 1 => Some(Place::Extension),
            (Place::Size, b'\r') if self.line > 1 => Some(Place::SizeLineFeed),
            (Place::Extension, b'\r') => Some(Place::SizeLineFeed),
            (Place::SizeLineFeed, b'\n') if self.left == 0 => Some(Place::TrailerBegin),
            (Place::SizeLineFeed, b'\n') => Some(Place::Data),
            (Place::DataReturn, b'\r') => Some(Place::DataLineFeed),
            (Place::DataLineFeed, b'\n') => Some(Place::Size),
            (Place::TrailerBegin, b'\r') => Some(Place::LastLineFeed),
            (Place::Trailer, b'\r') => Some(Place::TrailerLineFeed),
            (Place::TrailerLineFeed, b'\n') => Some(Place::TrailerBegin),
            (Place::LastLineFeed, b'\n') => Some(Place::Over),
            (Place::Extension | Place::Trailer, b'\t' | 0x20..=0x7e | 0x80..) => Some(self.place),
            (Place::TrailerBegin, 0x21..=0x7e) => Some(Place::Trailer),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In how many ways of cutting it a body passes; there are as many as it has bytes.
    fn passes(body: &str) -> usize {
        let passes = |cut: &usize| {
            let mut chunks = Chunks::default();
            body.as_bytes().chunks(*cut).all(|piece| chunks.pass(piece))
        };
        (1..=body.len()).filter(passes).count()
    }

    #[test]
    fn chunks_pass_with_extensions_and_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00005\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "5;name=\"a value\"; b\r\nh\r\n\nx\r\n0;x\r\n\r\n",
            "1\r\nx\r\n0\r\nX-Late: 1\r\nX-Later: \t2\r\n\r\n",
            "0\r\n\r\nGET / HTTP/1.1\n\0",
            "5\r\nhel",
        ] {
            assert_eq!(passes(body), body.len(), "{body:?}");
        }
    }

    #[test]
    fn what_two_readers_may_read_in_two_ways_does_not() {
        for body in [
            "\r\n",
            ";a\r\n\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\n0\n\n",
            "5;a\nhello\r\n",
            "5;a\r\rhello\r\n",
            "5;\0\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "-5\r\nhello\r\n",
            "g\r\n",
            "1000000000000000\r\n",
            "5\r\nhelloo\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\nX-Late: 1\n\r\n",
            "0\r\n X-Late: 1\r\n\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(passes(body), 0, "{body:?}");
        }
        assert_eq!(passes(&format!("5;{}\r\nhello\r\n", "x".repeat(LINE_BYTES_MAX))), 0);
    }
}
