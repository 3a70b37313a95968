//! The credential of a request, out of its headers.
//!
//! A request proves itself with `api-key` or with `Authorization: Bearer`, once. Two different credentials
//! are refused rather than ranked: whichever were taken, another proxy on the way may take the other.
//!
//! `api-key` always holds a key. SDKs put keys behind `Bearer` too, so what stands there is told by its shape:
//! an encoded JSON object (`eyJ` is `{"`) with dots is a token, and everything else a key.

use http::HeaderMap;
use http::HeaderValue;
use http::header::AUTHORIZATION;

/// Longest key that is looked at, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// Longest `Authorization` that is looked at, in bytes; also the longest token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What a request presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// No credential, or an empty one: some SDKs send the header even when they were given no key.
    Nothing,
    /// An API key, at most [`KEY_BYTES_MAX`].
    Key(&'a [u8]),
    /// What looks like a token, at most [`TOKEN_BYTES_MAX`]. Nothing of it is proved.
    Token(&'a str),
}

/// Why the credential of a request cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// More than one header, with more than one possible meaning.
    #[error("more than one credential")]
    Ambiguous,
    /// `Authorization` with another scheme than Bearer.
    #[error("an authorization scheme other than Bearer")]
    NotBearer,
    /// Longer than any key, or than any token.
    #[error("a key longer than {KEY_BYTES_MAX} bytes, or a token longer than {TOKEN_BYTES_MAX}")]
    TooLong,
}

/// The credential that a request presents: the value of `api-key`, or of `Authorization` without `Bearer`.
///
/// The same text in both is one credential, and a token if `Authorization` alone would make it one.
pub fn credential(headers: &HeaderMap) -> Result<Presented<'_>, CredentialError> {
    let api_key = only(headers, "api-key")?.map(|value| value.as_bytes().trim_ascii());
    let bearer = only(headers, AUTHORIZATION.as_str())?.map(bearer).transpose()?;
    let api_key = api_key.filter(|key| !key.is_empty());
    let bearer = bearer.filter(|text| !text.is_empty());
    match (api_key, bearer) {
        (None, None) => Ok(Presented::Nothing),
        (Some(key), None) => of_key(key),
        (Some(key), Some(bearer)) if key != bearer => Err(CredentialError::Ambiguous),
        (_, Some(bearer)) => of_bearer(bearer),
    }
}

fn of_bearer(text: &[u8]) -> Result<Presented<'_>, CredentialError> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(CredentialError::TooLong);
    }
    match std::str::from_utf8(text) {
        Ok(token) if looks_like_token(token) => Ok(Presented::Token(token)),
        _ => of_key(text),
    }
}

fn of_key(key: &[u8]) -> Result<Presented<'_>, CredentialError> {
    if key.len() > KEY_BYTES_MAX { Err(CredentialError::TooLong) } else { Ok(Presented::Key(key)) }
}

/// Three parts make a signed token and five an encrypted one, which is refused as a token rather than as a key
/// that nobody knows. Whether the parts are base64url is for the verifier to say.
fn looks_like_token(text: &str) -> bool {
    text.starts_with("eyJ") && matches!(text.bytes().filter(|&b| b == b'.').count(), 2 | 4)
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a HeaderValue>, CredentialError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(CredentialError::Ambiguous) } else { Ok(first) }
}

/// What stands behind the scheme, whose name is read in any case (RFC 9110, section 11.1).
fn bearer(value: &HeaderValue) -> Result<&[u8], CredentialError> {
    let value = value.as_bytes().trim_ascii();
    let (scheme, text) =
        value.split_at_checked("bearer".len()).ok_or(CredentialError::NotBearer)?;
    let separated = text.is_empty() || text.starts_with(b" ");
    if !scheme.eq_ignore_ascii_case(b"bearer") || !separated {
        return Err(CredentialError::NotBearer);
    }
    Ok(text.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::CredentialError::{Ambiguous, NotBearer, TooLong};
    use super::*;

    /// What is expected, in a form that prints.
    #[derive(Debug, PartialEq, Eq)]
    enum Is<'a> {
        Nothing,
        Key(&'a str),
        Token(&'a str),
    }

    fn check(pairs: &[(&'static str, &str)], expected: &Result<Is<'_>, CredentialError>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let found = credential(&headers).map(|presented| match presented {
            Presented::Nothing => Is::Nothing,
            Presented::Key(key) => Is::Key(std::str::from_utf8(key).unwrap()),
            Presented::Token(token) => Is::Token(token),
        });
        assert_eq!(found, *expected, "{pairs:?}");
    }

    #[test]
    fn either_header_carries_a_key() {
        check(&[], &Ok(Is::Nothing));
        check(&[("api-key", "k")], &Ok(Is::Key("k")));
        check(&[("authorization", "Bearer k")], &Ok(Is::Key("k")));
        check(&[("authorization", "bEARER   k ")], &Ok(Is::Key("k")));
        check(&[("api-key", "k"), ("authorization", "Bearer k")], &Ok(Is::Key("k")));
        check(&[("api-key", ""), ("authorization", "Bearer ")], &Ok(Is::Nothing));
        check(&[("api-key", ""), ("authorization", "Bearer k")], &Ok(Is::Key("k")));
    }

    #[test]
    fn a_token_is_told_by_its_shape() {
        for token in ["eyJ.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJ.b.c.d.e", "eyJ=.!.c"] {
            check(&[("authorization", &format!("Bearer {token}"))], &Ok(Is::Token(token)));
            check(&[("api-key", token)], &Ok(Is::Key(token)));
        }
        for key in ["eyJ", "eyJ.b", "a.b.c", "eyj.b.c", "eyJ.b.c.d", "firstlight_eyJ.b.c"] {
            check(&[("authorization", &format!("Bearer {key}"))], &Ok(Is::Key(key)));
        }
        check(
            &[("api-key", "eyJ.b.c"), ("authorization", "Bearer eyJ.b.c")],
            &Ok(Is::Token("eyJ.b.c")),
        );
        check(&[("api-key", "k"), ("authorization", "Bearer eyJ.b.c")], &Err(Ambiguous));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        check(&[("api-key", "k"), ("authorization", "Bearer j")], &Err(Ambiguous));
        check(&[("api-key", "k"), ("api-key", "k")], &Err(Ambiguous));
        check(&[("authorization", "Bearer k"), ("authorization", "Bearer k")], &Err(Ambiguous));
        check(
            &[("authorization", "Bearer eyJ.b.c"), ("authorization", "Bearer k")],
            &Err(Ambiguous),
        );
        check(&[("authorization", "Basic abc")], &Err(NotBearer));
        check(&[("authorization", "k")], &Err(NotBearer));
        check(&[("authorization", "Bearerk")], &Err(NotBearer));
        check(&[("api-key", "k"), ("authorization", "Basic abc")], &Err(NotBearer));
    }

    #[test]
    fn what_is_too_long_is_not_looked_at() {
        check(&[("api-key", &"k".repeat(512))], &Ok(Is::Key(&"k".repeat(512))));
        check(&[("api-key", &"k".repeat(513))], &Err(TooLong));
        check(&[("authorization", &format!("Bearer {}", "k".repeat(513)))], &Err(TooLong));
        let token = |bytes: usize| format!("eyJ.{}.c", "b".repeat(bytes - "eyJ..c".len()));
        check(
            &[("authorization", &format!("Bearer {}", token(16_384)))],
            &Ok(Is::Token(&token(16_384))),
        );
        check(&[("authorization", &format!("Bearer {}", token(16_385)))], &Err(TooLong));
        check(&[("api-key", &token(1_000))], &Err(TooLong));
    }
}
