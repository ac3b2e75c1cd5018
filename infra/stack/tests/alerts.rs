//! The alerts end to end: Debian's Prometheus with the rules scrapes a running platform, and Debian's Alertmanager, configured
//! as an operator would, posts to a webhook. What is shortened is the clockwork: metrics and rules are looked at every
//! second instead of every 15 and 5, Alertmanager waits 1 s instead of 5 and 30, and windows of rules as each test says.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod private;
mod support;

mod alerts {
    mod arrival;
    mod delivery;
    mod inhibition;
    mod money;
    mod outage;
    mod up;
    mod watch;
}
