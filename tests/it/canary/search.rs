//! Looks for secrets in what was said, in every form in which they could stand there.

use super::{BACKEND_KEY, KEY};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::fs;
use std::path::Path;

/// All forms in which a secret could be written.
fn forms(secret: &str) -> Vec<String> {
    let start: String = secret.chars().take(16).collect();
    let mut forms = vec![secret.to_owned(), start.clone()];
    for text in [secret, &start] {
        let bytes = text.as_bytes();
        forms.push(hex::encode(bytes));
        forms.push(hex::encode_upper(bytes));
        forms.push(form_urlencoded::byte_serialize(bytes).collect());
        let numbers: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        forms.push(numbers.join(", "));
        forms.push(numbers.join(","));
        forms.extend((0..3).flat_map(|before| encoded(bytes, before)));
        forms.push(STANDARD.encode(bytes));
    }
    forms
}

/// In base64 behind so many other bytes: without the characters that hold bits of its neighbours.
fn encoded(bytes: &[u8], before: usize) -> [String; 2] {
    let shifted = [vec![0; before], bytes.to_vec()].concat();
    let start = [0, 2, 3][before];
    [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)]
        .map(|text| text.get(start..text.len() - 2).unwrap().to_owned())
}

/// The files of a directory, and what is in them.
pub(super) fn files(directory: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        (path.display().to_string(), text)
    };
    entries.filter(|path| path.is_file()).map(read).collect()
}

/// Where any of the secrets was said: its form, and the beginning of the line.
pub(super) fn leaks(said: &[(String, String)], secrets: &[String]) -> Vec<String> {
    let mut forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    forms.sort();
    forms.dedup();
    let mut leaks = Vec::new();
    for (what, text) in said {
        for form in forms.iter().filter(|form| text.contains(form.as_str())) {
            let line = text.lines().find(|line| line.contains(form)).unwrap();
            let line: String = line.chars().take(300).collect();
            leaks.push(format!("{form} in {what}: {line}"));
        }
    }
    leaks
}

/// The search finds what there is.
#[test]
fn secrets_are_found_in_every_form() {
    let check = |text: String| {
        let said = [("somewhere".to_owned(), text)];
        assert!(!leaks(&said, &[KEY.to_owned()]).is_empty(), "{said:?}");
        assert!(leaks(&said, &[BACKEND_KEY.to_owned()]).is_empty(), "{said:?}");
    };
    check(format!("x{KEY}x"));
    check(KEY.get(..20).unwrap().to_owned());
    check(STANDARD.encode(KEY));
    check(STANDARD.encode(format!("user:{KEY}")));
    check(URL_SAFE_NO_PAD.encode(format!("ab{KEY}, and more")));
    check(hex::encode(KEY));
    check(form_urlencoded::byte_serialize(KEY.as_bytes()).collect());
    check(format!("{:?}", KEY.as_bytes()));
}
