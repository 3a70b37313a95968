//! Reading a configuration file from the disk, for the start, for `firstlight check` and for reloads.

use super::Refused;
use crate::config::{self, Checked};
use std::io;
use std::path::Path;

/// Reads a file as text.
pub fn read(path: &Path) -> Result<String, Refused> {
    let unreadable = |why| Refused::Unreadable { path: path.to_owned(), why };
    if path.is_dir() {
        let why = io::Error::new(io::ErrorKind::IsADirectory, "a directory; name the file in it");
        return Err(unreadable(why));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let lines = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        let wrong = format!("line {} is not UTF-8; save the file as UTF-8", lines + 1);
        unreadable(io::Error::new(io::ErrorKind::InvalidData, wrong))
    })
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Checked, Refused> {
    let text = read(path)?;
    config::check(&text).map_err(|problems| Refused::Problems { path: path.to_owned(), problems })
}
