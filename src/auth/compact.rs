//! The compact form of a token: what its parts are, before anything in them is believed.

use crate::auth::credential::TOKEN_BYTES_MAX;
use crate::auth::json::{BadJson, Object, object};
use crate::auth::token_error::TokenError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest header, encoded: 1 KiB of JSON, as four characters hold three bytes.
const HEADER_CHARS_MAX: usize = (1024_usize * 4).div_ceil(3);

/// Claims are at most 12 KiB, decoded, without a limit of their own: a longer token was refused before.
const _: () = assert!(TOKEN_BYTES_MAX / 4 * 3 <= 12 * 1024);

/// The parts of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compact<'a> {
    /// What is signed: header and claims, as they were sent.
    pub(super) signed: &'a str,
    header: &'a str,
    claims: &'a str,
    pub(super) signature: &'a str,
}

/// The text, if it is not too long.
pub(super) fn size(token: &str) -> Result<&str, TokenError> {
    if token.len() > TOKEN_BYTES_MAX { Err(TokenError::TooLong) } else { Ok(token) }
}

/// Takes a token apart. An empty signature passes: the algorithm says better what is wrong with it.
pub(super) fn split(token: &str) -> Result<Compact<'_>, TokenError> {
    if token.bytes().filter(|&b| b == b'.').count() == 4 {
        return Err(TokenError::Encrypted);
    }
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    if claims.contains('.') || !token.bytes().all(is_base64url) {
        return Err(TokenError::Malformed);
    }
    Ok(Compact { signed, header, claims, signature })
}

impl Compact<'_> {
    /// The header's members.
    pub(super) fn header(&self) -> Result<Object, TokenError> {
        if self.header.len() > HEADER_CHARS_MAX {
            return Err(TokenError::BadHeader);
        }
        members(self.header, TokenError::BadHeader)
    }

    /// The claims.
    pub(super) fn claims(&self) -> Result<Object, TokenError> {
        members(self.claims, TokenError::BadClaims)
    }
}

fn members(part: &str, bad: TokenError) -> Result<Object, TokenError> {
    let Ok(text) = URL_SAFE_NO_PAD.decode(part) else { return Err(bad) };
    object(&text).map_err(|why| match why {
        BadJson::Duplicate => TokenError::Duplicate,
        BadJson::Malformed => bad,
    })
}
