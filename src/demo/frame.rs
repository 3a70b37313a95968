//! One picture of the live view, as lines of at most 79 columns. Pure.
//!
//! It answers, from the top: how far are we, what is happening, what does each proxy think of each region
//! and where does it send the requests, and what did the clients feel. Whatever a colour says is said by a
//! word too.

use crate::demo::scenario::BAD_REGION;
use crate::demo::scenario::HEALTHY_MS;
use crate::demo::scenario::Phase;
use crate::demo::scenario::SLOW_MS;
use crate::demo::scenario::Timeline;
use crate::demo::tally::float;
use crate::demo::tally::ratio;
use crate::demo::world::Policy;
use crate::demo::world::RegionView;
use crate::time::Time;

/// Whether lines may hold colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Plain text.
    Plain,
    /// The three colours of a traffic light.
    Ansi,
}

/// Everything a picture shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// When it was taken, counted from the first request.
    pub at: Time,
    /// Firstlight and round robin.
    pub sides: [SideView; 2],
    /// So many slow requests are a full bar.
    pub slow_scale: f64,
}

/// One proxy in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct SideView {
    /// Which one.
    pub policy: Policy,
    /// Its regions.
    pub regions: Vec<RegionLine>,
    /// Answers so far.
    pub requests: usize,
    /// Slow ones among them.
    pub slow: usize,
}

/// One region of one proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionLine {
    /// Its name.
    pub name: &'static str,
    /// What the proxy thinks of it.
    pub view: Option<RegionView>,
    /// First tokens from it a second, of late.
    pub per_second: f64,
}

/// Draws a picture.
pub fn frame(picture: &Picture, timeline: Timeline, palette: Palette) -> Vec<String> {
    let phase = timeline.phase(picture.at);
    let colour = if phase == Phase::Bad { Colour::Yellow } else { Colour::Green };
    let mut lines = vec![
        bar(picture.at, timeline),
        format!("now: {}", palette.paint(colour, phase.told())),
        String::new(),
    ];
    for side in &picture.sides {
        lines.push(heading(side.policy).to_owned());
        lines.extend(
            side.regions.iter().map(|region| region_line(side.policy, region, phase, palette)),
        );
        lines.push(String::new());
    }
    lines.push(format!(
        "SLOW REQUESTS so far (first token after more than {SLOW_MS:.0} ms; usual: {HEALTHY_MS:.0} ms)"
    ));
    lines.extend(picture.sides.iter().map(|side| slow_line(side, picture.slow_scale, palette)));
    lines
}

/// The same in one line, for a log.
pub fn line(picture: &Picture, timeline: Timeline) -> String {
    let seconds = picture.at.since(Time::ZERO).as_secs_f64();
    let told = timeline.phase(picture.at).told();
    let sides = picture.sides.iter().map(|side| {
        let bad = side.regions.iter().find(|region| region.name == BAD_REGION);
        let state = bad.map_or("unknown", |region| state(side.policy, region.view).0);
        format!(
            "{}: {} of {} slow, {BAD_REGION} {state}",
            name(side.policy),
            side.slow,
            side.requests
        )
    });
    format!("{seconds:3.0} s  {told}; {}", sides.collect::<Vec<_>>().join("; "))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Red,
    Yellow,
    Green,
}

impl Palette {
    fn paint(self, colour: Colour, text: &str) -> String {
        let code = match (self, colour) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Ansi, Colour::Red) => 31,
            (Self::Ansi, Colour::Yellow) => 33,
            (Self::Ansi, Colour::Green) => 32,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn name(policy: Policy) -> &'static str {
    match policy {
        Policy::Firstlight => "firstlight",
        Policy::RoundRobin => "round robin",
    }
}

fn heading(policy: Policy) -> &'static str {
    match policy {
        Policy::Firstlight => "FIRSTLIGHT        state         first token   answers/s",
        Policy::RoundRobin => "ROUND ROBIN       state         first token   answers/s",
    }
}

fn bar(at: Time, timeline: Timeline) -> String {
    const WIDTH: usize = 62;
    let done = stars(timeline.progress(at), WIDTH);
    let seconds = at.since(Time::ZERO).as_secs().min(timeline.length().as_secs());
    format!("[{done:.<WIDTH$}] {seconds} of {} s", timeline.length().as_secs())
}

/// As many signs as `share` is of `width`, to the nearest.
fn stars(share: f64, width: usize) -> String {
    let counts = |n: &usize| ratio(2 * n - 1, 2 * width) <= share;
    (1..=width).take_while(counts).map(|_| '#').collect()
}

fn region_line(policy: Policy, region: &RegionLine, phase: Phase, palette: Palette) -> String {
    let (word, colour) = state(policy, region.view);
    let word = palette.paint(colour, &format!("{word:<12}"));
    let score = region.view.map_or(0.0, |view| view.score_ms);
    let score = palette.paint(
        if score > SLOW_MS { Colour::Red } else { Colour::Green },
        &format!("{score:>8.0} ms"),
    );
    let remark =
        if phase == Phase::Bad && region.name == BAD_REGION { "   10x slower" } else { "" };
    format!("  {:<15} {word}  {score} {:>11.0}{remark}", region.name, region.per_second)
}

fn state(policy: Policy, view: Option<RegionView>) -> (&'static str, Colour) {
    match (policy, view.is_some_and(|view| view.degraded)) {
        (Policy::RoundRobin, _) => ("takes turns", Colour::Green),
        (Policy::Firstlight, true) => ("degraded", Colour::Red),
        (Policy::Firstlight, false) => ("healthy", Colour::Green),
    }
}

fn slow_line(side: &SideView, scale: f64, palette: Palette) -> String {
    let share = float(side.slow) / scale.max(1.0);
    let colour = if side.slow == 0 { Colour::Green } else { Colour::Red };
    let signs = palette.paint(colour, &stars(share, 40));
    format!("  {:<12} {:>6} of {:<7} {signs}", name(side.policy), side.slow, side.requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn picture(seconds: u64) -> Picture {
        let side = |policy, degraded, slow| SideView {
            policy,
            regions: ["eastus2", "westus3", "swedencentral"]
                .map(|name| RegionLine {
                    name,
                    view: Some(RegionView {
                        degraded: degraded && name == BAD_REGION,
                        score_ms: 832.4,
                    }),
                    per_second: 100.0,
                })
                .to_vec(),
            requests: 360_000,
            slow,
        };
        let sides = [side(Policy::Firstlight, true, 12), side(Policy::RoundRobin, false, 100_000)];
        Picture { at: Time::at(Duration::from_secs(seconds)), sides, slow_scale: 110.0 }
    }

    const TIMELINE: Timeline = Timeline::new(Duration::from_mins(10));

    #[test]
    fn a_frame_fits_a_small_terminal_at_every_moment() {
        for seconds in [0, 100, 400, 599, 700] {
            let lines = frame(&picture(seconds), TIMELINE, Palette::Plain);
            assert!(lines.len() <= 20, "{} lines", lines.len());
            for line in lines {
                assert!(line.chars().count() < 80 && line.is_ascii(), "{line}");
            }
        }
    }

    #[test]
    fn a_frame_tells_what_is_happening() {
        let text = frame(&picture(300), TIMELINE, Palette::Plain).join("\n");
        for told in
            ["300 of 600 s", "10x slower", "degraded", "832 ms", "12 of 360000", "takes turns"]
        {
            assert!(text.contains(told), "{told} is missing in\n{text}");
        }
        assert!(!text.contains('\x1b'), "no colour where none is wanted");
        assert!(
            frame(&picture(300), TIMELINE, Palette::Ansi).join("").contains("\x1b[31mdegraded")
        );
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        for (share, expected) in
            [(0.0, ""), (0.04, ""), (0.05, "#"), (0.5, "#####"), (1.0, "##########")]
        {
            assert_eq!(stars(share, 10), expected, "{share}");
        }
    }

    #[test]
    fn a_line_holds_both_sides() {
        assert_eq!(
            line(&picture(300), TIMELINE),
            "300 s  eastus2 is 10x slower: no error, no 429; firstlight: 12 of 360000 slow, eastus2 degraded; \
             round robin: 100000 of 360000 slow, eastus2 takes turns"
        );
    }
}
