//! What somebody did who wrote text that is not YAML.
//!
//! The parser tells what it could not read, and where it noticed; the mistake is often a line above, and of
//! another kind than its words say. So the lines there are looked at. None of them is repeated.

use crate::config::problem::Place;

/// Where the mistake is, what it is, and what to write instead.
pub(super) type Mistake = (Place, String, &'static str);

/// A line and its number from 1.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: u32,
    text: &'a str,
}

/// The likely mistake behind what the parser said about this place.
pub(super) fn mistake(source: &str, place: Place, said: &str) -> Mistake {
    let lines = || source.lines().zip(1..).map(|(text, number)| Line { number, text });
    let read = || lines().filter(|line| line.number <= place.line && line.is_content());
    let here = lines().find(|line| line.number == place.line);
    let above = read().filter(|line| line.number < place.line).last();
    // Noticed in the value above it, where that could have gone on.
    let mut near = lines().skip_while(|line| line.number < place.line).take(2);
    let tab = near.find_map(|line| Some((line, line.indent().find('\t')?)));
    let is = |words: &[&str]| words.iter().any(|word| said.contains(word));

    if let Some((line, tab)) = tab {
        return told(line.at(tab), "a tab in the indentation", "write spaces instead");
    }
    if is(&["escape"]) {
        let wrong = "an unknown escape in double quotes";
        return told(place, wrong, "write `\\\\` for a backslash, or use single quotes");
    }
    if is(&["quoted scalar"]) {
        let open = read().filter_map(Line::open_quote).last();
        return told(open.unwrap_or(place), "a quote that is not closed", "close it in its line");
    }
    if is(&["bracket", "flow mapping", "flow sequence"]) {
        let open = read().filter_map(Line::open_bracket).last();
        let wrong = "a bracket that is not closed, or closed by another kind";
        return told(open.unwrap_or(place), wrong, "close each `[` with `]` and each `{` with `}`");
    }
    if is(&["expected ':'", "mapping values", "expected key"]) {
        return around(here, above, place);
    }
    if is(&["anchor or alias"]) {
        return told(place, "`*` or `&` without a name", "quote text that begins with one of them");
    }
    if is(&["unexpected character", "cannot start any token"]) {
        let wrong = "a character that text may not begin with";
        return told(place, wrong, "quote the text");
    }
    (place, format!("not YAML: {said}"), "correct it here or just above")
}

/// A colon too few or too many, or a wrong indentation: it depends on the line above.
fn around(here: Option<Line<'_>>, above: Option<Line<'_>>, place: Place) -> Mistake {
    let colon = ("no `: ` behind the key", "write `key: value`, with a space behind the colon");
    let bare = |line: &Line<'_>| !line.has_colon() && line.open_bracket().is_none();
    if let Some(line) = here.filter(bare).or_else(|| above.filter(bare)) {
        return told(line.start(), colon.0, colon.1);
    }
    let Some(here) = here else { return told(place, colon.0, colon.1) };
    if here.entry().matches(": ").count() > 1 && !here.entry().contains(['{', '"', '\'']) {
        return told(place, "a second `: ` in one line", "quote text that holds `: `");
    }
    let depth = |line: Line<'_>| line.indent().len();
    if above.is_some_and(|above| depth(here) > depth(above)) {
        let wrong = "deeper than the line above, which has a value already";
        return told(here.start(), wrong, "start it in the column of the other keys of its map");
    }
    let wrong = "an indentation that no line above has";
    told(here.start(), wrong, "start it in the column of the other keys of its map")
}

fn told(place: Place, wrong: &str, instead: &'static str) -> Mistake {
    (place, wrong.to_owned(), instead)
}

impl<'a> Line<'a> {
    fn is_content(&self) -> bool {
        let text = self.text.trim();
        !text.is_empty() && !text.starts_with('#')
    }

    fn indent(self) -> &'a str {
        let content = self.text.trim_start_matches([' ', '\t']).len();
        self.text.get(..self.text.len() - content).unwrap_or_default()
    }

    /// Without indentation, dashes and comment.
    fn entry(self) -> &'a str {
        let text = self.text.trim().trim_start_matches("- ");
        text.split(" #").next().unwrap_or(text).trim_end()
    }

    fn has_colon(self) -> bool {
        let entry = self.entry();
        entry.contains(": ") || entry.ends_with(':') || entry == "-"
    }

    /// The place of a byte.
    fn at(self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or_default().chars().count();
        Place {
            line: self.number,
            column: u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn start(self) -> Place {
        self.at(self.indent().len())
    }

    /// The quote that is not closed in this line, if there is one.
    fn open_quote(self) -> Option<Place> {
        let mut open = None;
        for (byte, c) in self.text.char_indices() {
            match open {
                None if c == '#' => break,
                None if matches!(c, '"' | '\'') => open = Some((byte, c)),
                Some((_, quote)) if quote == c => open = None,
                _ => {}
            }
        }
        open.map(|(byte, _)| self.at(byte))
    }

    /// The last bracket that is not closed in this line, or not by its own kind.
    fn open_bracket(self) -> Option<Place> {
        let mut open = Vec::new();
        for (byte, c) in self.text.char_indices() {
            let opener = match c {
                '[' | '{' => {
                    open.push((byte, c));
                    continue;
                }
                ']' => '[',
                '}' => '{',
                _ => continue,
            };
            if open.last().is_some_and(|(_, last)| *last == opener) {
                open.pop();
            }
        }
        open.last().map(|(byte, _)| self.at(*byte))
    }
}
