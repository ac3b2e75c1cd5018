//! What was measured, as a table for people and as JSON for machines.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Writes that tell how fast the disk is.
const SYNCS: usize = 200;
/// The size of one.
const SYNC_BYTES: usize = 4_096;

/// What a figure must reach.
#[derive(Clone, Copy)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Told for comparison only.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::None => true,
        }
    }
}

/// Under what a figure was measured.
#[derive(Clone, Copy, Default)]
pub(super) struct Conditions {
    pub(super) clients: usize,
    pub(super) in_flight: usize,
    pub(super) lasted: Duration,
    /// How long the disk takes for a small write, at the time of the figure.
    pub(super) sync: Duration,
}

/// One figure.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) target: Target,
    pub(super) conditions: Conditions,
}

impl Figure {
    fn json(&self) -> Value {
        let (least, most) = match self.target {
            Target::AtLeast(least) => (Some(least), None),
            Target::AtMost(most) => (None, Some(most)),
            Target::None => (None, None),
        };
        json!({
            "name": self.name, "value": rounded(self.value), "unit": self.unit, "at_least": least, "at_most": most,
            "ok": self.target.is_met(self.value), "clients": self.conditions.clients,
            "in_flight": self.conditions.in_flight, "seconds": rounded(self.conditions.lasted.as_secs_f64()),
            "fsync_us": u64::try_from(self.conditions.sync.as_micros()).unwrap_or(u64::MAX),
        })
    }

    fn line(&self) -> String {
        let target = match self.target {
            Target::AtLeast(least) => format!("≥ {}", short(least)),
            Target::AtMost(most) => format!("≤ {}", short(most)),
            Target::None => String::new(),
        };
        let verdict = match self.target {
            Target::None => "",
            target if target.is_met(self.value) => "ok",
            _ => "below",
        };
        let Conditions { clients, in_flight, lasted, sync } = self.conditions;
        let value = format!("{} {}", short(self.value), self.unit);
        format!(
            "{:<52} {value:>14} {target:>10} {verdict:<6} {clients:>7} {in_flight:>9} {:>7.1} s {:>5} µs",
            self.name,
            lasted.as_secs_f64(),
            sync.as_micros()
        )
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn short(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// The figures so far. Each is shown as soon as it is known.
#[derive(Default)]
pub(super) struct Report {
    figures: Vec<Figure>,
    /// For machines, under names of their own.
    extras: serde_json::Map<String, Value>,
}

impl Report {
    /// Shows the head of the table.
    pub(super) fn begin() -> io::Result<()> {
        let head = format!(
            "{:<52} {:>14} {:>10} {:<6} {:>7} {:>9} {:>9} {:>8}",
            "figure", "measured", "target", "", "clients", "in flight", "lasted", "fsync"
        );
        writeln!(io::stdout(), "{head}")
    }

    pub(super) fn add(&mut self, figure: Figure) -> io::Result<()> {
        writeln!(io::stdout(), "{}", figure.line())?;
        self.figures.push(figure);
        Ok(())
    }

    /// A figure that machines look for by a name of its own.
    pub(super) fn extra(&mut self, name: &str, value: f64) {
        self.extras.insert(name.to_owned(), json!(rounded(value)));
    }

    /// A figure of an earlier part of the run.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// Shows the end, and with `json` everything again for machines.
    pub(super) fn end(&self, accounted: &str, json: bool) -> io::Result<()> {
        let below = self.figures.iter().filter(|figure| !figure.target.is_met(figure.value)).count();
        let mut out = io::stdout();
        writeln!(out, "{accounted}; {below} of {} figures below target", self.figures.len())?;
        if json {
            let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
            let mut whole = self.extras.clone();
            whole.extend([
                ("complete".to_owned(), json!(true)),
                ("below_target".to_owned(), json!(below)),
                ("figures".to_owned(), json!(figures)),
            ]);
            writeln!(out, "{}", Value::from(whole))?;
        }
        Ok(())
    }
}

/// Per second.
pub(super) fn rate(count: u64, lasted: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / lasted.as_secs_f64()
}

/// The value in milliseconds below which this part of the latencies lies, of a histogram in microseconds.
pub(super) fn quantile(latencies: &Histogram<u64>, part: f64) -> f64 {
    f64::from(u32::try_from(latencies.value_at_quantile(part)).unwrap_or(u32::MAX)) / 1_000.0
}

/// An empty histogram of latencies, in microseconds.
pub(super) fn latencies() -> Result<Histogram<u64>, hdrhistogram::CreationError> {
    const LONGEST_US: u64 = 60_000_000;
    Histogram::new_with_bounds(1, LONGEST_US, 3)
}

/// Notes a latency; one beyond a minute counts as a minute.
pub(super) fn note(latencies: &mut Histogram<u64>, duration: Duration) {
    latencies.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}

/// How long a small write takes until it is on the disk that holds this folder: the median of many.
pub(super) fn sync_time(folder: &Path) -> io::Result<Duration> {
    let path = folder.join("sync");
    let file = File::create(&path)?;
    let block = [7; SYNC_BYTES];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}
