//! Logs and metrics of a process.
//!
//! Metrics are `pipeline_<noun>_<unit>` in base units; every histogram has the same buckets, from 0.5 ms to 10 s.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

const BUCKETS_SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Samples of histograms are kept until they are folded; this is how often.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts logging to standard error: readable lines, or one JSON object a line where `LOG_FORMAT=json`. `RUST_LOG`
/// overrides the default filter. A panic is a line like any other.
///
/// A line is written before the call returns: whoever reads it slowly slows the service, and no fact is lost with it.
pub fn start_logs(default_filter: &str) {
    use std::io::IsTerminal as _;
    // Empty is unset, as for every setting: an empty filter would leave errors alone.
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.and_then(|wanted| EnvFilter::try_new(wanted).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(default_filter));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first; there is nothing to do about it.
    let started = if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).compact().try_init()
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(tracing::field::display);
            tracing::error!(place, error = panic.payload_as_str(), "a panic: an error in the program");
        }));
    }
}

/// The process's metrics, installed at the first call.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS)
            .map(PrometheusBuilder::build_recorder);
        let Ok(recorder) = recorder else { unreachable!("the list of buckets is not empty") };
        let handle = recorder.handle();
        // Fails only where another recorder was installed before, which then stays in charge.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

/// What `/metrics` answers with: the process's metrics, after those were told that nothing but the question makes worth
/// telling.
#[derive(Clone, Default)]
pub struct Scrape(Arc<Mutex<Vec<Teller>>>);

type Teller = Box<dyn Fn() + Send>;

impl Scrape {
    /// Has this called before every answer; it must not wait.
    pub fn before(&self, tell: impl Fn() + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(tell));
    }

    /// In Prometheus' text format.
    pub fn answer(&self) -> String {
        let handle = metrics();
        metrics_process::Collector::default().collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|tell| tell());
        handle.render()
    }
}
