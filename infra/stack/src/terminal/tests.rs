//! The terminal against a tiny platform in the same process: what it says, and above all what it does not do twice.

mod bench;
mod memory;
mod orders;
