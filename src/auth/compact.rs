//! The compact form of a token: what its parts are, before anything in them is believed.

use crate::auth::credential::TOKEN_BYTES_MAX;
use crate::auth::json::{BadJson, Object, object};
use crate::auth::token_error::TokenError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest header, decoded.
const HEADER_BYTES_MAX: usize = 1024;

/// Longest claims, decoded. Entra stops at about half of it: beyond that groups become a reference.
const CLAIMS_BYTES_MAX: usize = 12 * 1024;

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
        members(self.header, HEADER_BYTES_MAX, TokenError::BadHeader)
    }

    /// The claims.
    pub(super) fn claims(&self) -> Result<Object, TokenError> {
        members(self.claims, CLAIMS_BYTES_MAX, TokenError::BadClaims)
    }
}

fn members(part: &str, bytes_max: usize, bad: TokenError) -> Result<Object, TokenError> {
    // Four characters hold three bytes.
    if part.len() / 4 * 3 > bytes_max {
        return Err(bad);
    }
    let Ok(text) = URL_SAFE_NO_PAD.decode(part) else { return Err(bad) };
    if text.len() > bytes_max {
        return Err(bad);
    }
    object(&text).map_err(|why| match why {
        BadJson::Duplicate => TokenError::Duplicate,
        BadJson::Malformed => bad,
    })
}
