//! How an h2 connection opens, and whether a request's head is under way on it.
//!
//! The h2 crate waits for the rest of a header block for as long as its connection lives. So the lengths and
//! flags of the frames are read on the way, and nothing else of them.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What a connection opens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The preface of h2.
    Http2,
    /// Something else.
    Other,
    /// It is too early to tell.
    Undecided,
}

/// What the first bytes of a connection open.
pub fn opening(bytes: &[u8]) -> Opening {
    if bytes.starts_with(PREFACE) {
        Opening::Http2
    } else if PREFACE.starts_with(bytes) {
        Opening::Undecided
    } else {
        Opening::Other
    }
}

/// The frames of one h2 connection, as the bytes pass by.
#[derive(Debug, Default)]
pub struct Frames {
    /// How much of the preface passed.
    preface: usize,
    /// The head of the present frame, as far as it passed.
    head: Vec<u8>,
    /// What is left of its payload.
    payload: usize,
    /// Whether a header block has begun and not ended.
    in_block: bool,
}

impl Frames {
    /// Bytes that the client sent.
    pub fn pass(&mut self, bytes: &[u8]) {
        let (_, mut rest) = split(bytes, PREFACE.len() - self.preface);
        self.preface += bytes.len() - rest.len();
        while !rest.is_empty() {
            let part;
            (part, rest) = split(rest, FRAME_HEAD - self.head.len());
            self.head.extend_from_slice(part);
            let &[a, b, c, kind, _, ..] = self.head.as_slice() else { return };
            if self.head.len() < FRAME_HEAD {
                return;
            }
            if !part.is_empty() {
                let length = u32::from_be_bytes([0, a, b, c]);
                self.payload = usize::try_from(length).unwrap_or(usize::MAX);
                self.in_block |= matches!(kind, HEADERS | CONTINUATION);
            }
            let part;
            (part, rest) = split(rest, self.payload);
            self.payload -= part.len();
            if self.payload == 0 {
                self.end_frame();
            }
        }
    }

    fn end_frame(&mut self) {
        if let &[_, _, _, HEADERS | CONTINUATION, flags, ..] = self.head.as_slice()
            && flags & END_HEADERS != 0
        {
            self.in_block = false;
        }
        self.head.clear();
    }

    /// Whether something waits for its rest that is no body: a head, or another frame that was begun.
    pub fn is_open(&self) -> bool {
        let in_frame = !self.head.is_empty();
        let of_body = self.head.len() == FRAME_HEAD && self.head.get(3) == Some(&DATA);
        self.preface < PREFACE.len() || self.in_block || (in_frame && !of_body)
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.extend(std::iter::repeat_n(7, usize::from(length)));
        bytes
    }

    /// Whether it is open after each byte.
    fn course(bytes: &[u8]) -> Vec<bool> {
        let mut frames = Frames::default();
        frames.pass(PREFACE);
        let mut at_once = Frames::default();
        at_once.pass(&[PREFACE, bytes].concat());
        let course: Vec<bool> = bytes
            .iter()
            .map(|byte| {
                frames.pass(&[*byte]);
                frames.is_open()
            })
            .collect();
        assert_eq!(at_once.is_open(), frames.is_open());
        course
    }

    #[test]
    fn openings() {
        assert_eq!(opening(b""), Opening::Undecided);
        assert_eq!(opening(b"PRI * HTTP/2.0\r\n\r\n"), Opening::Undecided);
        assert_eq!(opening(PREFACE), Opening::Http2);
        assert_eq!(opening(b"POST"), Opening::Other);
    }

    #[test]
    fn a_head_is_open_to_its_last_byte() {
        let whole = course(&frame(HEADERS, END_HEADERS, 3));
        assert_eq!((whole.len(), whole.iter().filter(|open| **open).count()), (12, 11));
        assert_eq!(whole.last(), Some(&false));
        let two = [frame(HEADERS, 0, 3), frame(CONTINUATION, END_HEADERS, 0)].concat();
        let course_of_two = course(&two);
        assert!(course_of_two.iter().rev().skip(1).all(|open| *open));
        assert_eq!(course_of_two.last(), Some(&false));
        assert_eq!(course(&frame(HEADERS, 0, 0)).last(), Some(&true));
    }

    #[test]
    fn a_body_is_none_of_its_business() {
        let data = course(&frame(DATA, 0, 5));
        assert_eq!(data, [vec![true; 8], vec![false; 6]].concat());
        let settings = course(&frame(4, 0, 6));
        assert!(settings.iter().rev().skip(1).all(|open| *open));
        assert!(Frames::default().is_open());
    }
}
