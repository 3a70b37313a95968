//! Where the frames of a WebSocket begin and end (RFC 6455, section 5.2).
//!
//! One [`Frames`] follows one direction, however the network cuts it. It holds no payload: it only knows whether
//! what has passed ends with a whole frame, so that a close frame of ours never lands in the middle of one.
//! Whether frames make sense is for the two ends to say.

use bytes::{BufMut, Bytes, BytesMut};

/// The opcode of a close frame.
const CLOSE: u8 = 8;
/// The longest reason of a close frame: control frames hold 125 bytes, and the code takes two.
const REASON_BYTES_MAX: usize = 123;

/// The other end goes away: its session is not needed any more, or its process ends.
pub const GOING_AWAY: u16 = 1001;
/// The session breaks a rule of ours.
pub const POLICY: u16 = 1008;

/// One direction of a WebSocket.
///
/// # Examples
///
/// ```
/// use firstlight::azure::realtime::frames::Frames;
///
/// let mut frames = Frames::default();
/// frames.see(b"\x81\x05Hel", |_| ());
/// assert!(!frames.at_boundary());
/// frames.see(b"lo", |_| ());
/// assert!(frames.at_boundary());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Frames {
    place: Place,
    closed: bool,
}

/// A piece of a frame's payload. A frame has at least one, which may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "three bits of a frame, each for itself")]
pub struct Piece<'a> {
    /// What the frame is: 0 goes on with a message, 1 begins a text, 2 begins bytes, from 8 on it is control.
    pub opcode: u8,
    /// Whether the frame is the last of its message.
    pub last_frame: bool,
    /// Whether the payload is masked.
    pub masked: bool,
    /// The payload, as it passes.
    pub payload: &'a [u8],
    /// Whether the frame ends with this.
    pub ends: bool,
}

/// Where the last byte left us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Boundary,
    /// Behind the first byte.
    Length {
        first: u8,
    },
    /// In a length of two or eight bytes.
    LongLength {
        head: Head,
        missing: u8,
    },
    /// In the masking key.
    Mask {
        head: Head,
        missing: u8,
    },
    Payload {
        head: Head,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    first: u8,
    masked: bool,
    /// Bytes of payload that are still to come.
    length: u64,
}

impl Frames {
    /// Whether what has passed ends with a whole frame, or nothing has passed.
    pub fn at_boundary(&self) -> bool {
        self.place == Place::Boundary
    }

    /// Whether a whole close frame has passed: nothing may follow it.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes the next bytes; tells each piece of a payload.
    pub fn see<'a>(&mut self, bytes: &'a [u8], mut tell: impl FnMut(Piece<'a>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece;
            (piece, rest) = self.step(rest);
            piece.into_iter().for_each(&mut tell);
        }
    }

    /// Takes the next bytes up to the end of the frame that is under way; none at a boundary. Gives how many it took.
    pub fn see_to_boundary(&mut self, bytes: &[u8], mut told: impl FnMut(Piece<'_>)) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && !self.at_boundary() {
            let piece;
            (piece, rest) = self.step(rest);
            piece.into_iter().for_each(&mut told);
        }
        bytes.len().saturating_sub(rest.len())
    }

    /// Takes one byte of a head, or as much of a payload as there is.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> (Option<Piece<'a>>, &'a [u8]) {
        if let Place::Payload { head } = self.place {
            let most = usize::try_from(head.length).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at_checked(most).unwrap_or((bytes, &[]));
            let passed = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            let head = Head { length: head.length.saturating_sub(passed), ..head };
            return (Some(self.enter(head, payload)), rest);
        }
        let Some((byte, rest)) = bytes.split_first() else { return (None, bytes) };
        (self.head(*byte), rest)
    }

    /// Takes a byte of a head; a frame without a payload ends with it.
    fn head(&mut self, byte: u8) -> Option<Piece<'static>> {
        let (head, missing) = match self.place {
            Place::Boundary => {
                self.place = Place::Length { first: byte };
                return None;
            }
            Place::Length { first } => {
                let (masked, length) = (byte & 0x80 != 0, byte & 0x7f);
                let head = Head { first, masked, length: 0 };
                let missing = match length {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                if missing > 0 {
                    self.place = Place::LongLength { head, missing };
                    return None;
                }
                (Head { length: u64::from(length), ..head }, 4)
            }
            Place::LongLength { head, missing } => {
                let head = Head { length: head.length << 8 | u64::from(byte), ..head };
                if missing > 1 {
                    self.place = Place::LongLength { head, missing: missing - 1 };
                    return None;
                }
                (head, 4)
            }
            Place::Mask { head, missing } => (head, missing - 1),
            Place::Payload { head } => (head, 0),
        };
        if head.masked && missing > 0 {
            self.place = Place::Mask { head, missing };
            return None;
        }
        if head.length > 0 {
            self.place = Place::Payload { head };
            return None;
        }
        Some(self.enter(head, &[]))
    }

    /// A piece of a payload behind which `head.length` bytes are to come.
    fn enter<'a>(&mut self, head: Head, payload: &'a [u8]) -> Piece<'a> {
        let ends = head.length == 0;
        let opcode = head.first & 0x0f;
        self.place = if ends { Place::Boundary } else { Place::Payload { head } };
        self.closed |= ends && opcode == CLOSE;
        let (last_frame, masked) = (head.first & 0x80 != 0, head.masked);
        Piece { opcode, last_frame, masked, payload, ends }
    }
}

/// A close frame. What goes to a server is masked, with a key that nobody can foresee; what goes to a client is not.
pub fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Bytes {
    let reason = reason.as_bytes();
    let reason = reason.get(..REASON_BYTES_MAX).unwrap_or(reason);
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    payload.put_slice(reason);
    let mut frame = BytesMut::with_capacity(6 + payload.len());
    frame.put_u8(0x80 | CLOSE);
    let length = u8::try_from(payload.len()).unwrap_or_default();
    match mask {
        None => {
            frame.put_u8(length);
            frame.put_slice(&payload);
        }
        Some(mask) => {
            frame.put_u8(0x80 | length);
            frame.put_slice(&mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> (Vec<Piece<'_>>, Frames) {
        let (mut frames, mut pieces) = (Frames::default(), Vec::new());
        frames.see(bytes, |piece| pieces.push(piece));
        (pieces, frames)
    }

    /// One frame, whole: what is told of it.
    fn check(bytes: &[u8], expected: Piece<'_>) {
        let (told, frames) = pieces(bytes);
        assert_eq!(told, [expected]);
        assert!(frames.at_boundary());
        for end in 1..bytes.len() {
            assert!(!pieces(&bytes[..end]).1.at_boundary(), "{end} of {bytes:?}");
        }
    }

    const TEXT: Piece<'_> =
        Piece { opcode: 1, last_frame: true, masked: false, payload: b"Hello", ends: true };

    #[test]
    fn the_examples_of_the_rfc() {
        check(b"\x81\x05Hello", TEXT);
        let payload = b"\x7f\x9f\x4d\x51\x58";
        check(
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            Piece { masked: true, payload, ..TEXT },
        );
        check(b"\x01\x03Hel", Piece { last_frame: false, payload: b"Hel", ..TEXT });
        check(b"\x80\x02lo", Piece { opcode: 0, payload: b"lo", ..TEXT });
        check(b"\x89\x05Hello", Piece { opcode: 9, ..TEXT });
        let payload = &[7; 256];
        check(&[&[0x82, 0x7e, 1, 0], &payload[..]].concat(), Piece { opcode: 2, payload, ..TEXT });
        let payload = &vec![7; 65_536][..];
        let head = [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
        let frame = [&head[..], payload].concat();
        let (told, frames) = pieces(&frame);
        assert_eq!(told, [Piece { opcode: 2, payload, ..TEXT }]);
        assert!(frames.at_boundary());
    }

    #[test]
    fn frames_without_a_payload_end_with_their_head() {
        check(b"\x8a\x00", Piece { opcode: 10, payload: b"", ..TEXT });
        check(b"\x8a\x80mask", Piece { opcode: 10, masked: true, payload: b"", ..TEXT });
        check(b"\x81\x7e\x00\x00", Piece { payload: b"", ..TEXT });
    }

    #[test]
    fn a_close_frame_is_noticed_once_it_is_whole() {
        let frame = close_frame(GOING_AWAY, "bye", None);
        assert_eq!(&frame[..], b"\x88\x05\x03\xe9bye");
        let (_, mut frames) = pieces(&frame[..6]);
        assert!(!frames.is_closed());
        frames.see(&frame[6..], |_| ());
        assert!(frames.is_closed() && frames.at_boundary());
        assert!(!pieces(b"\x81\x05Hello").1.is_closed());
    }

    #[test]
    fn what_goes_to_a_server_is_masked() {
        let frame = close_frame(POLICY, "no", Some([1, 2, 3, 4]));
        assert_eq!(&frame[..], [0x88, 0x84, 1, 2, 3, 4, 3 ^ 1, 0xf0 ^ 2, b'n' ^ 3, b'o' ^ 4]);
        assert!(pieces(&frame).1.is_closed());
        let long = close_frame(POLICY, &"x".repeat(200), Some([9; 4]));
        assert!(pieces(&long).1.is_closed());
    }

    #[test]
    fn a_frame_under_way_is_taken_to_its_end_and_no_further() {
        let mut frames = Frames::default();
        assert_eq!(frames.see_to_boundary(b"\x81\x05Hello", |_| ()), 0, "none is under way");
        frames.see(b"\x81\x05He", |_| ());
        assert_eq!(frames.see_to_boundary(b"l", |_| ()), 1);
        assert_eq!(frames.see_to_boundary(b"lo\x81\x05Hello", |_| ()), 2);
        assert!(frames.at_boundary());
    }

    #[test]
    fn a_length_that_cannot_be_is_never_reached() {
        let (_, mut frames) = pieces(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        frames.see(&[0; 1_000], |_| ());
        assert!(!frames.at_boundary());
    }
}
