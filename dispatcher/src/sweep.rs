//! What happens by time alone: expiries, leases, and the look that makes up for a lost wake-up.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgListener;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::store::{account, sweep};
use crate::story::{self, By};
use crate::wake::{Changed, Wakes};
use crate::{Dispatcher, gauges, life};

/// How often; also the longest a waiting terminal sleeps through a change that nobody told.
const INTERVAL: Duration = Duration::from_millis(250);
/// Partitions are made so many months ahead; every hour is plenty.
const PARTITIONS_EVERY: u32 = 4 * 3_600;
const PARTITIONS_AHEAD: i32 = 3;
/// Heartbeats that ended are kept for a day, for whoever asks what went wrong; as many older ones go at once as 250 accounts
/// have at the usual interval in two of these.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);
const HEARTBEATS_KEPT: time::Duration = time::Duration::days(1);
const FORGOTTEN_MAX: i64 = 1_000;
/// The count of dispatchers and old terminals: once a second.
const SLOW_EVERY: u32 = 4;
/// Counting the open signals reads all of them, and so does looking for those of the future: every 5 s, often enough for gauges
/// and for what no claim hands out.
const COUNT_EVERY: u32 = 20;
/// PostgreSQL takes less than 8000 bytes; accounts beyond that are found by the regular look.
const PAYLOAD_BYTES_MAX: usize = 7_900;
/// Where dispatchers tell each other which accounts changed.
const CHANNEL: &str = "dispatcher_wake";
/// The name of the listening connection, by which dispatchers count each other.
const LISTENER: &str = "dispatcher listener";
/// A listening connection is silent for as long as nobody tells anything: after so long it is asked whether it is still there.
const LISTENER_TRUSTED: Duration = Duration::from_secs(10);
/// How long it may take to say so, while the server is busy.
const LISTENER_DEADLINE: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// In the transaction of a change: one message for all its accounts, only where someone listens.
    pub(crate) async fn tell_others(&self, db: &mut PgConnection, changed: &Changed) -> Result<(), sqlx::Error> {
        if changed.is_empty() || !self.wake.several() {
            return Ok(());
        }
        let mut payload = String::new();
        for account in changed {
            if payload.len() + account.len() < PAYLOAD_BYTES_MAX {
                payload.push_str(account);
                payload.push(' ');
            }
        }
        sweep::notify(db, CHANNEL, &payload).await
    }
}

/// Runs until told to stop.
pub(crate) async fn run(dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let mut turn: u32 = 0;
    let mut failing = false;
    while tokio::time::timeout(INTERVAL, stop.cancelled()).await.is_err() {
        let outcome = common::database::in_time(once(&dispatcher, turn)).await;
        dispatcher.database_ready.set(outcome.is_ok());
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(%error, "the regular look at the signals failed, trying again");
        }
        failing = outcome.is_err();
        turn = turn.wrapping_add(1);
    }
}

async fn once(dispatcher: &Dispatcher, turn: u32) -> Result<(), sqlx::Error> {
    let now = dispatcher.clock.now();
    let mut db = dispatcher.pool.acquire().await?;
    let mut swept = Vec::new();
    let moved = move_on(dispatcher, &mut db, turn, now, &mut swept).await;
    // Each of these was committed by itself, so it is told also where a later one failed.
    for signal in &swept {
        story::changed(signal, By::default(), now);
    }
    let changed: Changed = swept.into_iter().map(|signal| signal.account).collect();
    dispatcher.wake.wake_all(&changed, Wakes::Changed);
    dispatcher.tell_others(&mut db, &changed).await?;
    moved?;
    let waiting = dispatcher.wake.waiting();
    if !waiting.is_empty() {
        dispatcher.wake.wake_all(&sweep::with_pending(&mut db, &waiting).await?, Wakes::Changed);
    }
    if turn.is_multiple_of(COUNT_EVERY) {
        gauges::tell(&mut db, dispatcher.heartbeats, now).await?;
    }
    if turn.is_multiple_of(PARTITIONS_EVERY) {
        // A backup holds the table, say. The next hour will do: this month's is there since the start.
        if let Err(error) = sweep::make_partitions(&mut db, PARTITIONS_AHEAD).await {
            tracing::warn!(%error, "no partitions were made");
        }
    }
    Ok(())
}

/// Moves on what time alone moves; what was moved is in `swept`, also where this fails.
async fn move_on(
    dispatcher: &Dispatcher,
    db: &mut PgConnection,
    turn: u32,
    now: OffsetDateTime,
    swept: &mut Vec<story::Changed>,
) -> Result<(), sqlx::Error> {
    if turn.is_multiple_of(COUNT_EVERY) {
        sweep::end_lives_of_the_future(db, now + life::BACK_MAX, now).await?;
    }
    let expired = life::expired();
    swept.extend(sweep::expire(db, expired.code, &expired.message, now).await?);
    swept.extend(sweep::lapse(db, now).await?);
    if turn.is_multiple_of(SLOW_EVERY) {
        swept.extend(sweep::give_up(db, now).await?);
        swept.extend(sweep::reject_switched_off(db, now).await?);
        let old = account::without_a_full_terminal(db, now).await?;
        swept.extend(sweep::reject_too_old(db, &old, now).await?);
        dispatcher.wake.set_several(sweep::dispatchers(db, LISTENER).await? > 1);
    }
    Ok(())
}

/// Forgets heartbeats that ended long ago, until told to stop: apart from the look, which must not wait for it.
pub(crate) async fn forget(dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    loop {
        let forgotten = common::database::in_time(async {
            let mut db = dispatcher.pool.acquire().await?;
            sweep::forget_heartbeats(&mut db, dispatcher.clock.now() - HEARTBEATS_KEPT, FORGOTTEN_MAX).await
        });
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "old heartbeats were not deleted, trying again");
        }
        if tokio::time::timeout(FORGET_INTERVAL, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Passes on what other dispatchers tell, until told to stop.
pub(crate) async fn listen(dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let connect = || async {
        let pool = common::database::pool(&dispatcher.database_url, LISTENER).map_err(|error| error.to_string())?;
        let connected = common::database::in_time(async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            Ok(listener)
        });
        connected.await.map_err(|error| error.to_string())
    };
    while let Some(mut listener) = common::retry::until_ok("listener", &stop, connect).await {
        tokio::select! {
            () = pass_on(&dispatcher, &mut listener) => {}
            () = stop.cancelled() => return,
        }
        tracing::warn!("the listening connection is gone, opening another");
    }
}

/// Until the connection is gone.
async fn pass_on(dispatcher: &Dispatcher, listener: &mut PgListener) {
    loop {
        match tokio::time::timeout(LISTENER_TRUSTED, listener.recv()).await {
            Ok(Ok(notification)) => {
                for account in notification.payload().split_whitespace() {
                    dispatcher.wake.wake(account, Wakes::Changed);
                }
            }
            Ok(Err(_)) => return,
            Err(_) => {
                if !matches!(tokio::time::timeout(LISTENER_DEADLINE, sweep::ask(listener)).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}
