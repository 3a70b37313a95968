//! Properties of the frame tracker: it tells the same however the network cuts, never panics, and stops exactly where
//! a frame ends.

use firstlight::azure::realtime::cost::Cost;
use firstlight::azure::realtime::frames::Frames;
use proptest::collection::vec;
use proptest::prelude::*;

/// A frame, as the RFC draws it.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![0..200_usize, 65_530..65_545_usize];
    (0..5_u8, any::<bool>(), any::<bool>(), size).prop_map(|(kind, last, masked, size)| {
        let (opcode, key) = ([0, 1, 2, 9, 8][usize::from(kind)], if masked { 0x80 } else { 0 });
        let mut bytes = vec![if last { 0x80 | opcode } else { opcode }];
        match u16::try_from(size) {
            Ok(short @ ..126) => bytes.push(key | u8::try_from(short).unwrap()),
            Ok(size) => {
                bytes.push(key | 0x7e);
                bytes.extend(size.to_be_bytes());
            }
            Err(_) => {
                bytes.push(key | 0x7f);
                bytes.extend(u64::try_from(size).unwrap().to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.resize(bytes.len() + size, b'x');
        bytes
    })
}

/// What one message was in pieces: its opcode, and how many bytes it had.
fn told(frames: &mut Frames, bytes: &[u8], whole: &mut Vec<(u8, usize, bool)>) {
    frames.see(bytes, |piece| match whole.last_mut() {
        Some((_, size, false)) => {
            *size += piece.payload.len();
            whole.last_mut().unwrap().2 = piece.ends;
        }
        _ => whole.push((piece.opcode, piece.payload.len(), piece.ends)),
    });
}

proptest! {
    #[test]
    fn frames_are_the_same_however_they_are_cut(all in vec(frame(), 1..6), chunk in 1..5_000_usize) {
        let bytes = all.concat();
        let (mut whole, mut frames) = (Vec::new(), Frames::default());
        told(&mut frames, &bytes, &mut whole);
        prop_assert_eq!(whole.len(), all.len());
        prop_assert!(frames.at_boundary());
        let (mut cut, mut frames) = (Vec::new(), Frames::default());
        for chunk in bytes.chunks(chunk) {
            told(&mut frames, chunk, &mut cut);
        }
        prop_assert_eq!(cut, whole);
        prop_assert!(frames.at_boundary());
    }

    #[test]
    fn an_end_is_found_exactly(all in vec(frame(), 1..6), at in any::<prop::sample::Index>()) {
        let bytes = all.concat();
        let at = at.index(bytes.len());
        let mut frames = Frames::default();
        frames.see(&bytes[..at], |_| ());
        let taken = frames.see_to_boundary(&bytes[at..], |_| ());
        prop_assert!(frames.at_boundary());
        let mut ends = all.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) });
        let expected = ends.find(|end| *end >= at).unwrap();
        let expected = if at == 0 { 0 } else { expected };
        prop_assert_eq!(at + taken, expected);
    }

    #[test]
    fn noise_does_no_harm(chunks in vec(vec(any::<u8>(), 0..300), 0..20)) {
        let (mut frames, mut cost) = (Frames::default(), Cost::default());
        for chunk in &chunks {
            let mut pieces = 0;
            frames.see(chunk, |piece| {
                pieces += piece.payload.len();
                cost.see(&piece);
            });
            prop_assert!(pieces <= chunk.len());
            let mut other = frames.clone();
            prop_assert!(other.see_to_boundary(chunk, |_| ()) <= chunk.len());
        }
    }
}
