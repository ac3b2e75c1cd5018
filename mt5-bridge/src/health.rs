//! What is known of the parts, told in plain words, and whether the terminal hangs. Pure: times are ages.
//!
//! Invariant: only what was seen counts. A process that runs is not yet a terminal that trades.

use std::time::Duration;

use serde::Serialize;

use crate::settings::Limits;

/// An account update, or a poll, that is older says nothing about now.
const AGE_MAX: Duration = Duration::from_mins(1);
/// After so many silent starts in a row the time that a start is given grows no more: 32 times as long.
const SILENT_STARTS_MAX: u32 = 5;

/// What one program does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not wanted, and why.
    Off(&'static str),
    /// On its way; what is done.
    Preparing(String),
    /// Runs, in words that say where.
    Running(String),
    /// Ended, and why; it is started again after a pause.
    Down(String),
}

/// What was seen of the EA; ages are counted from now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expert {
    /// Its last request of any kind since the terminal's start.
    pub(crate) heard: Option<Duration>,
    /// Its last poll since the terminal's start.
    pub(crate) poll: Option<Duration>,
    /// Its last account update since the terminal's start.
    pub(crate) update: Option<Duration>,
    /// The terminal's own word on its connection to the broker.
    pub(crate) connected: Option<bool>,
    /// Its word on whether trading is allowed.
    pub(crate) trade_allowed: Option<bool>,
}

/// Everything that health is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) display: State,
    pub(crate) vnc: State,
    pub(crate) terminal: State,
    pub(crate) expert: Expert,
    /// How the last request to the dispatcher ended, and how long ago.
    pub(crate) dispatcher: Option<(Duration, Result<(), String>)>,
}

/// One part's state in plain words.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Word {
    ok: bool,
    state: String,
}

/// The answer of `/health`.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) status: &'static str,
    pub(crate) display: Word,
    pub(crate) vnc: Word,
    pub(crate) process: Word,
    pub(crate) connected: Word,
    pub(crate) trade_allowed: Word,
    pub(crate) last_poll: Word,
    pub(crate) last_update: Word,
    pub(crate) dispatcher: Word,
}

impl Report {
    /// The parts that keep the terminal from trading; VNC does not.
    pub(crate) fn waiting_for(&self) -> Vec<String> {
        let parts = [
            ("display", &self.display),
            ("process", &self.process),
            ("last_poll", &self.last_poll),
            ("last_update", &self.last_update),
            ("connected", &self.connected),
            ("trade_allowed", &self.trade_allowed),
            ("dispatcher", &self.dispatcher),
        ];
        let missing = parts.iter().filter(|(_, word)| !word.ok);
        missing.map(|(name, word)| format!("{name}: {}", word.state)).collect()
    }
}

/// Tells what was observed.
pub(crate) fn report(observed: &Observed) -> Report {
    let Expert { poll, update, connected, trade_allowed, .. } = observed.expert;
    let update_is_fresh = update.is_some_and(|age| age <= AGE_MAX);
    // What an old update said is no longer known.
    let current = |said: Option<bool>| said.filter(|_| update_is_fresh);
    let mut report = Report {
        status: "ok",
        display: program(&observed.display),
        vnc: program(&observed.vnc),
        process: program(&observed.terminal),
        connected: said(current(connected), "connected to the broker", "not connected to the broker"),
        trade_allowed: said(
            current(trade_allowed),
            "trading is allowed",
            "trading is not allowed: see the terminal's Algo Trading button, the EA's properties and the account",
        ),
        last_poll: age(poll, AGE_MAX, "the EA has not asked for signals since the terminal's start"),
        last_update: age(update, AGE_MAX, "the EA has not reported the account since the terminal's start"),
        dispatcher: answered(observed.dispatcher.as_ref()),
    };
    if !report.waiting_for().is_empty() {
        report.status = "not ready";
    }
    report
}

fn program(state: &State) -> Word {
    match state {
        State::Off(why) => Word { ok: true, state: format!("off: {why}") },
        State::Preparing(what) => Word { ok: false, state: what.clone() },
        State::Running(place) => Word { ok: true, state: format!("running {place}") },
        State::Down(why) => Word { ok: false, state: format!("down, will be started again: {why}") },
    }
}

fn said(said: Option<bool>, yes: &str, no: &str) -> Word {
    let state = said.map_or("not known: no fresh account update", |said| if said { yes } else { no });
    Word { ok: said == Some(true), state: state.to_owned() }
}

fn age(age: Option<Duration>, limit: Duration, never: &str) -> Word {
    let Some(age) = age else { return Word { ok: false, state: never.to_owned() } };
    Word { ok: age <= limit, state: format!("{} s ago", age.as_secs()) }
}

fn answered(last: Option<&(Duration, Result<(), String>)>) -> Word {
    match last {
        None => Word { ok: false, state: "nothing was asked of it yet".to_owned() },
        Some((age, Ok(()))) => Word { ok: true, state: format!("answered {} s ago", age.as_secs()) },
        Some((age, Err(why))) => Word { ok: false, state: format!("{why} ({} s ago)", age.as_secs()) },
    }
}

/// Why a running terminal counts as hung. `worked` says that the EA has polled before in this installation: else a
/// person is still setting it up, and a restart would take the terminal from under the hands. Nor does a restart bring a
/// broker or a password back: each silent start gives the next one twice the time.
pub(crate) fn hung(
    running: Duration,
    heard: Option<Duration>,
    worked: bool,
    silent_starts: u32,
    limits: &Limits,
) -> Option<String> {
    match heard {
        Some(age) if age > limits.silence => Some(format!("the EA has been silent for {} s", age.as_secs())),
        None if worked && running > limits.start * 2u32.pow(silent_starts.min(SILENT_STARTS_MAX)) => {
            Some(format!("the EA is still silent {} s after the start", running.as_secs()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { silence: Duration::from_mins(1), start: Duration::from_mins(5), close: Duration::from_secs(10) };

    type Spoil = fn(&mut Observed);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn healthy() -> Observed {
        let expert = Expert {
            heard: Some(seconds(1)),
            poll: Some(seconds(1)),
            update: Some(seconds(2)),
            connected: Some(true),
            trade_allowed: Some(true),
        };
        Observed {
            display: State::Running("on :99".into()),
            vnc: State::Off("VNC_PASSWORD is not set"),
            terminal: State::Running("as process 7".into()),
            expert,
            dispatcher: Some((seconds(1), Ok(()))),
        }
    }

    /// Goal: a terminal hangs when its EA falls silent, and never while somebody is still setting it up.
    #[test]
    fn silence_hangs_a_terminal_that_worked_before() {
        // running for, last heard, worked before, silent starts before; hung?
        let table = [
            (10, Some(1), false, 0, false),
            (1_000, Some(60), true, 0, false),
            (1_000, Some(61), true, 0, true),
            (1_000, Some(61), false, 9, true),
            (300, None, true, 0, false),
            (301, None, true, 0, true),
            (301, None, true, 1, false),
            (601, None, true, 1, true),
            (9_600, None, true, 1_000, false),
            (9_601, None, true, 1_000, true),
            (100_000, None, false, 0, false),
        ];
        for (running, heard, worked, silent_starts, expected) in table {
            let judged = hung(seconds(running), heard.map(seconds), worked, silent_starts, &LIMITS);
            assert_eq!(judged.is_some(), expected, "{running} {heard:?} {worked} {silent_starts}: {judged:?}");
        }
    }

    /// Goal: ready is what can trade, and nothing less.
    #[test]
    fn a_terminal_is_ready_when_it_can_trade() {
        assert_eq!(report(&healthy()).waiting_for(), Vec::<String>::new());
        assert_eq!(report(&healthy()).status, "ok");
        let spoilt: [(&str, Spoil); 8] = [
            ("display", |observed| observed.display = State::Down("ended by signal 9".into())),
            ("process", |observed| observed.terminal = State::Preparing("installing".into())),
            ("last_poll", |observed| observed.expert.poll = None),
            ("last_update", |observed| observed.expert.update = Some(seconds(61))),
            ("connected", |observed| observed.expert.connected = Some(false)),
            ("trade_allowed", |observed| observed.expert.trade_allowed = None),
            ("dispatcher", |observed| observed.dispatcher = None),
            ("dispatcher", |observed| observed.dispatcher = Some((seconds(1), Err("it answered 503".into())))),
        ];
        for (part, spoil) in spoilt {
            let mut observed = healthy();
            spoil(&mut observed);
            let report = report(&observed);
            assert_eq!(report.status, "not ready", "{part}");
            assert!(report.waiting_for().iter().any(|reason| reason.starts_with(part)), "{part}: {report:?}");
        }
    }

    /// Goal: without VNC a terminal trades just as well.
    #[test]
    fn vnc_does_not_keep_a_terminal_from_being_ready() {
        let mut observed = healthy();
        observed.vnc = State::Down("ended with code 3".into());
        let report = report(&observed);
        assert_eq!(report.status, "ok");
        assert_eq!(report.vnc.state, "down, will be started again: ended with code 3");
    }

    /// Goal: what an old update said about the connection is not passed off as the present.
    #[test]
    fn an_old_update_says_nothing_about_now() {
        let mut observed = healthy();
        observed.expert.update = Some(seconds(3_600));
        let report = report(&observed);
        assert_eq!(report.connected.state, "not known: no fresh account update");
        assert_eq!(report.last_update.state, "3600 s ago");
    }
}
