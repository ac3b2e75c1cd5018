//! A backup beside a platform at work, and what becomes of the platform that is restored from it.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod private;
mod support;

mod backup {
    mod damaged;
    mod restored;
    mod steps;
}
