//! One change of keys, from its checks to its entry in the audit log.
//!
//! Invariant: what a change checks holds until it is over, for changes come one after another.

use common::audit::{self, Entry};
use common::auth::{ApiKey, Identity, KeyRing};
use common::error::Problem;
use serde_json::Value;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;

use super::{LIVE_MAX, excess, outlives};
use crate::Dispatcher;
use crate::error::Error;
use crate::store::account;
use crate::store::keys::{self as store, KeyRow};
use crate::wake::Wakes;

/// A change of keys: alone until it is over, by a key that is still good.
pub(crate) struct Change<'a> {
    dispatcher: &'a Dispatcher,
    ring: &'a KeyRing,
    own: &'a Identity,
    own_end: Option<OffsetDateTime>,
    request_id: &'a str,
    pub(crate) now: OffsetDateTime,
    transaction: Transaction<'static, Postgres>,
}

impl<'a> Change<'a> {
    /// Waits until no other change is under way.
    pub(crate) async fn begin(
        dispatcher: &'a Dispatcher,
        ring: &'a KeyRing,
        own: &'a Identity,
        request_id: &'a str,
    ) -> Result<Self, Error> {
        let mut transaction = dispatcher.pool.begin().await?;
        store::lock(&mut transaction).await?;
        let now = dispatcher.clock.now();
        // What this process knows of the table may be a second old, and who was revoked since makes no keys.
        let row = store::find(&mut transaction, &own.key_id).await?;
        if !row.as_ref().map_or(ring.of_environment(&own.key_id), |row| row.live(now)) {
            return Err(Error::KeyEnded);
        }
        let own_end = row.and_then(|row| row.expires_at);
        Ok(Self { dispatcher, ring, own, own_end, request_id, now, transaction })
    }

    /// Refuses what may more than the key that asks.
    fn allow(&self, other: &Identity) -> Result<(), Error> {
        excess(self.own, other).map_or(Ok(()), |excess| Err(Error::BeyondOwnKey(format!("that key has {excess}"))))
    }

    /// The key that is to be changed; the environment's are changed there.
    pub(crate) async fn target(&mut self, key_id: &str) -> Result<KeyRow, Error> {
        let row = store::find(&mut self.transaction, key_id).await?;
        let row = row.ok_or_else(|| Error::NotFound(format!("no key {key_id}")))?;
        self.allow(&row.identity()?)?;
        if self.ring.of_environment(key_id) && row.revoked_at.is_none() {
            let detail = format!(
                "key {key_id} is set in the environment (GENERATOR_KEY, TERMINAL_KEY or OPERATOR_KEY): set another there, \
                 or none, start the services anew, then revoke this one here"
            );
            return Err(Error::Conflict("key_of_environment", detail));
        }
        Ok(row)
    }

    /// Makes a key of this identity where its principal may have one more beside its live ones but for `replaced`; its
    /// text and its id.
    pub(crate) async fn make(
        &mut self,
        identity: Identity,
        label: Option<&str>,
        expires_at: Option<OffsetDateTime>,
        replaced: Option<&str>,
    ) -> Result<(String, String), Error> {
        self.allow(&identity)?;
        if outlives(self.own_end, expires_at) {
            return Err(Error::BeyondOwnKey("the key that asks ends before that key would".to_owned()));
        }
        if let Some(user) = &identity.user
            && !store::member_exists(&mut self.transaction, user.as_str()).await?
        {
            return Err(Error::NotFound(format!("no member {user}")));
        }
        let live = store::live_of(&mut self.transaction, &identity.principal, self.now).await?;
        for other in &live {
            // To speak in a principal's name is to have its idempotency keys and its name in the log.
            let other = other.identity()?;
            if let Some(excess) = excess(self.own, &other) {
                let detail = format!("principal {} has a key with {excess}", identity.principal);
                return Err(Error::BeyondOwnKey(detail));
            }
        }
        let counted = live.iter().filter(|other| other.source == "api" && Some(&*other.key_id) != replaced);
        let others: Vec<&str> = counted.map(|other| &*other.key_id).collect();
        if others.len() >= LIVE_MAX {
            let detail = format!(
                "principal {} has {} live keys already ({}): revoke one, or give another duty a principal of its own",
                identity.principal,
                others.len(),
                others.join(", ")
            );
            return Err(Error::Conflict("two_live_keys", detail));
        }
        let (text, key) = new_key(identity)?;
        let key = ApiKey { expires_at, ..key };
        store::insert(&mut self.transaction, &key, label, self.now).await?;
        Ok((text, key.identity.key_id.clone()))
    }

    /// Ends a key, after every claim of it that is under way.
    pub(crate) async fn revoke(&mut self, row: &KeyRow) -> Result<(), Error> {
        if let Some(account) = &row.account {
            account::lock(&mut self.transaction, account).await?;
        }
        Ok(store::revoke(&mut self.transaction, &row.key_id, self.now).await?)
    }

    /// Lets a key go on until then, unless it ends before.
    pub(crate) async fn end_at(&mut self, key_id: &str, end: OffsetDateTime) -> Result<(), Error> {
        Ok(store::end_at(&mut self.transaction, key_id, end).await?)
    }

    /// A key as it is now.
    pub(crate) async fn row(&mut self, key_id: &str) -> Result<KeyRow, Error> {
        let row = store::find(&mut self.transaction, key_id).await?;
        row.ok_or_else(|| Error::NotFound(format!("no key {key_id}")))
    }

    /// Writes the change into the audit log, and lets it count: at once in this process, in the others when they next
    /// read the table. Polls that are held with a key of this account look whether theirs is still good.
    pub(crate) async fn finish(
        mut self,
        event: &'static str,
        details: Value,
        account: Option<&str>,
    ) -> Result<(), Error> {
        let principal = &self.own.principal;
        let entry = Entry { at: self.now, event, principal, request_id: self.request_id, details };
        audit::append(&mut self.transaction, crate::NAME, &[entry]).await?;
        self.transaction.commit().await?;
        if let Err(error) = common::database::read_keys(&self.dispatcher.pool, self.ring).await {
            tracing::warn!(%error, "keys changed and could not be read at once; they will be");
        }
        if let Some(account) = account {
            self.dispatcher.wake.wake(account, Wakes::Changed);
        }
        tracing::info!(event, principal, request.id = %self.request_id, "keys changed");
        Ok(())
    }
}

fn new_key(identity: Identity) -> Result<(String, ApiKey), Problem> {
    let failed = |reason: String| Problem::unavailable("no_key_made", format!("no key could be made: {reason}"));
    let text = ApiKey::generate().map_err(|error| failed(error.to_string()))?;
    let key = ApiKey::new(&text, identity).map_err(|error| failed(error.to_string()))?;
    Ok((text, key))
}
