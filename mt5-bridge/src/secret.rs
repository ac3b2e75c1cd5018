//! Files that hold a secret for as long as a program needs to read it: for their owner alone, and removed after; and the
//! folders they are in.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::Access;

/// A folder that only its owner can enter, where there is none yet; and that we can write to it.
pub(crate) fn folder(path: &Path) -> Result<(), String> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| format!("{} can't be made: {error}", path.display()))?;
    writable(path)
}

/// Whether we can write to a folder: a volume may belong to another user, and a container's root be read-only.
pub(crate) fn writable(path: &Path) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    let outcome = rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK);
    outcome.map_err(|error| format!("{} must be a folder that user {user} can write to: {error}", path.display()))
}

/// Writes a file anew.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    // Never into a file that somebody else may have open.
    remove(path);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(content));
    written.map_err(|error| format!("{} can't be written: {error}", path.display()))
}

/// Removes a file, which need not be there.
pub(crate) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::error!(file = %path.display(), %error, "a file with a secret can't be removed");
        }
        _ => {}
    }
}
