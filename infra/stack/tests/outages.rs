//! Servers that go away and come back, and processes that are killed, under load: what was accepted is there, once.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod load;
mod private;
mod support;

mod outages {
    mod messages;
    mod processes;
    mod servers;
    mod steps;
}
