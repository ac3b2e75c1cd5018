//! Proves the books: every balance again from the rows behind it, on demand and on a schedule.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::audit::{self, Head};
use common::database::{LONG_ANSWER_TIMEOUT, answered_within};
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::store::books;
use crate::{Distributor, retention};

pub use crate::store::books::Difference;

/// How often the running service looks, at most.
const INTERVAL: Duration = Duration::from_hours(1);
/// After a check of d it rests for 9 d.
const REST_FACTOR: u32 = 9;

/// What was checked, with the first difference where there is one.
pub struct Check {
    /// What must be so.
    pub name: &'static str,
    /// The first place where it is not.
    pub difference: Option<Difference>,
}

/// What the books are like.
pub struct Verdict {
    /// One after the other.
    pub checks: Vec<Check>,
    /// Where the audit chains end: kept elsewhere, they show later whether the log was written anew.
    pub heads: Vec<Head>,
}

impl Verdict {
    /// Whether no check found a difference.
    pub fn is_clean(&self) -> bool {
        self.checks.iter().all(|check| check.difference.is_none())
    }
}

/// A chain's entry as it was noted elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Whose chain.
    pub service: String,
    /// Which entry.
    pub seq: i64,
    /// Its hash in hexadecimal, or how that begins.
    pub hash: String,
}

/// Checks all of the books in one snapshot, beside a platform that goes on working, and these entries of its chains.
pub async fn verify(db: &mut PgConnection, noted: &[Noted]) -> Result<Verdict, sqlx::Error> {
    let mut db = db.begin().await?;
    books::hold_still(&mut db).await?;
    let mut checks = Vec::new();
    let mut add = |name, difference| checks.push(Check { name, difference });
    add("each version of a pool follows from the one before", books::versions(&mut db).await?);
    add("each movement has its price", books::prices(&mut db).await?);
    add("each movement counts once, or waits", books::movements(&mut db).await?);
    add("each pool is as its history ends", books::pools(&mut db).await?);
    add("each member's part is the sum of his movements", books::holdings(&mut db).await?);
    add("each level of profit is a report's", books::reports(&mut db).await?);
    add("each change of the login was asked for", books::logins(&mut db).await?);
    add("the members' cents add up to their pool", books::valuations(&mut db).await?);
    add("each checkpoint is as it was proved", books::checkpoints(&mut db).await?);
    add("the audit chains are whole", books::chains(&mut db).await?);
    add("each movement is in the audit log", books::audited(&mut db).await?);
    for Noted { service, seq, hash } in noted {
        let found = books::hash_at(&mut db, service, *seq).await?.unwrap_or_default();
        let same = !hash.is_empty() && found.starts_with(hash.as_str());
        let place = format!("entry {seq} of the {service}'s audit log");
        let difference = (!same).then(|| Difference { place, expected: hash.clone(), found });
        add("the audit log is the one that was noted", difference);
    }
    let heads = audit::heads(&mut db).await?;
    db.rollback().await?;
    Ok(Verdict { checks, heads })
}

/// Checks the books every hour until told to stop; the metrics and the log tell the outcome, and where the chains end. What
/// is older than so many months is retired then; 0 keeps all.
pub(crate) async fn run(distributor: Arc<Distributor>, retention_months: u32, stop: CancellationToken) {
    loop {
        let started = Instant::now();
        match checked(&distributor).await {
            Ok(verdict) => {
                tell(&verdict, distributor.clock.now().unix_timestamp());
                if retention_months > 0 {
                    retention::after(&distributor, &verdict, retention_months).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the books could not be checked"),
        }
        let rest = INTERVAL.max(started.elapsed() * REST_FACTOR);
        if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

async fn checked(distributor: &Distributor) -> Result<Verdict, sqlx::Error> {
    let verified = async { verify(&mut *distributor.pool.acquire().await?, &[]).await };
    answered_within(LONG_ANSWER_TIMEOUT, verified).await
}

fn tell(verdict: &Verdict, now: i64) {
    for check in &verdict.checks {
        if let Some(Difference { place, expected, found }) = &check.difference {
            tracing::error!(check = check.name, place, expected, found, "the books do not add up");
        }
    }
    let differences = verdict.checks.iter().filter(|check| check.difference.is_some()).count();
    let number = |value: i64| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    metrics::gauge!("pipeline_books_differences").set(number(i64::try_from(differences).unwrap_or(i64::MAX)));
    metrics::gauge!("pipeline_books_checked_timestamp_seconds").set(number(now));
    for Head { service, seq, hash } in &verdict.heads {
        tracing::info!(service, seq, hash, "end of the audit chain");
        metrics::gauge!("pipeline_audit_entries", "service" => service.clone()).set(number(*seq));
        // As much of the hash as a float holds exactly.
        let beginning = hash.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default();
        metrics::gauge!("pipeline_audit_head", "service" => service.clone()).set(f64::from(beginning));
    }
}
