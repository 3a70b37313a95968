//! Signing keys in the state directory, for a process that starts while Entra cannot be reached.
//!
//! One file per tenant, replaced as a whole. It holds the document as it was fetched, which is public, and is read
//! with the same suspicion as one that is fetched: whoever could write it could sign tokens, so the directory is
//! ours alone.

use crate::auth::signing_keys::{DOCUMENT_BYTES_MAX, SigningKeys};
use crate::live::Tenant;
use crate::state_file::replace;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The form that this program writes and reads.
const VERSION: u32 = 1;
/// The document as text in JSON takes at most so much, and some.
const FILE_BYTES_MAX: usize = 2 * DOCUMENT_BYTES_MAX;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    tenant: String,
    authority: String,
    /// Seconds since 1970.
    fetched: u64,
    document: String,
}

/// Keeps a key set of (tenant id, authority). Blocks.
pub(super) fn save(
    directory: &Path,
    (tenant, authority): &(String, String),
    document: &[u8],
    fetched: u64,
) -> Result<(), String> {
    let path = place(directory, tenant);
    let kept = Kept {
        version: VERSION,
        tenant: tenant.clone(),
        authority: authority.clone(),
        fetched,
        document: String::from_utf8_lossy(document).into_owned(),
    };
    let write = |file: &mut File| {
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()
    };
    replace(&path, write).map_err(|error| format!("{}: {error}", path.display()))
}

/// The keys that were kept, and when they were fetched; `None` if there are none. Blocks.
pub(super) fn load(
    directory: &Path,
    tenant: &Tenant,
    now: u64,
) -> Result<Option<(SigningKeys, u64)>, String> {
    let path = place(directory, tenant.id());
    let told = |wrong: String| format!("{}: {wrong}; they are fetched anew", path.display());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error.to_string())),
    };
    let mut text = Vec::new();
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut text).map_err(|error| told(error.to_string()))?;
    let kept: Kept =
        serde_json::from_slice(&text).map_err(|_| told("not a file of ours".to_owned()))?;
    if kept.version != VERSION {
        return Err(told(format!("of version {}", kept.version)));
    }
    if kept.tenant != tenant.id() || kept.authority != tenant.authority {
        return Err(told("of another tenant or authority".to_owned()));
    }
    let keys = SigningKeys::parse(kept.document.as_bytes(), &tenant.issuer);
    let keys = keys.map_err(|bad| told(bad.to_string()))?;
    Ok(Some((keys, kept.fetched.clamp(1, now.max(1)))))
}

/// Tenant ids are GUIDs: nothing in one leads elsewhere.
fn place(directory: &Path, tenant: &str) -> PathBuf {
    directory.join(format!("signing-keys-{tenant}.json"))
}
