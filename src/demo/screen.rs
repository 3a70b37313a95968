//! Where the demo speaks: a terminal that is drawn over, plain lines, or nothing before the end.
//!
//! The terminal is drawn over from where the cursor was, so that what stood above stays. Lines are not
//! wrapped meanwhile (a wrapped one would count twice on the way up) and the cursor is hidden; dropping the
//! screen undoes both, however the demo ends.

use std::io;
use std::io::Write;

/// Standard output, with a picture on it that can be replaced.
pub(super) struct Screen {
    out: io::Stdout,
    /// Lines of the picture that is on it.
    drawn: usize,
    live: Live,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Live {
    Yes,
    No,
}

const HIDE_CURSOR_AND_CUT: &str = "\x1b[?25l\x1b[?7l";
const SHOW_CURSOR_AND_WRAP: &str = "\x1b[?25h\x1b[?7h";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";

impl Screen {
    pub(super) fn new() -> Self {
        Self { out: io::stdout(), drawn: 0, live: Live::No }
    }

    /// Draws a picture over the one before.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let begin = if self.live == Live::No { HIDE_CURSOR_AND_CUT } else { "" };
        self.live = Live::Yes;
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let parts = lines.iter().flat_map(|line| ["\r", line.as_str(), CLEAR_TO_END_OF_LINE, "\n"]);
        let text: String = [begin, up.as_str()].into_iter().chain(parts).collect();
        self.drawn = lines.len();
        self.write(&text)
    }

    /// Prints lines below the picture, which stays as it is.
    pub(super) fn print(&mut self, lines: &[String]) -> io::Result<()> {
        self.restore()?;
        self.drawn = 0;
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        self.write(&text)
    }

    fn restore(&mut self) -> io::Result<()> {
        if self.live == Live::No {
            return Ok(());
        }
        self.live = Live::No;
        self.write(SHOW_CURSOR_AND_WRAP)
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to hear that the terminal is gone.
        drop(self.restore());
    }
}
