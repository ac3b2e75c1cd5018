//! Why the figures could not be had, or are worth nothing.

use common::config::ConfigError;

use crate::sandbox::SandboxError;
use crate::servers::ServersError;

/// Why the figures could not be had, or are worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The private servers.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// The database and queues of a figure.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A socket or a file.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// PostgreSQL.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// RabbitMQ.
    #[error("{0}")]
    Queue(#[from] lapin::Error),
    /// A message of the backlog was not taken.
    #[error("{0}")]
    Publish(#[from] common::queue::PublishError),
    /// An answer that is not what it should be.
    #[error("an answer makes no sense: {0}")]
    Json(#[from] serde_json::Error),
    /// A histogram.
    #[error("{0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// Two histograms.
    #[error("{0}")]
    Addition(#[from] hdrhistogram::AdditionError),
    /// A task of the load.
    #[error("{0}")]
    Task(#[from] tokio::task::JoinError),
    /// The services.
    #[error("the services: {what}; the end of their log:\n{log}")]
    Service {
        /// What was seen.
        what: String,
        /// The last lines.
        log: String,
    },
    /// A request was refused.
    #[error("refused: {0}")]
    Refused(String),
    /// Signals are missing, or there are too many.
    #[error("not accounted for: {0}")]
    Lost(String),
    /// Ctrl-C.
    #[error("stopped before the end")]
    Stopped,
    /// A combination that makes no sense.
    #[error("{0}")]
    Usage(&'static str),
}
