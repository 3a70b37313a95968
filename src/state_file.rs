//! The file of what was learned, `learned.json` in the state directory: read when a process starts, replaced as
//! a whole while it runs.
//!
//! A reader sees an old file or a new one, never a part: it is written beside the old one, synced and renamed.
//! A file that cannot be used never keeps a process from starting; it is kept aside as `learned.json.rejected`
//! for whoever wants to know why.

use crate::live::Learned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The form that this program writes, and the newest that it reads.
const VERSION: u32 = 1;
/// The file's name.
const NAME: &str = "learned.json";
/// Larger files are not ours: a thousand targets take about 300 KiB.
const MAX_BYTES: u64 = 16 << 20;
/// A clock may have been set back by this much.
const MAX_AHEAD: Duration = Duration::from_mins(5);

/// Why what was learned cannot be saved.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: what was learned cannot be saved: {source}; the state directory must exist, be writable and have room",
    path = path.display()
)]
pub struct SaveError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

/// Why what was learned cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}; check its owner and mode", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file was read and cannot be used.
    #[error(
        "{path}: {wrong}; it is {kept}, and this process starts with nothing learned and nothing drained",
        path = path.display()
    )]
    Rejected {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        wrong: Wrong,
        /// What became of it.
        kept: Kept,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// Larger than any that we write.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not the JSON that we write.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Of a form that this program does not know.
    #[error("its version is {0}, and this program knows {VERSION}")]
    Version(u64),
    /// Written later than now.
    #[error("it was written {} s in the future", .0.as_secs())]
    Future(Duration),
}

/// What became of a file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Kept {
    /// It was renamed.
    #[error("kept as {}", .0.display())]
    Aside(PathBuf),
    /// It could not be renamed.
    #[error("left where it is ({0})")]
    InPlace(io::Error),
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    learned: &'a Learned,
}

/// Read first: of another version nothing else need be as it is here.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// Replaces the file in `directory`. Blocks.
pub fn save(directory: &Path, learned: &Learned) -> Result<(), SaveError> {
    let write = |file: &mut File| {
        let json = serde_json::to_vec(&Written { version: VERSION, learned })?;
        file.write_all(&json)?;
        file.sync_all()
    };
    let path = directory.join(NAME);
    replace(&path, write).map_err(|source| SaveError { path, source })
}

/// Finds out whether something can be saved in `directory`, which it leaves as it is. Blocks.
pub fn try_out(directory: &Path) -> Result<(), SaveError> {
    let path = directory.join(NAME);
    let tried = create_beside(&path).and_then(|(beside, _)| fs::remove_file(beside));
    tried.map_err(|source| SaveError { path, source })
}

/// What a former process saved in `directory`; `None` if there is nothing. `unix` is the time since 1970.
pub fn load(directory: &Path, unix: Duration) -> Result<Option<Learned>, LoadError> {
    let path = directory.join(NAME);
    let json = match read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LoadError::Unreadable { path, source }),
    };
    parse(&json, unix).map(Some).map_err(|wrong| {
        let aside = directory.join(format!("{NAME}.rejected"));
        let moved = fs::rename(&path, &aside);
        let kept = moved.map_or_else(Kept::InPlace, |()| Kept::Aside(aside));
        LoadError::Rejected { path, wrong, kept }
    })
}

/// What a process saved in `directory`, if it can be used. Nothing is changed there.
pub fn peek(directory: &Path, unix: Duration) -> Option<Learned> {
    parse(&read(&directory.join(NAME)).ok()?, unix).ok()
}

/// At most one byte more than is allowed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut json)?;
    Ok(json)
}

fn parse(json: &[u8], unix: Duration) -> Result<Learned, Wrong> {
    if u64::try_from(json.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Wrong::TooLarge);
    }
    let Version { version } = serde_json::from_slice(json)?;
    if version != u64::from(VERSION) {
        return Err(Wrong::Version(version));
    }
    let learned: Learned = serde_json::from_slice(json)?;
    let ahead = Duration::from_secs(learned.saved_at_unix_seconds).saturating_sub(unix);
    if ahead > MAX_AHEAD { Err(Wrong::Future(ahead)) } else { Ok(learned) }
}

/// Writes a file of ours only beside `path` and puts it in its place. On any error the old one stands, and
/// nothing is left beside it.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let (beside, mut file) = create_beside(path)?;
    let replaced = write(&mut file).and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&beside));
        return replaced;
    }
    // The name, too, is to survive a power cut.
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// A new file of ours only beside `path`.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    // Two processes may save at once while one takes over from the other, and so may two threads.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{}-{}", process::id(), COUNT.fetch_add(1, Relaxed));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{unique}.new"));
    let beside = path.with_file_name(name);
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    let file = match create() {
        // A process with the same id died in the middle: in a container every one has the same.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&beside)?;
            create()?
        }
        created => created?,
    };
    Ok((beside, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const NOW: Duration = Duration::from_hours(500_000);

    fn directory() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn learned() -> Learned {
        Learned {
            saved_at_unix_seconds: NOW.as_secs(),
            drained: ["westus3".to_owned()].into(),
            models: [("gpt-4o".to_owned(), crate::routing::LearnedPool::default())].into(),
        }
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A file with that content is rejected so, and kept aside.
    fn check_rejected(content: &[u8], wrong: &str) {
        let directory = directory();
        fs::write(directory.path().join("learned.json.rejected"), "an older one").unwrap();
        fs::write(directory.path().join(NAME), content).unwrap();
        let error = load(directory.path(), NOW).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
        assert!(error.contains("kept as ") && error.contains(NAME), "{error}");
        assert_eq!(names(&directory), ["learned.json.rejected"]);
        assert_eq!(fs::read(directory.path().join("learned.json.rejected")).unwrap(), content);
        assert!(load(directory.path(), NOW).unwrap().is_none(), "told once");
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_may_read_it() {
        let directory = directory();
        assert!(load(directory.path(), NOW).unwrap().is_none());
        save(directory.path(), &Learned::default()).unwrap();
        save(directory.path(), &learned()).unwrap();
        assert_eq!(load(directory.path(), NOW).unwrap(), Some(learned()));
        assert_eq!(names(&directory), [NAME]);
        let mode = fs::metadata(directory.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_file_says_what_it_is() {
        let directory = directory();
        save(directory.path(), &learned()).unwrap();
        let text = fs::read_to_string(directory.path().join(NAME)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["version"], 1);
        assert_eq!(value["saved_at_unix_seconds"], 1_800_000_000_u64);
        assert_eq!(value["drained"], serde_json::json!(["westus3"]));
        assert!(value["models"]["gpt-4o"]["targets"].is_object(), "{value}");
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_rejected() {
        let whole = serde_json::to_vec(&Written { version: VERSION, learned: &learned() }).unwrap();
        assert!(parse(&whole, NOW).is_ok());
        for length in 0..whole.len() {
            let cut = parse(&whole[..length], NOW);
            assert!(matches!(cut, Err(Wrong::Damaged(_))), "{length} bytes");
        }
        check_rejected(&whole[..whole.len() / 2], "it is damaged: EOF");
    }

    #[test]
    fn what_is_no_file_of_ours_is_rejected() {
        check_rejected(b"", "it is damaged");
        check_rejected(b"\x00\xff\xfe garbage", "it is damaged");
        check_rejected(b"[]", "it is damaged");
        check_rejected(b"{\"version\": 1}", "it is damaged: missing field");
        check_rejected(b"{\"version\": -1}", "it is damaged");
        check_rejected("[".repeat(100_000).as_bytes(), "it is damaged");
        check_rejected(b"{\"version\": 2, \"anything\": []}", "its version is 2");
        let large = vec![b' '; usize::try_from(MAX_BYTES).unwrap() + 1];
        check_rejected(&large, "larger than 16777216 bytes");
    }

    #[test]
    fn a_file_from_the_future_is_rejected_unless_the_clock_was_set_back_a_little() {
        let at = |seconds| {
            let learned = Learned { saved_at_unix_seconds: seconds, ..learned() };
            serde_json::to_vec(&Written { version: VERSION, learned: &learned }).unwrap()
        };
        assert!(parse(&at(NOW.as_secs() + 300), NOW).is_ok());
        check_rejected(&at(NOW.as_secs() + 301), "301 s in the future");
        check_rejected(&at(u64::MAX), "in the future");
    }

    #[test]
    fn without_a_directory_there_is_nothing_to_load_and_nowhere_to_save() {
        let gone = directory().path().join("gone");
        assert!(load(&gone, NOW).unwrap().is_none());
        let error = save(&gone, &learned()).unwrap_err().to_string();
        assert!(error.contains("gone/learned.json") && error.contains("must exist"), "{error}");
    }

    /// A file stands where the directory should be: an error for any user, as root, too.
    #[test]
    fn a_directory_that_takes_no_file_is_an_error() {
        let directory = directory();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = save(&file, &learned()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotADirectory);
        let error = load(&file, NOW).unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    }

    /// Where this user may not write, nothing changes; root may.
    #[test]
    fn a_read_only_directory_is_an_error_for_those_who_may_not_write() {
        let directory = directory();
        save(directory.path(), &Learned::default()).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let may = File::create(directory.path().join("tried")).is_ok();
        assert_eq!(save(directory.path(), &learned()).is_ok(), may);
        let expected = if may { learned() } else { Learned::default() };
        assert_eq!(load(directory.path(), NOW).unwrap(), Some(expected));
    }

    #[test]
    fn when_the_disk_is_full_the_old_file_stands_and_nothing_is_left_over() {
        let directory = directory();
        save(directory.path(), &learned()).unwrap();
        let full = |file: &mut File| {
            file.write_all(b"{\"version\": 1, \"s")?;
            OpenOptions::new().write(true).open("/dev/full")?.write_all(b"ed_at")
        };
        let error = replace(&directory.path().join(NAME), full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(&directory), [NAME]);
        assert_eq!(load(directory.path(), NOW).unwrap(), Some(learned()));
    }
}
