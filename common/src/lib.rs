//! What the services share: the contract (`domain`, `message`, `topology`) and the plumbing around it.
//!
//! Invariant: nothing here knows a service.

pub mod audit;
pub mod auth;
pub mod check;
pub mod clock;
pub mod config;
pub mod crash;
pub mod database;
pub mod domain;
pub mod error;
pub mod http;
pub mod message;
pub mod queue;
pub mod retention;
pub mod retry;
pub mod service;
pub mod telemetry;
pub mod topology;

pub use database::MIGRATOR;
