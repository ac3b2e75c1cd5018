//! RabbitMQ: confirmed publishing and batched consuming, each on a long-lived connection of its own.

mod consumer;
mod publisher;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

pub use self::consumer::{Batch, Consumer};
pub use self::publisher::{PUBLISH_DEADLINE, PublishError, Publisher};
use crate::topology::Stream;

/// Opening a connection and declaring what is needed.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// The client keeps 32 of its largest frames for each direction of a connection, in use or not; longer messages
/// simply take several.
const FRAME_BYTES_MAX: u32 = 32 * 1024;
/// A peer that is silent for twice this long is gone.
const HEARTBEAT_SECONDS: u16 = 10;

async fn connect(url: &str, name: &str) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let failed = |error| lapin::Error::from(lapin::ErrorKind::IOError(Arc::new(error)));
    let mut uri: AMQPUri = url.parse().map_err(|error: String| failed(std::io::Error::other(error)))?;
    uri.query.frame_max.get_or_insert(FRAME_BYTES_MAX);
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let cert_chain = authorities(url).map_err(failed)?;
    let tls = OwnedTLSConfig { identity: None, cert_chain };
    let runtime = lapin::runtime::default_runtime()?;
    in_time(Connection::connect_uri_with_config(uri, properties, tls, runtime)).await
}

/// Certificates of the authorities that may sign the broker's, beside the usual ones: the file that the URL names as
/// RabbitMQ's own clients have it, `amqps://host?cacertfile=/path`.
fn authorities(url: &str) -> std::io::Result<Option<String>> {
    let url = url::Url::parse(url).map_err(std::io::Error::other)?;
    let path = url.query_pairs().find(|(name, _)| name == "cacertfile").map(|(_, path)| path.into_owned());
    let read = |path: String| {
        let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("cacertfile {path}: {error}"));
        std::fs::read_to_string(&path).map_err(named)
    };
    path.map(read).transpose()
}

/// A broker that takes a connection may still not answer on it, for a queue without a leader for instance.
async fn in_time<T>(opening: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
    let late = |_| lapin::Error::from(lapin::ErrorKind::IOError(Arc::new(std::io::ErrorKind::TimedOut.into())));
    tokio::time::timeout(CONNECT_DEADLINE, opening).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}

async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close(200, "bye".into())).await;
}

/// Removes these streams with all that is in them. For tests and load, which make streams of their own.
pub async fn remove(url: &str, streams: &[Stream]) -> lapin::Result<()> {
    let connection = connect(url, "removal").await?;
    let channel = connection.create_channel().await?;
    for stream in streams {
        stream.delete(&channel).await?;
    }
    connection.close(200, "bye".into()).await
}
