//! A good response that is not waited for event by event: whether it is in its form, and whether it comes whole.
//!
//! Where the form is fixed, the first bytes are looked at ([`Form`]): a 200 that is empty or a page of HTML is a failed
//! attempt. A JSON response of up to [`WHOLE_BYTES`] is held to its end, so that one that is cut midway can still be
//! answered by another backend. A larger one, or one for which there is no memory left, is passed on as it comes.

use super::{Answer, BODY_SILENCE, Failure, HOLD_BYTES, Outcome, Sending};
use crate::azure::form::is_whole_object;
use crate::quota::Shares;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora_core::Result as ReadResult;
use pingora_core::protocols::http::client::HttpSession;
use std::sync::Arc;

/// The most that is held of a response to its end. A chat completion of 16k tokens is some 100 KB, an embedding
/// 10 to 60 KB; pictures and large batches of embeddings are megabytes, and would fill the memory that bodies need.
const WHOLE_BYTES: usize = 256 << 10;

/// Where the memory for responses that are held is taken from, in KiB, and for whom.
pub(crate) struct Memory {
    pub(crate) shares: Arc<Shares>,
    pub(crate) app: Arc<str>,
}

/// Reads as much of a 2xx as must be there before it is passed on; `readable`: whether its bytes can be looked at.
#[expect(clippy::fn_params_excessive_bools, reason = "a fact of the response")]
pub(super) async fn read(
    mut answer: Answer,
    sending: &Sending,
    readable: bool,
) -> Result<Answer, Failure> {
    if !readable {
        more(&mut answer).await?;
        return Ok(answer);
    }
    loop {
        more(&mut answer).await?;
        let begin = answer.held.as_deref().unwrap_or_default();
        match sending.form.fits(begin, answer.ended) {
            Some(true) => break,
            Some(false) => {
                let outcome = Outcome::Malformed;
                return Err(Failure { answer: Some(answer), ..Failure::bare(outcome) });
            }
            None if begin.len() > HOLD_BYTES => return Ok(answer),
            None => {}
        }
    }
    match &sending.memory {
        Some(memory) if is_json(&answer) => hold(answer, memory).await,
        _ => Ok(answer),
    }
}

/// Holds a response to its end, if it is small and there is room for it.
async fn hold(mut answer: Answer, memory: &Memory) -> Result<Answer, Failure> {
    let declared = length(&answer);
    let mut most = declared.unwrap_or(0);
    if most > WHOLE_BYTES {
        return Ok(answer);
    }
    let Ok(mut room) = memory.shares.take(&memory.app, kibibytes(most)) else { return Ok(answer) };
    loop {
        most = most.max(answer.held.as_ref().map_or(0, Bytes::len));
        if most > WHOLE_BYTES || room.grow(kibibytes(most)).is_err() {
            return Ok(answer);
        }
        if answer.ended {
            break;
        }
        more(&mut answer).await?;
    }
    let ends_with_connection = declared.is_none() && is_until_close(&answer);
    if ends_with_connection && !answer.held.as_deref().is_some_and(is_whole_object) {
        return Err(Failure::bare(Outcome::Reset));
    }
    answer.room = Some(room);
    Ok(answer)
}

async fn more(answer: &mut Answer) -> Result<(), Failure> {
    match read_more(answer).await {
        Ok(_) => {
            answer.session.set_read_timeout(Some(BODY_SILENCE));
            Ok(())
        }
        Err(_) => Err(Failure::bare(Outcome::Reset)),
    }
}

fn is_json(answer: &Answer) -> bool {
    let text = answer.held.as_deref().unwrap_or_default();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.trim_ascii_start().starts_with(b"{")
}

/// The length that its header tells.
fn length(answer: &Answer) -> Option<usize> {
    let header = answer.session.response_header()?;
    header.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether its end is the end of its connection, so that one that is cut looks like any other.
fn is_until_close(answer: &Answer) -> bool {
    let chunked = answer
        .session
        .response_header()
        .is_some_and(|header| header.headers.contains_key(header::TRANSFER_ENCODING));
    matches!(answer.session, HttpSession::H1(_)) && !chunked
}

/// Rounded up.
fn kibibytes(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(1024)).unwrap_or(u64::MAX)
}

/// Reads one chunk, adds it to what is held and returns it. `None`: the answer is complete.
pub(super) async fn read_more(answer: &mut Answer) -> ReadResult<Option<Bytes>> {
    if answer.session.response_done() {
        answer.ended = true;
        return Ok(None);
    }
    let chunk = answer.session.read_response_body().await?;
    let Some(chunk) = chunk else {
        answer.ended = true;
        return Ok(None);
    };
    answer.ended = answer.session.response_done();
    answer.held = Some(match answer.held.take() {
        None => chunk.clone(),
        Some(before) => joined(before, &chunk),
    });
    if let (Some(stored), Some(held)) = (&answer.stored, &answer.held) {
        stored.search(held);
    }
    Ok(Some(chunk))
}

/// Nobody else holds what was joined before, so it grows in place.
fn joined(before: Bytes, chunk: &[u8]) -> Bytes {
    let mut joined = before.try_into_mut().unwrap_or_else(|before| {
        let mut copy = BytesMut::with_capacity(before.len() + chunk.len());
        copy.extend_from_slice(&before);
        copy
    });
    joined.extend_from_slice(chunk);
    joined.freeze()
}
