//! The members' money through the real API, queue and database: exact to the cent, and proved by the books.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod past;
mod private;
mod support;

mod money {
    mod append_only;
    mod books;
    mod broker;
    mod crowd;
    mod ignored;
    mod keys;
    mod kills;
    mod login;
    mod members;
    mod months;
    mod pending;
    mod planted;
    mod plants;
    mod refused;
    mod retired;
    mod rewritten;
    mod statement;
    mod steps;
    mod valued;
    mod vectors;
    mod wiped;
}
