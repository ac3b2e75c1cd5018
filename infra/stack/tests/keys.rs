//! Keys through the API: who may make which, what they open, when they end, and that nothing keeps their secret.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod private;
mod support;

mod keys {
    mod bindings;
    mod environment;
    mod held;
    mod refused;
    mod rotation;
    mod scopes;
    mod services;
    mod steps;
}
