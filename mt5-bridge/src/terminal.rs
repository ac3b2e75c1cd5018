//! The terminal: set up, started on the display, watched by its process and by its EA's polls, and closed in order.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::display::{Number, wait_for};
use crate::health::{Expert, State, hung};
use crate::install::{self, TERMINAL};
use crate::parts::Parts;
use crate::process::{Child, Children, ending};
use crate::settings::Settings;
use crate::wine::{Wine, windows};
use crate::{secret, startup};

/// How often silence and updates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The terminal has read its configuration by now, also where its EA can't poll yet.
const CONFIGURATION_READ: Duration = Duration::from_mins(1);
/// A terminal starts its server when there is none, which takes its time on a busy machine.
const SERVER_DEADLINE: Duration = Duration::from_secs(5);
/// Between the signal that ends and the one that kills.
const TERM_DEADLINE: Duration = Duration::from_secs(2);
/// In the folder for short-lived files.
pub(crate) const CONFIGURATION_FILE: &str = "start.ini";
/// Says that the EA once worked in this installation. Nothing else is kept.
pub(crate) const WORKED: &str = "ea-has-polled";

/// Everything a terminal needs.
pub(crate) struct Terminal<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) parts: &'a Parts,
    pub(crate) children: &'a Children,
    pub(crate) wine: Wine,
    /// Starts in a row after which the EA was not heard.
    pub(crate) silent_starts: AtomicU32,
}

impl Terminal<'_> {
    /// One run, from the set-up to the end; why it ended.
    pub(crate) async fn run(&self, numbers: &mut watch::Receiver<Number>, stop: &CancellationToken) -> String {
        let Some(display) = wait_for(numbers, stop).await else { return "stopped".to_owned() };
        // What a predecessor left would keep the old display and the old state.
        self.wine.end_all().await;
        let set_up = install::install(&self.parts.terminal, self.settings, &self.wine, display);
        let outcome = tokio::select! {
            outcome = set_up => outcome,
            () = gone(numbers.clone(), display) => Err("the display went away".to_owned()),
            () = stop.cancelled() => Err("stopped".to_owned()),
        };
        let why = match outcome.and_then(|()| self.start(display)) {
            Ok(child) => self.watch(child, display, numbers, stop).await,
            Err(error) => error,
        };
        secret::remove(&self.configuration());
        // What it left is yet to be ended, which takes a while: nobody is told meanwhile that it runs.
        self.parts.terminal.set(State::Down(why.clone()));
        self.wine.end_all().await;
        why
    }

    /// The start-up configuration with the account's password, for as long as the terminal has not read it.
    fn configuration(&self) -> PathBuf {
        self.settings.run.join(CONFIGURATION_FILE)
    }

    fn start(&self, display: u32) -> Result<Child, String> {
        let configuration = self.configuration();
        secret::write(&configuration, &startup::encode(&startup::ini(&self.settings.chart)))?;
        let folder = self.wine.program_folder(&self.settings.folder);
        let program = format!("C:\\Program Files\\{}\\{TERMINAL}", self.settings.folder);
        let config = format!("/config:{}", windows(&configuration));
        self.parts.seen.forget();
        let mut command = self.wine.program(display, &[&program, "/portable", &config]);
        let child = self.children.spawn(command.current_dir(folder))?;
        self.parts.terminal.set(State::Running(format!("as process {}", child.id)));
        Ok(child)
    }

    async fn watch(
        &self,
        child: Child,
        display: u32,
        numbers: &watch::Receiver<Number>,
        stop: &CancellationToken,
    ) -> String {
        let started = Instant::now();
        let mut course = Course { started, served_at: started };
        // None: the one that we started has ended, and one that its updater started is watched instead.
        let mut child = Some(child);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            let why = tokio::select! {
                status = end_of(&mut child) => {
                    if !self.wine.any_of(&self.settings.folder) {
                        return ending(status);
                    }
                    tracing::info!("the terminal ended and left a program of its own: an update; watching that");
                    child = None;
                    // It starts anew, and takes its time for that.
                    self.parts.seen.forget();
                    course.started = Instant::now();
                    self.parts.terminal.set(State::Preparing("the terminal updates itself".to_owned()));
                    continue;
                }
                _ = look.tick() => match self.look(&mut course, child.is_none()) {
                    Some(why) => why,
                    None => continue,
                },
                () = gone(numbers.clone(), display) => "the display went away".to_owned(),
                () = stop.cancelled() => "stopped".to_owned(),
            };
            self.parts.terminal.set(State::Preparing(format!("closing the terminal: {why}")));
            self.end(child, display).await;
            return why;
        }
    }

    /// Why the terminal must be ended now, if it must.
    fn look(&self, course: &mut Course, updated: bool) -> Option<String> {
        let running = course.started.elapsed();
        let Expert { poll, heard, .. } = self.parts.seen.expert();
        let worked = self.worked(poll.is_some());
        if poll.is_some() || running > CONFIGURATION_READ {
            secret::remove(&self.configuration());
        }
        if self.wine.serves() {
            course.served_at = Instant::now();
        } else if course.served_at.elapsed() > SERVER_DEADLINE {
            return Some("Wine's server is gone".to_owned());
        }
        if updated && !self.wine.any_of(&self.settings.folder) {
            return Some("ended after an update".to_owned());
        }
        if updated && heard.is_some() {
            self.parts.terminal.set(State::Running("as its updater started it".to_owned()));
        }
        let silent_starts = self.silent_starts.load(Ordering::Relaxed);
        let why = hung(running, heard, worked, silent_starts, &self.settings.limits);
        if heard.is_some() {
            self.silent_starts.store(0, Ordering::Relaxed);
        } else if why.is_some() {
            self.silent_starts.store(silent_starts.saturating_add(1), Ordering::Relaxed);
        }
        why
    }

    /// Whether the EA has ever polled in this installation, which is noted down when it does.
    fn worked(&self, polls: bool) -> bool {
        let mark = self.settings.data.join(WORKED);
        if mark.exists() {
            return true;
        }
        if polls && let Err(error) = std::fs::write(&mark, "") {
            tracing::warn!(%error, "can't note that the EA works");
        }
        polls
    }

    async fn nothing_runs(&self) {
        while self.wine.any_of(&self.settings.folder) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Asks the terminal to close, then ends it, then kills it, each within its deadline.
    async fn end(&self, mut child: Option<Child>, display: u32) {
        let asked = Instant::now();
        // Without its server it hears nothing, and a new server would not know it.
        if self.wine.serves() {
            self.wine.close(display, TERMINAL).await;
            let closed = async {
                match &mut child {
                    Some(child) => drop(child.wait().await),
                    None => self.nothing_runs().await,
                }
            };
            let left = self.settings.limits.close.saturating_sub(asked.elapsed());
            if tokio::time::timeout(left, closed).await.is_ok() {
                return;
            }
        }
        if let Some(child) = &mut child {
            tracing::warn!("the terminal did not close when asked to, ending it");
            child.end(Signal::TERM, TERM_DEADLINE).await;
        }
    }
}

/// One run of the terminal so far.
struct Course {
    started: Instant,
    /// When Wine's server was last seen, or else the start.
    served_at: Instant,
}

/// The end of our own child, if it still runs.
async fn end_of(child: &mut Option<Child>) -> Result<std::process::ExitStatus, String> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

/// Returns when this display is no longer the one that runs.
async fn gone(mut numbers: watch::Receiver<Number>, display: u32) {
    // An error says that nobody keeps the display any more.
    let _ = numbers.wait_for(|number| *number != Some(display)).await;
}
