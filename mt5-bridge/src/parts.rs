//! The parts of the container and what each does now.

use std::sync::{Arc, Mutex, PoisonError};

use crate::health::{self, Observed, Report, State};
use crate::seen::Seen;

/// One program that is kept running.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    state: Mutex<State>,
}

impl Part {
    fn new(name: &'static str) -> Self {
        // A counter begins at zero: of one that is not there before its first event no increase is seen.
        common::telemetry::metrics();
        metrics::counter!("bridge_restarts_total", "part" => name).increment(0);
        Self { name, state: Mutex::new(State::Preparing("not started yet".to_owned())) }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what it does now.
    pub(crate) fn set(&self, state: State) {
        let up = matches!(state, State::Running(_));
        metrics::gauge!("bridge_part_up", "part" => self.name).set(f64::from(up));
        match &state {
            State::Running(place) => tracing::info!(part = self.name, "running {place}"),
            State::Preparing(what) => tracing::info!(part = self.name, "{what}"),
            State::Off(why) => tracing::info!(part = self.name, "off: {why}"),
            // Whoever starts it again says so.
            State::Down(_) => {}
        }
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// All of them, and what was seen of the EA and the dispatcher.
pub(crate) struct Parts {
    pub(crate) display: Part,
    pub(crate) vnc: Part,
    pub(crate) terminal: Part,
    pub(crate) seen: Arc<Seen>,
}

impl Parts {
    pub(crate) fn new(seen: Arc<Seen>) -> Self {
        let (display, vnc, terminal) = (Part::new("display"), Part::new("vnc"), Part::new("terminal"));
        Self { display, vnc, terminal, seen }
    }

    /// How everything is, in plain words.
    pub(crate) fn report(&self) -> Report {
        let observed = Observed {
            display: self.display.state(),
            vnc: self.vnc.state(),
            terminal: self.terminal.state(),
            expert: self.seen.expert(),
            dispatcher: self.seen.last_answer(),
        };
        health::report(&observed)
    }
}
