//! The file of which backend keeps what, `kept.jsonl` in the state directory: one line for each id, added to while the
//! process runs, so that a follow-up finds its backend after a restart.
//!
//! Two processes may have it open: while an old one finishes its streams the new one serves. So what is written is
//! added at the end, under a lock, and what another process added is read; each id is known to both within half a second.
//! The file is written anew, without what is over, when a process starts or when it has grown far beyond what is
//! known. A line that cannot be read is passed over: one that was torn by a full disk costs one id. Nothing here is
//! waited for by a request.

use crate::live::Live;
use crate::owners::Record;
use crate::state_file::replace;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// The file's name.
const NAME: &str = "kept.jsonl";
/// The file that is locked: the other one is replaced.
const LOCK: &str = "kept.lock";
/// How often what is new is written and read. A crash costs what was made within it.
const INTERVAL: Duration = Duration::from_millis(200);
/// A larger file is not ours, or not worth reading: it holds several million ids.
const MAX_BYTES: u64 = 1 << 30;
/// Lines beyond twice what is known before the file is written anew.
const SLACK_LINES: usize = 10_000;

/// The background service.
pub struct Journal {
    live: Arc<Live>,
    directory: PathBuf,
    place: Mutex<Place>,
}

/// How far the file was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Which file: it is replaced when it is written anew.
    inode: u64,
    bytes: u64,
    lines: usize,
    /// Whether the last round failed: told once.
    failing: bool,
}

/// Why what is kept where cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}; the state directory must be writable and have room", path = path.display())]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

impl Journal {
    /// A journal of what is live, in a directory that must exist and be ours.
    pub fn new(live: Arc<Live>, directory: PathBuf) -> Self {
        live.kept().hold_news();
        Self { live, directory, place: Mutex::default() }
    }

    /// Reads what a former process wrote and writes it anew. Call it once, before requests come.
    pub async fn restore(&self) {
        self.round().await;
        let (live, directory) = (Arc::clone(&self.live), self.directory.clone());
        let mut place = self.place.lock().await;
        let before = *place;
        let renewing = spawn_blocking(move || renew(&directory, &live, before));
        match renewing.await {
            Ok(Ok(renewed)) => *place = renewed,
            Ok(Err(error)) => tracing::warn!(%error, "the file of kept ids is not written anew"),
            Err(error) => tracing::error!(%error, "the file of kept ids cannot be written"),
        }
        tracing::info!(ids = self.live.kept().len(), "ids are known from before");
    }

    /// Writes what is new here, and reads what is new in the file.
    pub async fn round(&self) {
        let mut place = self.place.lock().await;
        let news = self.live.kept().take_news();
        let (live, directory, before) = (Arc::clone(&self.live), self.directory.clone(), *place);
        let count = news.len();
        let done = spawn_blocking(move || exchange(&directory, &live, news, before));
        let failing = match done.await {
            Ok(Ok(after)) => {
                *place = after;
                None
            }
            Ok(Err((error, news))) => {
                self.live.kept().give_back(news);
                Some(error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        match (&failing, before.failing) {
            (Some(error), false) => {
                tracing::warn!(%error, ids = count, "new ids are not written: after a restart their backends are not known");
            }
            (None, true) => tracing::info!("new ids are written again"),
            _ => {}
        }
        place.failing = failing.is_some();
    }
}

#[async_trait]
impl BackgroundService for Journal {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let stops = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                _ = shutdown.changed() => true,
            };
            self.round().await;
            if stops {
                return;
            }
        }
    }
}

type Failed = (JournalError, Vec<Record>);

/// One round: what others added is read, then what is new is added.
fn exchange(
    directory: &Path,
    live: &Live,
    news: Vec<Record>,
    before: Place,
) -> Result<Place, Failed> {
    let path = directory.join(NAME);
    let read = || read_on(&path, live, before);
    let done = if news.is_empty() {
        read()
    } else {
        lock(directory).and_then(|_held| add(&path, &news, read()?))
    };
    let place = match done {
        Ok(place) => place,
        Err(source) => return Err((JournalError { path, source }, news)),
    };
    if place.lines > 2 * live.kept().len() + SLACK_LINES {
        return renew(directory, live, place).map_err(|error| (error, Vec::new()));
    }
    Ok(place)
}

/// Adds lines at the end, to which the file was read; they are not read again, for by then some may be forgotten. A
/// line that was torn before is ended first.
fn add(path: &Path, news: &[Record], read: Place) -> io::Result<Place> {
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let about = file.metadata()?;
    let length = about.len();
    let mut text = String::new();
    if length > 0 {
        let mut last = [0_u8];
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.extend(news.iter().map(Record::line));
    if let Err(error) = file.write_all(text.as_bytes()) {
        // Half of it must not stand there: it is written again later.
        file.set_len(length)?;
        return Err(error);
    }
    let bytes = length + u64::try_from(text.len()).unwrap_or(u64::MAX);
    Ok(Place { inode: about.ino(), bytes, lines: read.lines + news.len(), failing: read.failing })
}

/// Reads whole lines from where the last round ended; from the beginning if the file is another.
fn read_on(path: &Path, live: &Live, before: Place) -> io::Result<Place> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::default()),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if about.len() > MAX_BYTES {
        return Err(io::Error::other("it is larger than any that is written here; move it away"));
    }
    let same = about.ino() == before.inode && about.len() >= before.bytes;
    let mut place = if same { before } else { Place { inode: about.ino(), ..Place::default() } };
    file.seek(SeekFrom::Start(place.bytes))?;
    let mut text = Vec::new();
    file.take(about.len() - place.bytes).read_to_end(&mut text)?;
    let whole = memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1);
    text.truncate(whole);
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let mut records = Vec::new();
    for line in lines {
        place.lines += 1;
        records.extend(Record::read(line));
    }
    live.kept().restore(&records, live.clock().unix().as_secs());
    place.bytes += u64::try_from(whole).unwrap_or(u64::MAX);
    Ok(place)
}

/// Writes the file anew, with what is known and not over. What another process adds meanwhile waits for the lock. Of
/// the old file only what was not read before is: the rest would bring back what was forgotten, in the place of what
/// is in use.
fn renew(directory: &Path, live: &Live, before: Place) -> Result<Place, JournalError> {
    let path = directory.join(NAME);
    let failed = |source| JournalError { path: path.clone(), source };
    let _held = lock(directory).map_err(failed)?;
    read_on(&path, live, before).map_err(failed)?;
    let records = live.kept().records(live.clock().unix().as_secs());
    let text: String = records.iter().map(Record::line).collect();
    let mut inode = 0;
    let write = |file: &mut File| {
        file.write_all(text.as_bytes())?;
        inode = file.metadata()?.ino();
        file.sync_all()
    };
    replace(&path, write).map_err(failed)?;
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    Ok(Place { inode, bytes, lines: records.len(), failing: false })
}

/// Holds the lock until it is dropped.
fn lock(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file =
        options.write(true).create(true).truncate(false).mode(0o600).open(directory.join(LOCK))?;
    file.lock()?;
    Ok(file)
}
