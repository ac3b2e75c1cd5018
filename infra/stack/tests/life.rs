//! A signal's life through the real API, queue and database: from its claim to its end, through everything between.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod past;
mod support;

mod life {
    mod anomalies;
    mod audited;
    mod expiry;
    mod first_clients;
    mod gate;
    mod numbers;
    mod order;
    mod polls;
    mod rare;
    mod reports;
    mod retired;
    mod risk;
    mod steps;
    mod terminals;
    mod trades;
    mod unknown;
}
