//! Paths of Firstlight's own on this machine: the operator's socket and the directory of what is kept.
//!
//! A default is used only where its directory exists, so that a file which names neither runs anywhere; a path
//! that is written must work. Which of the two it is is part of the checked value.

use crate::config::at::At;
use crate::config::checked::Place;
use crate::config::keys;
use crate::config::keys::Text;
use crate::config::problem::Problems;
use crate::config::secrets;
use crate::config::section::Section;
use std::path::PathBuf;

/// What a unix socket's address holds, in bytes, without the closing zero.
const SOCKET_PATH_MAX: usize = 107;

/// Reads `admin.socket`.
pub(super) fn admin_socket(file: &Section<'_>, problems: &mut Problems) -> Place {
    // What is wrong with `admin` itself is noted where its address is read.
    let section = file.inner("admin", &mut Problems::default());
    let place = place(&section, &keys::ADMIN_SOCKET, problems);
    if let (Place::Named(path), Some(at)) = (&place, at(&section, &keys::ADMIN_SOCKET)) {
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            problems.refuse(
                &at.spot,
                "longer than the 107 bytes of a unix socket's path",
                "write a shorter one",
            );
        } else if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            problems.refuse(&at.spot, "a directory", "write the path of the socket in it");
        }
    }
    place
}

/// Reads `state_directory`.
pub(super) fn state_directory(file: &Section<'_>, problems: &mut Problems) -> Place {
    place(file, &keys::STATE_DIRECTORY, problems)
}

fn place(section: &Section<'_>, key: &'static Text, problems: &mut Problems) -> Place {
    let Some(at) = at(section, key) else { return Place::Usual(PathBuf::from(key.shown)) };
    let what = format!("an absolute path such as {}, or `none`", key.shown);
    match secrets::path(at, &what, problems) {
        None => Place::Off,
        Some(path) if path.as_os_str() == "none" => Place::Off,
        Some(path) => {
            if !path.is_absolute() {
                problems.refuse(&at.spot, "not an absolute path", format!("write {what}"));
            }
            Place::Named(path)
        }
    }
}

fn at<'a, 'b>(section: &'b Section<'a>, key: &'static Text) -> Option<&'b At<'a>> {
    section.get(keys::name(key.path))
}
