//! How long a signal takes from the answer to its sender into the hands of a terminal that waits for it.
//!
//! Invariant: every signal that was answered is handed out exactly once and ends executed, or the run fails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::auth::{ApiKey, Scope};
use hdrhistogram::Histogram;
use serde::Deserialize;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::BenchError;
use super::accept::{SYMBOLS, counted, request};
use super::http::{Connection, get, post};
use super::report::{latencies, note};
use crate::sandbox::{Sandbox, lift_limits};

/// Signals posted per second.
pub(super) const PER_SECOND: u32 = 200;
/// Connections that post in turn, so that a slow answer does not hold up the next signal.
const POSTERS: usize = 8;
/// Connections that confirm, beside the polls.
const CONFIRMERS: usize = 8;
/// Longest wait for what is still on its way at the end.
const END_DEADLINE: Duration = Duration::from_secs(15);
/// Longest wait until a terminal's key is known to the services.
const KEY_DEADLINE: Duration = Duration::from_secs(10);

/// An account and the key of its terminal.
pub(super) type Account = (String, String);

/// When something happened to a signal.
type Seen = (Uuid, Instant);

#[derive(Deserialize)]
struct Accepted {
    signal_id: Uuid,
}

#[derive(Deserialize)]
struct Claimed {
    signal_id: Uuid,
    id: i64,
    attempt: i32,
    symbol: String,
}

/// What the tasks of one run share.
struct Run {
    address: SocketAddr,
    /// May post for every account.
    key: String,
    accounts: Vec<Account>,
    /// Signals in the hands of terminals.
    handed_out: AtomicUsize,
    polls_end: CancellationToken,
}

/// What was measured.
pub(super) struct Delivered {
    pub(super) latencies: Histogram<u64>,
    pub(super) lasted: Duration,
}

/// Posts signals at a constant rate, spread over these accounts, while a terminal waits on each.
pub(super) async fn measure(
    address: SocketAddr,
    key: &str,
    accounts: Vec<Account>,
    lasts: Duration,
    db: &mut PgConnection,
) -> Result<Delivered, BenchError> {
    let (handed_out, polls_end) = (AtomicUsize::new(0), CancellationToken::new());
    let run = Arc::new(Run { address, key: key.to_owned(), accounts, handed_out, polls_end });
    let (mut terminals, mut confirmers, mut posters) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    let mut senders = Vec::new();
    for _ in 0..CONFIRMERS {
        let (sender, receiver) = mpsc::channel(1_024);
        senders.push(sender);
        confirmers.spawn(confirm(run.clone(), receiver));
    }
    known(&run).await?;
    for index in 0..run.accounts.len() {
        terminals.spawn(terminal(run.clone(), index, senders.clone()));
    }
    drop(senders);
    waiting(db, run.accounts.len()).await?;
    lift_limits(db).await?;
    let started = Instant::now();
    for index in 0..POSTERS {
        posters.spawn(poster(run.clone(), index, started, lasts));
    }
    let answered = all(posters).await?;
    let lasted = started.elapsed();
    let ended = Instant::now();
    while run.handed_out.load(Ordering::Relaxed) < answered.len() && ended.elapsed() < END_DEADLINE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.polls_end.cancel();
    let received = all(terminals).await?;
    all(confirmers).await?;
    let executed = counted(db, "select count(*) from signals where state = 'executed'").await?;
    let latencies = join(&answered, &received, executed)?;
    Ok(Delivered { latencies, lasted })
}

async fn all(mut tasks: JoinSet<Result<Vec<Seen>, BenchError>>) -> Result<Vec<Seen>, BenchError> {
    let mut seen = Vec::new();
    while let Some(task) = tasks.join_next().await {
        seen.extend(task??);
    }
    Ok(seen)
}

/// Compares what was answered with what was handed out: each exactly once.
fn join(answered: &[Seen], received: &[Seen], executed: u64) -> Result<Histogram<u64>, BenchError> {
    let mut latencies = latencies()?;
    let mut at: HashMap<Uuid, Instant> = HashMap::with_capacity(received.len());
    for (signal_id, received_at) in received {
        if at.insert(*signal_id, *received_at).is_some() {
            return Err(BenchError::Lost(format!("signal {signal_id} was handed out twice")));
        }
    }
    for (signal_id, answered_at) in answered {
        let Some(received_at) = at.remove(signal_id) else {
            return Err(BenchError::Lost(format!("signal {signal_id} was accepted and never handed out")));
        };
        note(&mut latencies, received_at.saturating_duration_since(*answered_at));
    }
    if let Some(signal_id) = at.keys().next() {
        return Err(BenchError::Lost(format!("signal {signal_id} was handed out and never accepted")));
    }
    if executed != u64::try_from(answered.len()).unwrap_or(u64::MAX) {
        return Err(BenchError::Lost(format!("{} signals were confirmed and {executed} are executed", answered.len())));
    }
    Ok(latencies)
}

/// Posts its share of the signals, each at its time.
async fn poster(run: Arc<Run>, index: usize, started: Instant, lasts: Duration) -> Result<Vec<Seen>, BenchError> {
    let mut connection = Connection::open(run.address).await?;
    let mut answered = Vec::new();
    let pause = Duration::from_secs(1) / PER_SECOND;
    for slot in (index..).step_by(POSTERS) {
        let at = pause * u32::try_from(slot).unwrap_or(u32::MAX);
        if at >= lasts {
            break;
        }
        tokio::time::sleep_until((started + at).into()).await;
        let account = &run.accounts[slot % run.accounts.len()].0;
        let request = request(&run.key, account, slot % SYMBOLS, &format!("delivery-{slot}"));
        let answer = connection.exchange(&request).await?;
        let answered_at = Instant::now();
        if answer.status != 200 {
            return Err(refused("a signal", answer.status, answer.body));
        }
        answered.push((serde_json::from_slice::<Accepted>(answer.body)?.signal_id, answered_at));
    }
    Ok(answered)
}

fn refused(what: &str, status: u16, body: &[u8]) -> BenchError {
    BenchError::Refused(format!("{what}: {status} {}", String::from_utf8_lossy(body)))
}

/// Waits until the last account's key opens.
async fn known(run: &Run) -> Result<(), BenchError> {
    let Some((_, key)) = run.accounts.last() else { return Ok(()) };
    let mut connection = Connection::open(run.address).await?;
    let started = Instant::now();
    loop {
        let answer = connection.exchange(&get("/api/signals/unresolved", key)).await?;
        match answer.status {
            200 => return Ok(()),
            status if started.elapsed() > KEY_DEADLINE => return Err(refused("a terminal's key", status, answer.body)),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until every terminal's first poll is noted, and then waits for signals.
async fn waiting(db: &mut PgConnection, terminals: usize) -> Result<(), BenchError> {
    let started = Instant::now();
    while counted(db, "select count(*) from terminals").await? < u64::try_from(terminals).unwrap_or(u64::MAX) {
        if started.elapsed() > END_DEADLINE {
            return Err(BenchError::Refused("not every terminal's poll was taken".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A noted poll looks for signals once more before it waits.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Polls until the end; the confirmations go another way, so that the next poll waits already.
async fn terminal(
    run: Arc<Run>,
    index: usize,
    confirmers: Vec<mpsc::Sender<Vec<u8>>>,
) -> Result<Vec<Seen>, BenchError> {
    let key = &run.accounts[index].1;
    let mut connection = Connection::open(run.address).await?;
    let mut received = Vec::new();
    let poll = get(&format!("/api/signals/pending?limit=100&wait_ms=25000&protocol=2&terminal=bench{index}"), key);
    loop {
        let answer = tokio::select! {
            answer = connection.exchange(&poll) => answer?,
            () = run.polls_end.cancelled() => return Ok(received),
        };
        let received_at = Instant::now();
        if answer.status != 200 {
            return Err(refused("a poll", answer.status, answer.body));
        }
        let signals: Vec<Claimed> = serde_json::from_slice(answer.body)?;
        for signal in &signals {
            received.push((signal.signal_id, received_at));
            let confirmer = &confirmers[usize::try_from(signal.id).unwrap_or_default() % confirmers.len()];
            // A confirmer that is gone has failed, and says so itself.
            let _ = confirmer.send(confirmation(signal, index, key)).await;
        }
        run.handed_out.fetch_add(signals.len(), Ordering::Relaxed);
    }
}

fn confirmation(signal: &Claimed, index: usize, key: &str) -> Vec<u8> {
    let Claimed { signal_id, id, attempt, symbol } = signal;
    let body = format!(
        r#"{{"signal_id":"{signal_id}","id":{id},"attempt":{attempt},"status":"executed","ticket":{id},"deal":{id},"#
    ) + &format!(
        r#""symbol":"{symbol}","action":"BUY","volume":0.1,"price":1.1,"retcode":10009,"terminal":"bench{index}"}}"#
    );
    post("/api/trades/confirm", key, None, &body)
}

/// Sends confirmations until there are no terminals any more.
async fn confirm(run: Arc<Run>, mut requests: mpsc::Receiver<Vec<u8>>) -> Result<Vec<Seen>, BenchError> {
    let mut connection = Connection::open(run.address).await?;
    while let Some(request) = requests.recv().await {
        let answer = connection.exchange(&request).await?;
        if answer.status != 200 {
            return Err(refused("a confirmation", answer.status, answer.body));
        }
    }
    Ok(Vec::new())
}

/// Puts the terminals' keys where the services read them: more than an environment would hold.
pub(super) async fn register(sandbox: &Sandbox, db: &mut PgConnection) -> Result<(), BenchError> {
    let keys = || sandbox.settings.keys.iter().filter(|key| key.identity.scopes == [Scope::Terminal]);
    let account = |key: &ApiKey| key.identity.account.as_ref().map(ToString::to_string);
    let accounts: Vec<Option<String>> = keys().map(account).collect();
    sqlx::query("insert into accounts (account) select * from unnest($1::text[]) on conflict do nothing")
        .bind(&accounts)
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "insert into api_keys (key_id, principal, secret_sha256, scopes, account)
         select key_id, principal, secret_sha256, array['terminal'], account
         from unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) as k (key_id, principal, secret_sha256, account)
         on conflict do nothing",
    )
    .bind(keys().map(|key| key.identity.key_id.clone()).collect::<Vec<_>>())
    .bind(keys().map(|key| key.identity.principal.clone()).collect::<Vec<_>>())
    .bind(keys().map(|key| key.secret_sha256.to_vec()).collect::<Vec<_>>())
    .bind(accounts)
    .execute(db)
    .await?;
    Ok(())
}
