//! What the header of a token may say. It is not proved yet: nothing of it decides how the token is verified,
//! but for which of our own keys is tried.

use crate::auth::json::Object;
use crate::auth::token_error::TokenError;
use serde_json::Value;

/// The one algorithm.
pub(super) const ALGORITHM: &str = "RS256";

/// Longest key id, in bytes.
const KEY_ID_BYTES_MAX: usize = 256;

/// Parameters that would let a token bring or name its own key, or change what its signature means.
pub(super) const FORBIDDEN: [&str; 6] = ["crit", "jku", "x5u", "jwk", "x5c", "b64"];

/// Refuses parameters that Entra never writes and that are dangerous to anyone who heeds them.
pub(super) fn parameters(header: &Object) -> Result<(), TokenError> {
    let forbidden = FORBIDDEN.iter().any(|name| header.contains_key(*name));
    if forbidden { Err(TokenError::ForbiddenHeader) } else { Ok(()) }
}

/// The algorithm has to be ours. It is verified with ours whatever stands here; see `signing_keys`.
pub(super) fn algorithm(header: &Object) -> Result<(), TokenError> {
    match header.get("alg") {
        Some(Value::String(alg)) if alg == ALGORITHM => Ok(()),
        _ => Err(TokenError::WrongAlgorithm),
    }
}

/// The type is that of an access token, or is not said (RFC 7519, section 5.1; RFC 9068, section 2.1).
pub(super) fn kind(header: &Object) -> Result<(), TokenError> {
    match header.get("typ") {
        None => Ok(()),
        Some(Value::String(typ))
            if typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt") =>
        {
            Ok(())
        }
        Some(_) => Err(TokenError::WrongType),
    }
}

/// The id of the key, which has to be there: trying every key would be work for whoever asks for it.
pub(super) fn key_id(header: &Object) -> Result<&str, TokenError> {
    header.get("kid").and_then(Value::as_str).filter(|id| is_key_id(id)).ok_or(TokenError::BadKeyId)
}

/// Whether a key could have this id.
pub(super) fn is_key_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= KEY_ID_BYTES_MAX && !id.chars().any(char::is_control)
}
