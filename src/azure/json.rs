//! A strict reader of JSON that builds nothing.
//!
//! It walks a document once, checks every byte against RFC 8259 and hands out the tokens that a caller asks
//! for as slices of the input: no tree, no allocation. Strictness is the point. A reader that forgives a
//! stray comma or a raw newline may see another `model` than the backend behind it, and then the wrong
//! deployment is billed; so it accepts exactly what `serde_json` accepts when it skips a value, and a
//! property test holds that.
//!
//! It does not check UTF-8 (the caller does, where it matters), the range of numbers, or whether `\u`
//! escapes pair up in strings that nobody asked to read.

use std::borrow::Cow;
use std::ops::Range;

/// Nesting that is still read: the limit of `serde_json`, so that both refuse the same documents.
const DEPTH_MAX: u32 = 127;

/// Where a document stops being JSON, and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) offset: usize,
    pub(super) what: &'static str,
}

/// One string of the document as it is written there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    /// The string with its quotes.
    quoted: &'a [u8],
    /// Where `quoted` begins.
    start: usize,
    /// The key that it is the value of, as it is written, if it was shown as a member.
    key: &'a [u8],
}

impl<'a> Token<'a> {
    /// The bytes between the quotes, escapes and all.
    pub(super) fn raw(&self) -> &'a [u8] {
        let inner = self.quoted.split_first().and_then(|(_, rest)| rest.split_last());
        inner.map_or(&[], |(_, inner)| inner)
    }

    /// The key that it is the value of, as it is written; empty where nobody said so.
    pub(super) fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The place of the string in the document, quotes included.
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.quoted.len()
    }

    /// The text that the string stands for. An escape that stands for no character is a fault.
    pub(super) fn text(&self) -> Result<Cow<'a, str>, Fault> {
        let fault =
            Fault { offset: self.start, what: "this string holds a character that does not exist" };
        if memchr::memchr(b'\\', self.raw()).is_none() {
            return std::str::from_utf8(self.raw()).map(Cow::Borrowed).map_err(|_| fault);
        }
        serde_json::from_slice::<String>(self.quoted).map(Cow::Owned).map_err(|_| fault)
    }
}

/// A place in a document, between two tokens.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// The next byte that is not white space, without passing it.
    pub(super) fn next_byte(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Where it is in the document, in bytes.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Reads an object; `member` is called after each colon and must pass exactly the value behind it.
    pub(super) fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(&mut Self, Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sequence(&Brackets::OBJECT, |cursor| {
            let key = cursor.string()?;
            cursor.expect(b':', "a colon is expected here")?;
            member(cursor, key)
        })
    }

    /// Reads an array; `element` is called before each value and must pass exactly that value.
    pub(super) fn array<E: From<Fault>>(
        &mut self,
        element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sequence(&Brackets::ARRAY, element)
    }

    /// Passes one value of any kind.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        self.skip_value_seeing(&mut |_| ())
    }

    /// Passes one value of any kind and shows every string in it that is not a key.
    pub(super) fn skip_value_seeing<F: FnMut(Token<'a>)>(
        &mut self,
        see: &mut F,
    ) -> Result<(), Fault> {
        match self.next_byte() {
            Some(b'{') => self.object(|cursor, key| cursor.skip_member_seeing(key, see)),
            Some(b'[') => self.array(|cursor| cursor.skip_value_seeing(see)),
            Some(b'"') => self.string().map(see),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.fault("a value is expected here")),
            None => Err(self.fault("the body ends where a value is expected")),
        }
    }

    /// As [`Cursor::skip_value_seeing`], for the value of a member: a string is shown with its key.
    fn skip_member_seeing<F: FnMut(Token<'a>)>(
        &mut self,
        key: Token<'a>,
        see: &mut F,
    ) -> Result<(), Fault> {
        if self.next_byte() != Some(b'"') {
            return self.skip_value_seeing(see);
        }
        see(Token { key: key.raw(), ..self.string()? });
        Ok(())
    }

    /// Passes one value and returns it as it is written.
    pub(super) fn raw_value(&mut self) -> Result<&'a [u8], Fault> {
        self.raw_value_seeing(&mut |_| ())
    }

    /// As [`Cursor::skip_value_seeing`], and returns the value as it is written.
    pub(super) fn raw_value_seeing<F: FnMut(Token<'a>)>(
        &mut self,
        see: &mut F,
    ) -> Result<&'a [u8], Fault> {
        self.next_byte();
        let start = self.at;
        self.skip_value_seeing(see)?;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Reads a string.
    pub(super) fn string(&mut self) -> Result<Token<'a>, Fault> {
        self.expect(b'"', "a string is expected here")?;
        let start = self.at - 1;
        loop {
            self.at += plain_run(self.rest());
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("control characters in a string must be escaped")),
                None => return Err(self.fault("the body ends inside a string")),
            }
        }
        self.at += 1;
        let quoted = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(Token { quoted, start, key: &[] })
    }

    /// Passes `null`, `true` or `false`.
    pub(super) fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        if !self.rest().starts_with(word) {
            return Err(self.fault("a value is expected here"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Makes sure that only white space is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.fault("nothing may follow the JSON object")),
        }
    }

    /// A fault at this place.
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault { offset: self.at, what }
    }

    fn sequence<E: From<Fault>>(
        &mut self,
        brackets: &Brackets,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(brackets.open, brackets.expected)?;
        if self.depth == DEPTH_MAX {
            return Err(self.fault("the body is nested too deeply").into());
        }
        self.depth += 1;
        if self.next_byte() != Some(brackets.close) {
            item(self)?;
            while self.next_byte() == Some(b',') {
                self.at += 1;
                item(self)?;
            }
        }
        self.depth -= 1;
        Ok(self.expect(brackets.close, brackets.unfinished)?)
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.next_byte() != Some(byte) {
            return Err(self.fault(what));
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let escape = self.rest();
        self.at += match escape {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', a, b, c, d, ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                6
            }
            _ => return Err(self.fault("this escape does not exist in JSON")),
        };
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.skip_if(|byte| byte == b'-');
        if !self.skip_if(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.skip_if(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.skip_if(|byte| matches!(byte, b'e' | b'E')) {
            self.skip_if(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.fault("a digit is expected here"));
        }
        self.at += count;
        Ok(())
    }

    fn skip_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.byte().is_some_and(wanted);
        self.at += usize::from(found);
        found
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

/// What surrounds the items of an object or an array.
struct Brackets {
    open: u8,
    close: u8,
    expected: &'static str,
    unfinished: &'static str,
}

impl Brackets {
    const OBJECT: Self = Self {
        open: b'{',
        close: b'}',
        expected: "an object is expected here",
        unfinished: "a comma or } is expected here",
    };
    const ARRAY: Self = Self {
        open: b'[',
        close: b']',
        expected: "an array is expected here",
        unfinished: "a comma or ] is expected here",
    };
}

/// How many bytes of a string stand for themselves before the next quote, backslash or control character.
fn plain_run(bytes: &[u8]) -> usize {
    run_before(bytes, |word| equal(word, b'"') | equal(word, b'\\') | control(word))
}

/// How many bytes come before the first one that `marks` finds.
///
/// `marks` looks at eight bytes at once, as one little-endian word, and sets the top bit of each byte that is
/// special; it may set higher ones too, as [`equal`] and [`control`] do.
pub(super) fn run_before(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let first = |word: &[u8; 8]| {
        let marks = marks(u64::from_le_bytes(*word)) & (ONES << 7);
        (marks != 0).then(|| usize::try_from(marks.trailing_zeros() / 8).unwrap_or_default())
    };
    let (words, rest) = bytes.as_chunks();
    let mut run = 0;
    for word in words {
        if let Some(place) = first(word) {
            return run + place;
        }
        run += word.len();
    }
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    // A mark behind the rest is one of the zeros that fill the word.
    run + first(&last).unwrap_or(rest.len()).min(rest.len())
}

/// The lowest bit of every byte of a word.
const ONES: u64 = u64::from_le_bytes([1; 8]);

/// Marks the bytes that are `byte`. Exact for the lowest of them; what it borrows may mark higher bytes.
pub(super) fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference
}

/// Marks the bytes below the space, with the same reservation as [`equal`].
fn control(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: Result<(), usize>) {
        let mut cursor = Cursor::new(document.as_bytes());
        let read = cursor.skip_value().and_then(|()| cursor.end());
        assert_eq!(read.map_err(|fault| fault.offset), expected, "{document}");
    }

    #[test]
    fn whole_documents_are_read() {
        for document in
            ["{}", " [ ] ", r#"{"a":[1,-0.5e+3,true,false,null,"\u00e9\n"]}"#, "0", r#""""#]
        {
            check(document, Ok(()));
        }
    }

    #[test]
    fn the_place_of_a_mistake_is_told() {
        check("{\"a\":1,}", Err(7));
        check("{\"a\" 1}", Err(5));
        check("{'a':1}", Err(1));
        check("[1 2]", Err(3));
        check("[01]", Err(2));
        check("[1.]", Err(3));
        check("[-]", Err(2));
        check("[+1]", Err(1));
        check("[NaN]", Err(1));
        check("\"a\nb\"", Err(2));
        check(r#""a\x""#, Err(2));
        check(r#""\u12g4""#, Err(1));
        check("{} {}", Err(3));
        check("", Err(0));
        check("\"open", Err(5));
    }

    #[test]
    fn nesting_ends_where_serde_json_ends_it() {
        for depth in [1, 126, 127, 128, 129, 5000] {
            let document = "[".repeat(depth) + &"]".repeat(depth);
            let ours = Cursor::new(document.as_bytes()).skip_value().is_ok();
            assert_eq!(
                ours,
                serde_json::from_str::<serde_json::Value>(&document).is_ok(),
                "{depth}"
            );
        }
    }

    #[test]
    fn a_run_ends_at_the_first_special_byte() {
        for length in 0..40 {
            for special in (0..=u8::MAX).filter(|byte| *byte < 0x20 || b"\"\\".contains(byte)) {
                let bytes = [&vec![0xff; length][..], &[special, b'"', 0]].concat();
                assert_eq!(plain_run(&bytes), length, "{special}");
            }
            let plain: Vec<u8> = (0x20..=u8::MAX)
                .filter(|byte| !b"\"\\".contains(byte))
                .cycle()
                .take(length * 9)
                .collect();
            assert_eq!(plain_run(&plain), plain.len());
        }
    }

    #[test]
    fn a_string_is_found_at_every_length() {
        for length in 0..70 {
            let document = format!("\"{}\" ", "x".repeat(length));
            let token = Cursor::new(document.as_bytes()).string().unwrap();
            assert_eq!((token.raw().len(), token.span()), (length, 0..length + 2));
        }
    }
}
