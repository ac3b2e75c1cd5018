//! The market on disk: a snapshot, and a log of the effects since, one JSON line for each call that had any.
//!
//! A line is complete or it does not count: the log is written with one call before the answer, and a torn last line,
//! whose answer nobody ever saw, is cut off at the next start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::state::{Effect, Prices, State};

/// Lines after which a snapshot is worth its writing, at least; later as many as the last snapshot's history was long,
/// so that the cost per line stays the same.
const COMPACT_AFTER: usize = 1_000;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) effects: Vec<Effect>,
    pub(super) prices: Prices,
}

#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    log: File,
    lines: usize,
    compact_after: usize,
}

impl Store {
    /// Opens or makes the folder; the state is none where nothing was stored yet.
    pub(super) fn open(folder: &Path) -> Result<(Self, Option<State>), Error> {
        fs::create_dir_all(folder).map_err(|error| io(folder, error))?;
        let path = folder.join("market.log");
        let mut log =
            OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(|error| io(&path, error))?;
        match log.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(path.display().to_string())),
            Err(TryLockError::Error(error)) => return Err(io(&path, error)),
        }
        let mut store = Self {
            folder: folder.to_owned(),
            log: log.try_clone().map_err(|error| io(&path, error))?,
            lines: 0,
            compact_after: COMPACT_AFTER,
        };
        let Some(mut state) = read_snapshot(folder)? else {
            return Ok((store, None));
        };
        store.compact_after = due_after(&state);
        let mut content = Vec::new();
        log.read_to_end(&mut content).map_err(|error| io(&path, error))?;
        let complete = whole_lines(&content);
        log.set_len(complete.len() as u64).map_err(|error| io(&path, error))?;
        store.lines = replay(&mut state, complete, &path)?;
        Ok((store, Some(state)))
    }

    /// Appends a record that `state` holds already.
    pub(super) fn append(&mut self, record: &Record, state: &State) -> Result<(), Error> {
        let path = self.folder.join("market.log");
        let mut line = serde_json::to_vec(record).map_err(|error| corrupt(&path, error.to_string()))?;
        line.push(b'\n');
        self.log.write_all(&line).map_err(|error| io(&path, error))?;
        self.lines += 1;
        if self.lines >= self.compact_after {
            self.compact(state)?;
        }
        Ok(())
    }

    /// Writes the whole state beside the old one, puts it in its place, then empties the log.
    pub(super) fn compact(&mut self, state: &State) -> Result<(), Error> {
        let (path, next) = (self.folder.join("market.json"), self.folder.join("market.json.next"));
        let content = serde_json::to_vec(state).map_err(|error| corrupt(&path, error.to_string()))?;
        let mut file = File::create(&next).map_err(|error| io(&next, error))?;
        file.write_all(&content).and_then(|()| file.sync_all()).map_err(|error| io(&next, error))?;
        fs::rename(&next, &path).map_err(|error| io(&path, error))?;
        self.log.set_len(0).map_err(|error| io(&path, error))?;
        self.lines = 0;
        self.compact_after = due_after(state);
        Ok(())
    }
}

impl Drop for Store {
    /// Closing the file would leave the lock to a child process that is being started at this moment.
    fn drop(&mut self) {
        let _ = self.log.unlock();
    }
}

/// What is stored in a folder, also of a market that is open. One that is busy may write a snapshot in between; then the
/// older one lacks what the log no longer has, and all is read again.
pub(super) fn read(folder: &Path) -> Result<State, Error> {
    let path = folder.join("market.log");
    loop {
        let snapshot = read_snapshot(folder)?;
        let mut state = snapshot.ok_or_else(|| corrupt(folder, "there are no books of a market".to_owned()))?;
        let (sequence, content) = (state.sequence, fs::read(&path).map_err(|error| io(&path, error))?);
        if read_snapshot(folder)?.is_some_and(|now| now.sequence == sequence) {
            replay(&mut state, whole_lines(&content), &path)?;
            return Ok(state);
        }
    }
}

fn read_snapshot(folder: &Path) -> Result<Option<State>, Error> {
    let path = folder.join("market.json");
    match fs::read(&path) {
        Ok(content) => serde_json::from_slice(&content).map(Some).map_err(|error| corrupt(&path, error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&path, error)),
    }
}

/// Without a torn last line.
fn whole_lines(content: &[u8]) -> &[u8] {
    &content[..content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)]
}

/// Applies the log to its snapshot; the number of lines.
fn replay(state: &mut State, log: &[u8], path: &Path) -> Result<usize, Error> {
    let mut lines = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        let record: Record = serde_json::from_slice(line).map_err(|error| corrupt(path, error.to_string()))?;
        lines += 1;
        // A crash between writing a snapshot and emptying the log leaves lines that the snapshot has already.
        if record.sequence > state.sequence {
            record.effects.iter().for_each(|effect| state.apply(effect));
            state.sequence = record.sequence;
            state.prices = record.prices;
        }
    }
    state.fault().map_or(Ok(lines), |reason| Err(corrupt(path, reason)))
}

fn due_after(snapshot: &State) -> usize {
    COMPACT_AFTER.max(snapshot.deals.len() + snapshot.history.len())
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), source }
}

fn corrupt(path: &Path, reason: String) -> Error {
    Error::Corrupt { path: path.display().to_string(), reason }
}
