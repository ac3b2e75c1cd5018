//! The metrics of a running platform: they are those of the README, and no load makes more of them.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod catalogue;
mod support;

mod metrics {
    mod bounded;
    mod drive;
    mod figures;
    mod listed;
}
