//! `conf/firstlight.yaml`: the table of keys, written out as a file that can be used.
//!
//! Keys with a default stand there with it, so that the file means what an empty one would; the others
//! stand there with an example, as a comment where they are optional.

use crate::config::checked::Policy;
use crate::config::keys;
use crate::config::keys::Flag;
use crate::config::keys::Group;
use crate::config::keys::Key;
use crate::config::keys::Need;
use crate::config::keys::Real;
use crate::config::keys::Text;
use crate::config::keys::Usual;
use crate::config::keys::Whole;
use crate::config::keys::Word;
use std::fmt::Display;

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
        Key::Word(Word { path: _, default, words, about }) => {
            let form = format!("One of {}", words.join(", "));
            (comment(&form, default, about), entry(name, default))
        }
        Key::Flag(Flag { path: _, default, about }) => {
            (comment("true or false", default, about), entry(name, default))
        }
        Key::Real(Real { path: _, default, least, most, unit, about }) => {
            let form = format!("{unit}, {least} to {most}");
            (comment(&form, default, about), entry(name, default))
        }
        Key::Whole(Whole { path: _, default, least, most, unit, about }) => {
            let form = format!("{unit}, whole, {least} to {most}");
            (comment(&form, default, about), entry(name, default))
        }
    }
}

/// What may be written, the default and what it is under `ema` if that is another, and the reason.
fn comment<T: Copy + Display>(form: &str, default: &Usual<T>, about: &str) -> String {
    let (usual, ema) = (default.plain().to_string(), default.under(Policy::Ema).to_string());
    let ema = if ema == usual { String::new() } else { format!(" (`policy: ema`: {ema})") };
    format!("{form}; default {usual}{ema}.\n{about}")
}

fn entry<T: Copy + Display>(name: &str, default: &Usual<T>) -> String {
    format!("{name}: {}", default.plain())
}
