//! A list on its way to the client: held to its end, and then passed on without what is another app's.

use crate::azure::listing::LIST_BYTES_MAX;
use crate::live::Live;
use crate::proxy::body::kibibytes;
use crate::quota::Held;
use std::sync::Arc;

/// As much of it as has come.
pub(super) struct List {
    bytes: Vec<u8>,
    /// Its share of the memory for bodies, until the client has it; `None`: it is too large, or there was no room.
    held: Option<Held>,
}

impl List {
    pub(super) fn begin(live: &Live, app: &Arc<str>) -> Self {
        Self { bytes: Vec::new(), held: live.memory().take(app, 0).ok() }
    }

    /// Takes the next chunk, if there is room.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        let Some(held) = &mut self.held else { return };
        let length = self.bytes.len() + chunk.len();
        if length <= LIST_BYTES_MAX && held.grow(kibibytes(length)).is_ok() {
            self.bytes.extend_from_slice(chunk);
        } else {
            *self = Self { bytes: Vec::new(), held: None };
        }
    }

    /// All of it; `None`: there was no room.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.held.is_some().then(|| std::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn lists_take_their_memory_where_bodies_do() {
        let yaml = "listen: [{ address: 127.0.0.1:0 }]\n\
            backends: { a: { endpoint: http://127.0.0.1:9, auth: none } }\n\
            models: { one: {} }\napps: { a: { anonymous: true } }\n\
            limits: { body_mib: 1, buffered_mib: 1 }\n";
        let live = Live::new(crate::config::check(yaml).unwrap().config, Clock::start()).unwrap();
        let (all, app) = (live.memory().free(), "a".into());
        let chunk = vec![b'x'; 300 << 10];
        let mut one = List::begin(&live, &app);
        one.push(&chunk);
        one.push(&chunk);
        assert_eq!(live.memory().free(), all - 600);
        let mut other = List::begin(&live, &app);
        other.push(&chunk);
        other.push(&chunk);
        other.push(b"y");
        assert!(other.take().is_none(), "there was no room");
        assert_eq!(live.memory().free(), all - 600, "what it had is given back");
        assert_eq!(one.take().unwrap().len(), 600 << 10);
        assert_eq!(live.memory().free(), all - 600, "the client has it not yet");
        drop(one);
        assert_eq!(live.memory().free(), all);
    }
}
