//! The Expert Advisor itself, compiled from its own MQL5 source and run as a process at the simulated market, against
//! the real platform over HTTP: what it does, what it refuses, and above all what it never does twice.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod support;

mod ea {
    mod actions;
    mod contracts;
    mod desk;
    mod gateway;
    mod kills;
    mod memory;
    mod money;
    mod mutants;
    mod news;
    mod relay;
    mod retcodes;
    mod start;
    mod troubles;
    mod vectors;
}
