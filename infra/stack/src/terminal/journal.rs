//! The terminal's memory across restarts: which claims it took, which order sends it began, what it has to report.
//!
//! A line is in the file before the thing it announces is done. A claim without a line "sending" was never sent; a claim
//! that is not in the journal proves nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Fault;
use super::wire::{Confirm, MAGIC_SPAN};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The installation's name.
    Terminal(String),
    Claimed {
        magic: u64,
        attempt: u64,
    },
    Sending {
        magic: u64,
        attempt: u64,
    },
    /// To be delivered.
    Report {
        number: u64,
        confirm: Box<Confirm>,
    },
    /// Delivered, or refused for good.
    Answered(u64),
    /// A fault that happens once has happened.
    Crashed(Fault),
}

/// What is known of a signal that this journal took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Intent {
    /// The latest attempt.
    pub(super) attempt: u64,
    /// Whether an order send was begun, in this attempt or an earlier one.
    pub(super) sent: bool,
    /// Whether a report on the latest attempt is in the journal.
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    file: Option<File>,
    pub(super) terminal: Option<String>,
    pub(super) intents: HashMap<u64, Intent>,
    /// Undelivered reports, oldest first.
    pub(super) waiting: BTreeMap<u64, Confirm>,
    /// Deals and ended orders that a report accounts for.
    pub(super) covered: HashSet<u64>,
    pub(super) crashed: HashSet<Fault>,
    /// The account's base, once any signal was seen.
    pub(super) base: Option<u64>,
    next_number: u64,
}

impl Journal {
    /// Reads what is there; without a path nothing outlives the run.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut journal = Self { next_number: 1, ..Self::default() };
        let Some(path) = path else { return Ok(journal) };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("in use by another terminal")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let complete = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(complete as u64)?;
        for line in content[..complete].split_inclusive(|byte| *byte == b'\n') {
            journal.apply(serde_json::from_slice(line)?);
        }
        journal.file = Some(file);
        Ok(journal)
    }

    pub(super) fn name_terminal(&mut self, name: &str) -> io::Result<()> {
        self.write(vec![Line::Terminal(name.to_owned())])
    }

    /// One write for a whole answer.
    pub(super) fn claim(&mut self, claims: impl Iterator<Item = (u64, u64)>) -> io::Result<()> {
        self.write(claims.map(|(magic, attempt)| Line::Claimed { magic, attempt }).collect())
    }

    pub(super) fn sending(&mut self, magic: u64, attempt: u64) -> io::Result<()> {
        self.write(vec![Line::Sending { magic, attempt }])
    }

    pub(super) fn report(&mut self, confirm: Confirm) -> io::Result<u64> {
        let number = self.next_number;
        self.write(vec![Line::Report { number, confirm: Box::new(confirm) }])?;
        Ok(number)
    }

    pub(super) fn answered(&mut self, number: u64) -> io::Result<()> {
        self.write(vec![Line::Answered(number)])
    }

    pub(super) fn crashed(&mut self, fault: Fault) -> io::Result<()> {
        self.write(vec![Line::Crashed(fault)])
    }

    pub(super) fn intent(&self, id: u64) -> Option<Intent> {
        self.intents.get(&id).copied()
    }

    /// What was begun and nobody was told of, with its magic number, in the order of the signals.
    pub(super) fn untold(&self) -> Vec<(u64, Intent)> {
        let base = self.base.unwrap_or_default();
        let untold = self.intents.iter().filter(|(_, intent)| !intent.told);
        let mut untold: Vec<_> = untold.map(|(id, intent)| (base * MAGIC_SPAN + id, *intent)).collect();
        untold.sort_unstable_by_key(|(magic, _)| *magic);
        untold
    }

    pub(super) fn is_ours(&self, magic: u64) -> bool {
        self.base == Some(magic / MAGIC_SPAN)
    }

    /// File first, memory after: what memory says is always in the file.
    fn write(&mut self, lines: Vec<Line>) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut text = Vec::new();
            for line in &lines {
                serde_json::to_writer(&mut text, line)?;
                text.push(b'\n');
            }
            file.write_all(&text)?;
        }
        for line in lines {
            self.apply(line);
        }
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Terminal(name) => self.terminal = Some(name),
            Line::Claimed { magic, attempt } => {
                self.base = Some(magic / MAGIC_SPAN);
                let intent = self.intents.entry(magic % MAGIC_SPAN).or_default();
                intent.attempt = intent.attempt.max(attempt);
                intent.told = false;
            }
            Line::Sending { magic, .. } => self.intents.entry(magic % MAGIC_SPAN).or_default().sent = true,
            Line::Report { number, confirm } => {
                self.next_number = self.next_number.max(number + 1);
                self.covered.extend(confirm.covers());
                if let Some(intent) = confirm.id.and_then(|id| self.intents.get_mut(&id)) {
                    intent.told = true;
                }
                self.waiting.insert(number, *confirm);
            }
            Line::Answered(number) => {
                self.waiting.remove(&number);
            }
            Line::Crashed(fault) => {
                self.crashed.insert(fault);
            }
        }
    }
}
