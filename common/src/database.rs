//! PostgreSQL: the pool, the migrations, and the table of keys that every service reads.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::pin;
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::{ApiKey, Identity, KeyRing};
use crate::config::ConfigError;
use crate::domain::Invalid;
use crate::error::{FieldError, Problem};
use crate::retry;
use crate::service::Lifecycle;

/// The schema, forward only. Several processes may apply it at once: it runs under a lock.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Connections of one service; three services and a few tools fit under PostgreSQL's default of 100.
const CONNECTIONS_MAX: u32 = 16;
/// How long a request waits for a connection before it is told that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that lay idle for longer is tested before it is used.
const IDLE_TRUSTED: Duration = Duration::from_millis(500);
/// No statement takes longer, nor waits longer for a lock.
const STATEMENT_TIMEOUT: &str = "20s";
/// No transaction rests for longer between two statements: its client is gone, and others wait for its rows.
const IDLE_TIMEOUT: &str = "20s";
/// A client that is gone without a word holds a connection, and what it locked for long, for no longer than half a minute. Over
/// a Unix socket, where nobody can be gone like that, the server leaves these alone.
const TCP: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10s"),
    ("tcp_keepalives_interval", "5s"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "30s"),
];
/// A little more than a statement may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// The same where a statement may take an hour, to prove the books or to take a month off its table.
pub const LONG_ANSWER_TIMEOUT: Duration = Duration::from_mins(65);
/// No connection lives longer. A statement that one prepared before a migration changed its table fails there for good ("cached
/// plan must not change result type"), so this is how long that may last.
const LIFETIME_MAX: Duration = Duration::from_mins(1);
/// How often the keys are read again, so that a new or revoked one counts everywhere soon.
const KEYS_INTERVAL: Duration = Duration::from_millis(1_500);

/// Whether the database is there and refuses the data itself: trying again will not help.
pub fn refuses_data(error: &sqlx::Error) -> bool {
    // SQLSTATE classes: data exception, integrity constraint violation, program limit exceeded.
    match error {
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        }
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

/// What a caller is told when the database failed his request; the cause is logged, not told.
pub fn problem(error: &sqlx::Error) -> Problem {
    let problem = if refuses_data(error) {
        let field = FieldError::new("request", "holds a value that can't be stored, such as a zero character");
        Problem::invalid(vec![field])
    } else {
        Problem::unavailable("database_unavailable", "the database can't be used now; try again")
    };
    problem.caused_by(error)
}

/// How a session with the database is: it ends what is stuck by itself, on the server, since a client that is gone can't. All
/// is said when it connects, so it costs no statement a round trip.
pub fn session(url: &str, application: &str) -> Result<PgConnectOptions, ConfigError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| ConfigError::Bad("DATABASE_URL", error.to_string()))?
        .application_name(application)
        // A statement that takes longer is stuck behind a lock; its caller has given up.
        .options([("statement_timeout", STATEMENT_TIMEOUT), ("lock_timeout", "10s")])
        .options([("idle_in_transaction_session_timeout", IDLE_TIMEOUT)])
        .options(TCP)
        // A long statement of one service leaves the other processors to the short ones of all.
        .options([("max_parallel_workers_per_gather", "0"), ("jit", "off")]);
    Ok(options)
}

/// A pool that connects when it is first used: a service starts while its database is away.
pub fn pool(url: &str, application: &str) -> Result<PgPool, ConfigError> {
    // Every connection is tested when it comes back; testing it again at once would be a round trip for nothing.
    let pool = PgPoolOptions::new().test_before_acquire(false).before_acquire(|connection, about| {
        Box::pin(async move {
            if about.idle_for > IDLE_TRUSTED {
                connection.ping().await?;
            }
            Ok(true)
        })
    });
    // That test has no deadline. One that was left in the middle of a statement has an answer to come, and where none comes it
    // is closed; where nothing is to come this asks nothing.
    let pool =
        pool.after_release(|connection, _| Box::pin(async move { in_time(connection.flush()).await.map(|()| true) }));
    let pool = pool.max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT).max_lifetime(LIFETIME_MAX);
    Ok(pool.connect_lazy_with(session(url, application)?))
}

/// Has the use of a part's pool told as it is when the metrics are asked for.
pub fn tell_use(pool: &PgPool, part: &'static str, lifecycle: &Lifecycle) {
    let pool = pool.clone();
    lifecycle.scrape().before(move || {
        let open = pool.size();
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(open);
        for (state, connections) in [("idle", idle), ("used", open - idle)] {
            metrics::gauge!("pipeline_database_connections", "part" => part, "state" => state)
                .set(f64::from(connections));
        }
        metrics::gauge!("pipeline_database_connections_max", "part" => part).set(f64::from(CONNECTIONS_MAX));
    });
}

/// Applies the schema, trying until the database is there; false when told to stop first.
pub async fn migrate(pool: &PgPool, stop: &CancellationToken) -> bool {
    retry::until_ok("database schema", stop, || apply_schema(pool)).await.is_some()
}

/// Applies the schema once, under a lock, so that one of several that start does it. Over a connection of its own, whose
/// statements may take their time: an index of a year's rows takes longer than any request waits.
pub async fn apply_schema(pool: &PgPool) -> Result<(), MigrateError> {
    let patient = pool.connect_options().as_ref().clone().options([("statement_timeout", "0")]);
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(patient);
    let applied = MIGRATOR.run(&own).await;
    own.close().await;
    applied
}

/// For work that comes again: a server that is gone without a word is given up long before TCP does, which never does where it
/// only waits for an answer. However long the work, each of its statements is answered in time, with an error at the least.
pub async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    answered_within(ANSWER_TIMEOUT, work).await
}

/// The same where a statement may take so long.
pub async fn answered_within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let heard = Mutex::new(Instant::now());
    let last_heard = || *heard.lock().unwrap_or_else(PoisonError::into_inner);
    let mut work = pin!(work);
    let work = poll_fn(|context| {
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        work.as_mut().poll(context)
    });
    // With a waker of its own: what else goes on in this task is no word from the server.
    let mut work = FuturesUnordered::from_iter([work]);
    loop {
        match tokio::time::timeout_at(last_heard() + limit, work.next()).await {
            Ok(Some(outcome)) => return outcome,
            Err(_) if last_heard().elapsed() < limit => {}
            _ => return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Lets a transaction rest for as long as it takes: one that holds an advisory lock while another connection works, and
/// nothing that anybody waits for.
pub async fn let_rest(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("set local idle_in_transaction_session_timeout = 0").execute(db).await.map(drop)
}

/// Whether this process's clock is not ahead of the database's by more than a day, for what can't be undone: a wrong clock is
/// an hour's mistake, and a year's loss.
pub async fn agrees_on_the_day(db: &mut PgConnection, now: OffsetDateTime) -> Result<bool, sqlx::Error> {
    let agrees = sqlx::query_scalar!(r#"select $1 < now() + interval '1 day' as "agrees!""#, now).fetch_one(db).await?;
    if !agrees {
        tracing::error!(%now, "the clock here is more than a day ahead of the database's: nothing old is removed");
    }
    Ok(agrees)
}

/// Keeps the ring as the table of keys is. The first reading is what lets keys of the table in.
pub async fn follow_keys(pool: PgPool, ring: KeyRing, stop: CancellationToken) {
    loop {
        if retry::until_ok("keys", &stop, || in_time(read_keys(&pool, &ring))).await.is_none() {
            return;
        }
        if tokio::time::timeout(KEYS_INTERVAL, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Takes over the table of keys as it is now.
pub async fn read_keys(pool: &PgPool, ring: &KeyRing) -> Result<(), sqlx::Error> {
    let look = ring.look();
    let rows = sqlx::query!(
        "select key_id, principal, secret_sha256, scopes, account, user_id, expires_at, revoked_at from api_keys"
    )
    .fetch_all(pool)
    .await?;
    let (mut keys, mut revoked) = (Vec::new(), HashSet::new());
    for row in rows {
        if row.revoked_at.is_some() {
            revoked.insert(row.key_id);
            continue;
        }
        let key_id = row.key_id.clone();
        let key = || {
            let scopes = row.scopes.iter().map(|scope| scope.parse()).collect::<Result<_, _>>()?;
            let account = row.account.map(TryInto::try_into).transpose()?;
            let user = row.user_id.map(TryInto::try_into).transpose()?;
            let identity = Identity { key_id: row.key_id, principal: row.principal, scopes, account, user };
            let secret_sha256 = row.secret_sha256.try_into().map_err(|_| Invalid::new("a hash of another length"))?;
            Ok::<_, Invalid>(ApiKey { identity: identity.into(), secret_sha256, expires_at: row.expires_at })
        };
        match key() {
            Ok(key) => keys.push(key),
            // A later version's, perhaps. What else the table says must count all the same.
            Err(error) => {
                tracing::warn!(key.id = key_id, %error, "a key in the table can't be read, and opens nothing");
            }
        }
    }
    ring.replace(look, keys, revoked);
    Ok(())
}
