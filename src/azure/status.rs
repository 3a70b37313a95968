//! The status contract: what a backend's answer says about the backend, and what becomes of the request.
//!
//! | answer | verdict | counts against the target | another target | what the client sees in the end |
//! |---|---|---|---|---|
//! | 2xx | [`Verdict::Success`] | no: its first token is timed | - | the answer |
//! | 2xx, empty or not in its form (see `form`) | [`Verdict::Success`] | an error | yes | another's response, else 502 `upstream_malformed` |
//! | 2xx of JSON up to 256 KiB, cut midway | [`Verdict::Success`] | an error | yes | another's response, else 503 |
//! | 400, 405, 413, 415, 422 and any other 4xx | [`Verdict::Serve`] | no | no | the answer, unchanged |
//! | the same, from an attempt that is not the first | [`Verdict::Serve`] | no | only after a 429 | a better response of another attempt, else this one |
//! | 404, 410 to a request that names nothing kept | [`Verdict::Serve`] | no | once | another's response, else this one |
//! | 400 `invalid_encrypted_content` beside a 429 | [`Verdict::Serve`] | no | yes | another's response, else 429 with its time |
//! | 404 `DeploymentNotFound` | [`Verdict::NotDeployed`] | no; a probe is asked for | yes | another's answer, else this one |
//! | 401, 403 | [`Verdict::Unauthorised`] | no; a probe is asked for | yes | another's answer, else 502 `upstream_auth` |
//! | 408, 499, 5xx | [`Verdict::Failed`] | an error | yes | another's answer, else 503 |
//! | 409 | [`Verdict::Conflict`] | no | only with `Retry-After` | this answer |
//! | 429 | [`Verdict::Limited`] | no: it is given less, and nothing as large, for a while | yes, at once | another's answer, else 429 |
//!
//! A quick refusal is never a latency sample: a policy that books a fast 429 as an excellent answer sends
//! the refusing region more traffic. A content filter's 400 is an answer about the prompt, the same
//! everywhere, unless an attempt is still open that may prove otherwise. A client's own 404 never comes this far: names that no target maps are refused before.
//!
//! Redirects and informational codes are failures: a model's endpoint does not redirect, and following one
//! would let an answer choose the host.

use crate::azure::json::Cursor;
use crate::azure::json::Fault;
use std::borrow::Cow;

/// What an answer means for its target and its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx: pass it on; whether it is good shows with its first token.
    Success,
    /// An answer about the request: pass it on unchanged, nothing is learned.
    Serve,
    /// The target lacks the deployment that the configuration promises: try elsewhere, else pass it on.
    NotDeployed,
    /// The target refuses our credential: try elsewhere, else our own 502.
    Unauthorised,
    /// The target failed: an error outcome; try elsewhere.
    Failed,
    /// The target is out of quota: it rests; try elsewhere at once.
    Limited,
    /// Pass it on, or try again if it says when.
    Conflict,
}

impl Verdict {
    /// Whether it holds without the body, and without another header than those of a limit.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Unauthorised | Self::Failed | Self::Limited)
    }
}

/// Judges an answer by its status and, where it has one, the `error.code` of its body (see [`error_code`]).
pub fn judge(status: u16, code: Option<&str>) -> Verdict {
    match status {
        200..=299 => Verdict::Success,
        401 | 403 => Verdict::Unauthorised,
        404 if code == Some("DeploymentNotFound") => Verdict::NotDeployed,
        408 | 499 => Verdict::Failed,
        409 => Verdict::Conflict,
        429 => Verdict::Limited,
        400..=499 => Verdict::Serve,
        _ => Verdict::Failed,
    }
}

/// The code of a refusal of encrypted content: only the resource that wrote it can read it.
pub const FOREIGN_ENCRYPTION: &str = "invalid_encrypted_content";

/// Whether a refusal is about the resource that gave it rather than about the request: another resource may serve the
/// same request.
pub fn is_of_resource(status: u16, code: Option<&str>) -> bool {
    matches!(status, 404 | 410) || code == Some(FOREIGN_ENCRYPTION)
}

/// The `error.code` of an error body, if it is one and has one.
pub fn error_code(body: &[u8]) -> Option<Cow<'_, str>> {
    let mut code = None;
    let mut cursor = Cursor::new(body);
    let read: Result<(), Fault> = cursor.object(|cursor, key| {
        if key.raw() != b"error" || cursor.next_byte() != Some(b'{') {
            return cursor.skip_value();
        }
        cursor.object(|cursor, key| {
            if key.raw() != b"code" || cursor.next_byte() != Some(b'"') {
                return cursor.skip_value();
            }
            code = Some(cursor.string()?.text()?);
            Ok(())
        })
    });
    read.ok().and(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_contract() {
        let rows = [
            (vec![200, 201, 202, 204, 299], None, Verdict::Success),
            (vec![400, 404, 405, 406, 410, 413, 415, 422, 424, 431, 451], None, Verdict::Serve),
            (vec![400], Some("content_filter"), Verdict::Serve),
            (vec![404], Some("404"), Verdict::Serve),
            (vec![404], Some("DeploymentNotFound"), Verdict::NotDeployed),
            (vec![401, 403], Some("401"), Verdict::Unauthorised),
            (vec![408, 499, 500, 502, 503, 504, 507, 529, 599], None, Verdict::Failed),
            (vec![0, 100, 101, 301, 302, 304, 307, 308, 600, 999], None, Verdict::Failed),
            (vec![409], None, Verdict::Conflict),
            (vec![429], Some("DeploymentNotFound"), Verdict::Limited),
        ];
        for (statuses, code, expected) in rows {
            for status in statuses {
                assert_eq!(judge(status, code), expected, "{status} {code:?}");
                let bare = judge(status, None);
                assert!(!bare.is_final() || bare == expected, "no code changes {status}");
            }
        }
    }

    #[test]
    fn the_code_of_an_error_body_is_found() {
        let check = |body: &str, expected: Option<&str>| {
            assert_eq!(error_code(body.as_bytes()).as_deref(), expected);
        };
        let not_found = r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#;
        check(not_found, Some("DeploymentNotFound"));
        check(
            r#"{"error":{"message":"m","innererror":{"code":"Inner"},"code":"content_filter"}}"#,
            Some("content_filter"),
        );
        check(r#"{"statusCode":401,"message":"Unauthorized."}"#, None);
        check(r#"{"error":"text"}"#, None);
        check(r#"{"error":{"code":null}}"#, None);
        check("<html>Bad Gateway</html>", None);
        check(r#"{"error":{"code":"cut"#, None);
    }
}
