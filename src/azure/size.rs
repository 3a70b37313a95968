//! About how many tokens a prompt has.
//!
//! The estimate is the bytes of the body / 4, `data:` URLs left out and 1,000 tokens for each image instead.
//! It sorts prompts by size and pays for hedges and limits; it is not a bill.

use crate::azure::json::Token;

/// Bytes of English text in one token, nearly enough.
const BYTES_PER_TOKEN: u64 = 4;

/// What one image costs, nearly enough: a large picture in high detail.
const TOKENS_PER_IMAGE: u64 = 1_000;

/// The furthest that the comma of a `data:` URL is looked for.
const MEDIA_TYPE_BYTES_MAX: usize = 256;

/// The parts of a prompt whose bytes say little about its tokens.
#[derive(Default)]
pub(super) struct Media {
    image_parts: u64,
    data_urls: u64,
    data_url_bytes: usize,
}

impl Media {
    /// Takes one string of the body.
    pub(super) fn see(&mut self, string: Token<'_>) {
        let raw = string.raw();
        // The types of an image part in chat completions and in responses.
        if raw == b"image_url" || raw == b"input_image" {
            self.image_parts += 1;
        } else if is_data_url(raw) {
            self.data_urls += 1;
            self.data_url_bytes += raw.len();
        }
    }

    /// About how many tokens a body of this length asks the model to read.
    pub(super) fn tokens_estimate(&self, body_bytes: usize) -> u64 {
        // An image inside the body shows up as both, an image on the web only as a part.
        let images = self.image_parts.max(self.data_urls);
        let text_bytes =
            u64::try_from(body_bytes.saturating_sub(self.data_url_bytes)).unwrap_or(u64::MAX);
        (text_bytes / BYTES_PER_TOKEN).saturating_add(images.saturating_mul(TOKENS_PER_IMAGE))
    }
}

/// Whether a string is a `data:` URL that holds a file; a text that begins with that word is a text.
fn is_data_url(raw: &[u8]) -> bool {
    let Some(rest) = raw.strip_prefix(b"data:") else { return false };
    let begin = rest.get(..MEDIA_TYPE_BYTES_MAX).unwrap_or(rest);
    let media_type = memchr::memchr(b',', begin).and_then(|comma| begin.get(..comma));
    media_type.is_some_and(|media_type| media_type.ends_with(b";base64"))
}

#[cfg(test)]
mod tests {
    use crate::azure::peek::peek;

    fn estimate(body: &str) -> u64 {
        peek(body.as_bytes()).unwrap().prompt_tokens_estimate
    }

    #[test]
    fn the_responses_api_has_images_too() {
        let check = |image: &str, text_bytes: usize| {
            let body = format!(
                r#"{{"input":[{{"content":[{{"type":"input_image","image_url":"{image}"}}]}}]}}"#
            );
            let expected = 1_000 + (body.len() - image.len() + text_bytes) / 4;
            assert_eq!(usize::try_from(estimate(&body)), Ok(expected), "{image}");
        };
        let web = "https://a/b.png";
        check(web, web.len());
        check(&format!("data:image/png;base64,{}", "A".repeat(40_000)), 0);
        // Some encoders escape every slash.
        check(&format!(r"data:image\/png;base64,{}", r"A\/".repeat(10_000)), 0);
    }

    #[test]
    fn a_text_that_begins_like_a_data_url_is_text() {
        let text = "1, 2, ".repeat(10_000);
        for begin in ["data: ", "data:", "data:,", "data: x;base64 ", "data:;base64 "] {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"{begin}{text}"}}]}}"#);
            assert_eq!(usize::try_from(estimate(&body)), Ok(body.len() / 4), "{begin}");
        }
    }

    #[test]
    fn images_count_as_images() {
        let picture = "A".repeat(400_000);
        let part = format!(
            r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}"#
        );
        let body = format!(r#"{{"messages":[{{"content":[{part},{part}]}}]}}"#);
        assert!((2_000..2_100).contains(&estimate(&body)), "{}", estimate(&body));
        let web = r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}]}"#;
        assert_eq!(usize::try_from(estimate(web)), Ok(1_000 + web.len() / 4));
    }
}
