//! One direction of a conversation: reads from one end, writes to the other, minds where frames end.

use crate::azure::realtime::frames::{Frames, Piece};
use crate::proxy::realtime::ends::End;
use bytes::Bytes;
use pingora_core::{Error, Result};
use std::task::{Context, Poll, ready};

/// One direction.
#[derive(Default)]
pub(super) struct Lane {
    frames: Frames,
    /// Bytes that were taken to be passed on.
    pub(super) passed: usize,
    /// What is written at the next end of a frame; then nothing follows.
    farewell: Option<Bytes>,
    /// What was read behind that end, and is not passed on.
    unsent: Bytes,
    told: bool,
}

/// How a direction ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// Whoever is read from has closed its connection. All it sent was passed on.
    Ended,
    /// After a close frame of ours it said that it closes, too.
    Answered,
    /// One of the ends broke.
    Broke(Box<Error>),
}

impl Lane {
    /// Ends this direction at the next end of a frame with this close frame, unless one has passed.
    pub(super) fn close(&mut self, frame: Bytes) {
        self.farewell = Some(frame);
    }

    /// Whether a close frame has passed, whoever it was from.
    pub(super) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Goes on until there is nothing to do. `see` is told what passes.
    pub(super) fn poll(
        &mut self,
        (from, to): (&mut impl End, &mut impl End),
        cx: &mut Context<'_>,
        mut see: impl FnMut(Piece<'_>),
    ) -> Poll<Stop> {
        match ready!(self.pump((from, to), cx, &mut see)) {
            Ok(stop) => Poll::Ready(stop),
            Err(error) => Poll::Ready(Stop::Broke(error)),
        }
    }

    /// Between two frames: a close frame of ours goes out, unless the other side closed already.
    fn say_farewell(&mut self, frame: Bytes, to: &mut impl End) {
        self.told = true;
        if !self.frames.is_closed() {
            to.send(frame);
        }
        // It may hold a close frame.
        let unsent = std::mem::take(&mut self.unsent);
        self.frames.see(&unsent, |_| ());
    }

    fn pump(
        &mut self,
        (from, to): (&mut impl End, &mut impl End),
        cx: &mut Context<'_>,
        see: &mut impl FnMut(Piece<'_>),
    ) -> Poll<Result<Stop>> {
        loop {
            // Nothing is read before what was read has left.
            ready!(to.poll_sent(cx))?;
            if self.frames.at_boundary()
                && let Some(frame) = self.farewell.take()
            {
                self.say_farewell(frame, to);
                continue;
            }
            if self.told && self.frames.is_closed() {
                return Poll::Ready(Ok(Stop::Answered));
            }
            let bytes = ready!(from.poll_read(cx))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(Stop::Ended));
            }
            if let Some(bytes) = self.take(bytes, see) {
                self.passed += bytes.len();
                to.send(bytes);
            }
        }
    }

    /// What of these bytes is passed on.
    fn take(&mut self, bytes: Bytes, see: &mut impl FnMut(Piece<'_>)) -> Option<Bytes> {
        if self.told {
            // Read only to hear that it closes.
            self.frames.see(&bytes, |_| ());
            return None;
        }
        if self.farewell.is_none() {
            self.frames.see(&bytes, see);
            return Some(bytes);
        }
        let mut bytes = bytes;
        let end = self.frames.see_to_boundary(&bytes, see);
        self.unsent = bytes.split_off(end);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::realtime::frames::close_frame;
    use std::collections::VecDeque;
    use std::task::Waker;

    /// An end that says what it is told to, and takes so many bytes.
    #[derive(Default)]
    struct Scripted {
        says: VecDeque<&'static [u8]>,
        closed: bool,
        heard: Vec<u8>,
        is_full: bool,
    }

    impl End for Scripted {
        fn poll_read(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Bytes>> {
            match self.says.pop_front() {
                Some(bytes) => Poll::Ready(Ok(Bytes::from_static(bytes))),
                None if self.closed => Poll::Ready(Ok(Bytes::new())),
                None => Poll::Pending,
            }
        }

        fn send(&mut self, bytes: Bytes) {
            assert!(!self.is_full, "sent while something was on its way");
            self.heard.extend_from_slice(&bytes);
        }

        fn poll_sent(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
            if self.is_full { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
    }

    fn poll(lane: &mut Lane, from: &mut Scripted, to: &mut Scripted) -> Poll<Stop> {
        lane.poll((from, to), &mut Context::from_waker(Waker::noop()), |_| ())
    }

    const HELLO: &[u8] = b"\x81\x05Hello";
    const CLOSE: &[u8] = b"\x88\x02\x03\xe8";

    fn farewell() -> Bytes {
        close_frame(1001, "bye", None)
    }

    #[test]
    fn bytes_pass_as_they_come_and_the_end_comes_last() {
        let (mut lane, mut to) = (Lane::default(), Scripted::default());
        let mut from =
            Scripted { says: [HELLO, b"\x81".as_slice(), b"\x00"].into(), ..Scripted::default() };
        assert!(poll(&mut lane, &mut from, &mut to).is_pending());
        assert_eq!(to.heard, b"\x81\x05Hello\x81\x00");
        assert_eq!(lane.passed, 9);
        from.closed = true;
        assert!(matches!(poll(&mut lane, &mut from, &mut to), Poll::Ready(Stop::Ended)));
    }

    #[test]
    fn nothing_is_read_that_cannot_be_written() {
        let (mut lane, mut to) =
            (Lane::default(), Scripted { is_full: true, ..Scripted::default() });
        let mut from = Scripted { says: [HELLO].into(), closed: true, ..Scripted::default() };
        assert!(poll(&mut lane, &mut from, &mut to).is_pending());
        assert_eq!(from.says.len(), 1);
        to.is_full = false;
        assert!(matches!(poll(&mut lane, &mut from, &mut to), Poll::Ready(Stop::Ended)));
        assert_eq!(to.heard, HELLO);
    }

    #[test]
    fn a_farewell_waits_for_the_end_of_the_frame() {
        let (mut lane, mut to) = (Lane::default(), Scripted::default());
        let mut from = Scripted { says: [&HELLO[..3]].into(), ..Scripted::default() };
        assert!(poll(&mut lane, &mut from, &mut to).is_pending());
        lane.close(farewell());
        assert!(poll(&mut lane, &mut from, &mut to).is_pending());
        assert_eq!(to.heard, HELLO[..3], "not in the middle of a frame");
        from.says.push_back(b"ello\x81\x05Again");
        assert!(poll(&mut lane, &mut from, &mut to).is_pending());
        assert_eq!(to.heard, [HELLO, &farewell()].concat());
        from.says.push_back(HELLO);
        from.says.push_back(CLOSE);
        assert!(matches!(poll(&mut lane, &mut from, &mut to), Poll::Ready(Stop::Answered)));
        assert_eq!(to.heard, [HELLO, &farewell()].concat(), "nothing follows");
    }

    #[test]
    fn a_close_frame_that_has_passed_is_the_only_one() {
        let (mut lane, mut to) = (Lane::default(), Scripted::default());
        let mut from = Scripted { says: [CLOSE].into(), ..Scripted::default() };
        assert!(poll(&mut lane, &mut from, &mut to).is_pending());
        lane.close(farewell());
        assert!(matches!(poll(&mut lane, &mut from, &mut to), Poll::Ready(Stop::Answered)));
        assert_eq!(to.heard, CLOSE);
    }
}
