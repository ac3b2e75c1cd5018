//! What Prometheus is told of signals, accounts and anomalies beside what happens: how things stand, by the database.

use common::domain::{Mode, SignalState};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::life::anomaly::ANOMALIES;
use crate::store::account::{self, Standing};
use crate::store::{anomaly, sweep};

/// Counters that alerts look at begin at zero: of one that is not there before its first event no increase is seen.
pub(crate) fn begin() {
    common::telemetry::metrics();
    let ends = [
        SignalState::Executed,
        SignalState::Failed,
        SignalState::Expired,
        SignalState::Cancelled,
        SignalState::Rejected,
    ];
    for state in ends {
        metrics::counter!("pipeline_signals_ended_total", "state" => state.as_str()).increment(0);
        metrics::counter!("pipeline_signals_stored_total", "state" => state.as_str()).increment(0);
        metrics::counter!("pipeline_heartbeats_ended_total", "state" => state.as_str()).increment(0);
    }
    for name in ["pipeline_signals_ended_total", "pipeline_heartbeats_ended_total"] {
        metrics::counter!(name, "state" => SignalState::Unknown.as_str()).increment(0);
    }
    metrics::counter!("pipeline_signals_stored_total", "state" => SignalState::Pending.as_str()).increment(0);
    metrics::counter!("pipeline_signals_handed_out_total").increment(0);
    for (kind, _) in ANOMALIES {
        metrics::counter!("pipeline_anomalies_total", "kind" => kind).increment(0);
    }
    metrics::counter!("pipeline_keys_reused_total").increment(0);
    metrics::counter!("pipeline_dead_letters_total", "queue" => "signals").increment(0);
    // A histogram is there once somebody holds it.
    for stage in ["accept_to_store", "accept_to_handout", "handout_to_end", "accept_to_end", "heartbeat"] {
        drop(metrics::histogram!(format!("pipeline_{stage}_seconds")));
    }
}

/// Sets the gauges anew.
pub(crate) async fn tell(db: &mut PgConnection, heartbeats: bool, now: OffsetDateTime) -> Result<(), sqlx::Error> {
    for signals in sweep::open_signals(db).await? {
        metrics::gauge!("pipeline_signals", "state" => signals.state.clone()).set(number(signals.count));
        // One of a time that is still to come waits nobody knows how long, and must not look young until then.
        let age = signals.since.map_or(0.0, |since| (now - since).as_seconds_f64().abs());
        metrics::gauge!("pipeline_oldest_signal_age_seconds", "state" => signals.state).set(age);
    }
    for count in anomaly::open_counts(db).await? {
        metrics::gauge!("pipeline_anomalies_open", "account" => count.account, "kind" => count.kind)
            .set(number(count.open));
    }
    for standing in account::standings(db, now, heartbeats).await? {
        tell_account(&standing);
    }
    Ok(())
}

fn tell_account(standing: &Standing) {
    let gauge = |name: &'static str, value: f64| {
        metrics::gauge!(name, "account" => standing.account.clone()).set(value);
    };
    for mode in [Mode::Active, Mode::Reducing, Mode::Halted].map(Mode::as_str) {
        metrics::gauge!("pipeline_account_mode", "account" => standing.account.clone(), "mode" => mode)
            .set(f64::from(standing.mode == mode));
    }
    gauge("pipeline_account_daily_loss_latched", f64::from(standing.latched));
    let facts = [
        ("pipeline_terminal_last_poll_timestamp_seconds", standing.polled_at.map(seconds)),
        ("pipeline_heartbeat_timestamp_seconds", standing.heartbeat_at.map(seconds)),
        ("pipeline_terminal_last_update_timestamp_seconds", standing.reported_at.map(seconds)),
        ("pipeline_terminal_connected", standing.connected.map(f64::from)),
        ("pipeline_terminal_trade_allowed", standing.trade_allowed.map(f64::from)),
        ("pipeline_account_balance", standing.balance),
        ("pipeline_account_equity", standing.equity),
        ("pipeline_account_margin", standing.margin),
        ("pipeline_account_free_margin", standing.free_margin),
        ("pipeline_account_open_positions", standing.open_positions.map(f64::from)),
        ("pipeline_account_profit", standing.profit),
    ];
    for (name, value) in facts {
        // A gauge keeps its last value for ever; with NaN no comparison of an alert is true.
        gauge(name, value.unwrap_or(f64::NAN));
    }
}

/// A terminal was refused because it is logged in to another account than the signals are for.
pub(crate) fn other_login(account: &str, now: OffsetDateTime) {
    metrics::gauge!("pipeline_terminal_other_login_timestamp_seconds", "account" => account.to_owned())
        .set(seconds(now));
}

/// A time as Prometheus has it.
fn seconds(time: OffsetDateTime) -> f64 {
    (time - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a count")]
fn number(count: i64) -> f64 {
    count as f64
}
