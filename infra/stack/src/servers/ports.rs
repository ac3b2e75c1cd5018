//! The ports of one data folder: chosen once below the ephemeral range, kept, and chosen again where taken by others.
//!
//! Invariant: a running server of ours keeps its port; the four differ.

use std::net::{Ipv4Addr, TcpListener};

use super::folder::{Folder, random};
use super::{ServersError, postgres, rabbit};

/// Ports tried before giving up.
const TRIES: u32 = 200;
/// Outgoing connections take ports from here up, where the system does not say otherwise.
const EPHEMERAL_FIRST: u16 = 32_768;
/// Width of the range below it that is used.
const WIDTH: u16 = 12_000;
/// Below this only root may listen.
const UNPRIVILEGED_FIRST: u16 = 1_024;

/// The ports of one data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) postgres: u16,
    pub(super) amqp: u16,
    /// Erlang's distribution, for `rabbitmqctl`.
    pub(super) distribution: u16,
    /// Erlang's name server.
    pub(super) epmd: u16,
}

impl Ports {
    /// Those chosen by an earlier start.
    pub(super) fn remembered(folder: &Folder) -> Option<Self> {
        let text = folder.read("ports")?;
        let mut ports = text.split_whitespace().map_while(|port| port.parse().ok());
        Some(Self { postgres: ports.next()?, amqp: ports.next()?, distribution: ports.next()?, epmd: ports.next()? })
    }

    /// The remembered ports as far as they can be used, new ones for the rest; remembered again.
    pub(super) async fn choose(folder: &Folder) -> Result<Self, ServersError> {
        let old = Self::remembered(folder);
        let (database_runs, broker_runs) = (postgres::runs(folder), rabbit::runs(folder));
        let mut taken = Vec::new();
        let mut keep = |port: Option<u16>, usable: bool| -> Result<u16, ServersError> {
            let port = match port {
                Some(port) if usable || is_free(port) => port,
                _ => free_port(&taken)?,
            };
            taken.push(port);
            Ok(port)
        };
        let epmd_is_ours = match old {
            Some(old) => broker_runs || rabbit::epmd_is_idle(old.epmd).await,
            None => false,
        };
        let ports = Self {
            postgres: keep(old.map(|old| old.postgres), database_runs)?,
            amqp: keep(old.map(|old| old.amqp), broker_runs)?,
            distribution: keep(old.map(|old| old.distribution), broker_runs)?,
            epmd: keep(old.map(|old| old.epmd), epmd_is_ours)?,
        };
        if old != Some(ports) {
            let Self { postgres, amqp, distribution, epmd } = ports;
            folder.write("ports", &format!("{postgres} {amqp} {distribution} {epmd}\n"))?;
        }
        Ok(ports)
    }

    /// Whether nobody listens on any of them.
    pub(super) fn all_free(self) -> bool {
        [self.postgres, self.amqp, self.distribution, self.epmd].into_iter().all(is_free)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

pub(super) fn free_port(taken: &[u16]) -> Result<u16, ServersError> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first_ephemeral = range.split_whitespace().next().and_then(|first| first.parse().ok());
    let end: u16 = first_ephemeral.unwrap_or(EPHEMERAL_FIRST).min(EPHEMERAL_FIRST);
    // Where the system leaves nothing below, its own range has to do.
    let end = if end < UNPRIVILEGED_FIRST + WIDTH { EPHEMERAL_FIRST } else { end };
    let first = end - WIDTH;
    for _ in 0..TRIES {
        let port = first + u16::from_le_bytes(random()?) % WIDTH;
        if !taken.contains(&port) && is_free(port) {
            return Ok(port);
        }
    }
    Err(ServersError::NoPort { first, last: end - 1 })
}
