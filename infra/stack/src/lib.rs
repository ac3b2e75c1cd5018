//! The whole platform in one process: for a first run, for small deployments, for tests and load.
//!
//! Invariant: nothing here decides about a signal or a cent; it starts the services, watches them, and compares.

pub mod bench;
pub mod books;
pub mod check;
pub mod client;
pub mod faults;
pub mod halt;
pub mod market;
pub mod platform;
pub mod restored;
pub mod sandbox;
pub mod servers;
pub mod terminal;
pub mod up;
