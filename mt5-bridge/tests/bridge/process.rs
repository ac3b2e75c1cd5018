//! Processes as the kernel tells of them.

use tokio::process::Command;

/// A process as the kernel tells it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) parent: u32,
    pub(crate) state: char,
    pub(crate) command: String,
    pub(crate) environment: Vec<String>,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let list = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            let part = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            bytes.split(|byte| *byte == 0).map(part).collect::<Vec<String>>()
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        Some(Self {
            id,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            command: list("cmdline").join(" "),
            environment: list("environ"),
        })
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        entries.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }
}

/// Memory that a process holds alone, or its share of what several hold, in megabytes.
pub(crate) fn memory_mb(id: u32, field: &str) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).map_or(0.0, |kilobytes| kilobytes.parse::<f64>().expect("a number") / 1024.0)
}

pub(crate) async fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().await;
    assert!(status.is_ok_and(|status| status.success()), "no process {id} for {name}");
}
