//! `conf/firstlight.yaml`: the table of keys, written out as a file that can be used.
//!
//! Keys with a default stand there with it, so that the file means what an empty one would; the others
//! stand there with an example, as a comment where they are optional.

use crate::config::keys;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Text;

const HEAD: &str = "\
# Every key of Firstlight's configuration, with its unit, range, default and reason.
# Written from the code by a test; do not edit. A file of your own needs only what `minimal.yaml` has.
";

/// The text of `conf/firstlight.yaml`.
pub fn reference() -> String {
    let mut lines = vec![HEAD.to_owned()];
    for key in keys::table() {
        let path = key.path();
        let depth = path.matches('.').count();
        if depth == 0 {
            lines.push("\n".to_owned());
        }
        let indent = "  ".repeat(depth);
        let (comment, entry) = describe(key);
        lines.extend(comment.lines().map(|line| format!("{indent}# {line}\n")));
        lines.push(format!("{indent}{entry}\n"));
    }
    lines.concat()
}

/// The comment above a key, and its line.
fn describe(key: Key) -> (String, String) {
    let name = keys::name(key.path());
    match key {
        Key::Group(Group { path: _, sample, about }) => {
            let entry = match (name, *sample) {
                ("*", "-") => "-".to_owned(),
                ("*", sample) => format!("{sample}:"),
                (name, _) => format!("{name}:"),
            };
            ((*about).to_owned(), entry)
        }
        Key::Text(Text { path: _, shown, need, about }) => {
            let entry = format!("{name}: {shown}");
            match need {
                Need::Required => (format!("Required. {about}"), entry),
                Need::Default => (format!("Default {shown}.\n{about}"), entry),
                Need::OneOf => ((*about).to_owned(), entry),
                Need::Optional => (format!("Optional. {about}"), format!("# {entry}")),
            }
        }
        Key::Word(key) => {
            let facts = format!("One of {}; default {}.", key.words.join(", "), key.default);
            (format!("{facts}\n{}", key.about), format!("{name}: {}", key.default))
        }
        Key::Flag(key) => (
            format!("true or false; default {}.\n{}", key.default, key.about),
            format!("{name}: {}", key.default),
        ),
        Key::Real(key) => {
            let facts =
                format!("{}, {} to {}; default {}.", key.unit, key.least, key.most, key.default);
            (format!("{facts}\n{}", key.about), format!("{name}: {}", key.default))
        }
        Key::Whole(key) => {
            let facts = format!(
                "{}, whole, {} to {}; default {}.",
                key.unit, key.least, key.most, key.default
            );
            (format!("{facts}\n{}", key.about), format!("{name}: {}", key.default))
        }
    }
}
