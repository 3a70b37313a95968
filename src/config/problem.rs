//! What is wrong with a file, where, and what to write instead.
//!
//! A reader that meets a mistake notes it here and goes on, so that one run tells everything. Nothing in
//! this module quotes a value by itself: the caller decides what may be repeated, because a value that
//! stands where a secret belongs must never be.

use serde::Serialize;
use std::fmt;

/// A place in the file; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A place and the key path that leads there.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) path: String,
}

/// One mistake, or one warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: u32,
    /// Column in the line, in characters, from 1.
    pub column: u32,
    /// The key, such as `backends.eastus2.endpoint` or `listen[0].tls.key`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub wrong: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, wrong, instead } = self;
        let path = if path.is_empty() { "(file)" } else { path };
        write!(f, "{line}:{column}  {path}: {wrong}; {instead}")
    }
}

/// Collects what the readers find.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// The file cannot be used as it is.
    pub(super) fn refuse(
        &mut self,
        spot: &Spot,
        wrong: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.errors.push(problem(spot, wrong.into(), instead.into()));
    }

    /// The file can be used, but hardly does what its author wants.
    pub(super) fn warn(
        &mut self,
        spot: &Spot,
        wrong: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.warnings.push(problem(spot, wrong.into(), instead.into()));
    }

    /// The warnings, or every error, sorted by place.
    pub(super) fn settle(mut self) -> Result<Vec<Problem>, Vec<Problem>> {
        self.errors.sort();
        self.warnings.sort();
        if self.errors.is_empty() { Ok(self.warnings) } else { Err(self.errors) }
    }
}

fn problem(spot: &Spot, wrong: String, instead: String) -> Problem {
    let Place { line, column } = spot.place;
    Problem { line, column, path: spot.path.clone(), wrong, instead }
}

/// A name from the file as it may be printed: no control characters, no screenful.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 64;
    let mut short: String = name.chars().take(MOST).flat_map(char::escape_debug).collect();
    if name.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
