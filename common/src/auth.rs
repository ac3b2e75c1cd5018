//! API keys: `mt5c_<id>_<secret>`. A key belongs to a principal, has scopes, and may be bound to an account or a user.
//!
//! Only the SHA-256 of a secret is kept; secrets are compared in constant time. The keys that are made here end in a
//! checksum, by which a scanner knows one that leaked; keys that people chose themselves, and older ones, have none.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, RwLock};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::domain::{AccountName, Invalid, UserId};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Post signals.
    SignalsWrite,
    /// Be the terminal of the bound account.
    Terminal,
    /// Read everything.
    Read,
    /// Switch modes and limits, cancel and resolve signals, of every account.
    Operate,
    /// Create members and move their money.
    MembersWrite,
    /// Make keys, rotate and revoke them; none that may more than this one.
    KeysWrite,
    /// Read the bound member's own figures.
    Member,
}

impl Scope {
    /// Every scope an operator needs.
    pub const ALL: [Self; 6] =
        [Self::SignalsWrite, Self::Terminal, Self::Read, Self::Operate, Self::MembersWrite, Self::KeysWrite];

    /// The name in the database and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignalsWrite => "signals:write",
            Self::Terminal => "terminal",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::MembersWrite => "members:write",
            Self::KeysWrite => "keys:write",
            Self::Member => "member",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut all = Self::ALL.into_iter().chain([Self::Member]);
        all.find(|scope| scope.as_str() == text).ok_or_else(|| Invalid::new(format!("no scope {text:?}")))
    }
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The public part of the key.
    pub key_id: String,
    /// Who holds it; idempotency keys are the principal's own.
    pub principal: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The account a terminal's key is bound to.
    pub account: Option<AccountName>,
    /// The member a member's key is bound to.
    pub user: Option<UserId>,
}

/// A key as the services hold it.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Who it stands for.
    pub identity: Arc<Identity>,
    /// The hash of its secret.
    pub secret_sha256: [u8; 32],
    /// When it ends.
    pub expires_at: Option<OffsetDateTime>,
}

const PREFIX: &str = "mt5c_";
const SECRET_CHARACTERS_MIN: usize = 32;
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// That of gzip, zlib and PNG.
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The id and the secret of a key's text.
fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(PREFIX)?.split_once('_').filter(|(id, secret)| !id.is_empty() && !secret.is_empty())
}

fn checksum(text: &str) -> String {
    format!("{:08x}", CHECKSUM.checksum(text.as_bytes()))
}

/// Whether a text has the form of the keys that end in a checksum, and ends in another than its own: a character was
/// changed or lost.
fn damaged(text: &str) -> bool {
    let hex =
        |part: &str, bytes| part.len() == 2 * bytes && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let made_here = |body| split(body).is_some_and(|(id, secret)| hex(id, ID_BYTES) && hex(secret, SECRET_BYTES));
    text.rsplit_once('_').is_some_and(|(body, end)| made_here(body) && end != checksum(body))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

impl ApiKey {
    /// A key from its text; the identity's key id is taken from it.
    pub fn new(text: &str, identity: Identity) -> Result<Self, Invalid> {
        let (id, secret) = split(text)
            .filter(|(_, secret)| secret.len() >= SECRET_CHARACTERS_MIN)
            .ok_or_else(|| Invalid::new("a key is mt5c_<id>_<secret> with a secret of at least 32 characters"))?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new("a key has no spaces, and letters of ASCII only: a header could not carry it"));
        }
        if damaged(text) {
            return Err(Invalid::new("the key's end is not the checksum of the rest: it was not copied whole"));
        }
        let identity = Arc::new(Identity { key_id: id.to_owned(), ..identity });
        Ok(Self { identity, secret_sha256: hash(secret), expires_at: None })
    }

    /// The text of a new key: 64 random bits of id and 256 of secret, in hexadecimal, and the checksum of all before it.
    /// The secret is what follows the id, checksum and all.
    pub fn generate() -> Result<String, getrandom::Error> {
        use std::fmt::Write as _;
        let mut bytes = [0_u8; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        let mut text = PREFIX.to_owned();
        for (index, byte) in bytes.iter().enumerate() {
            if index == ID_BYTES {
                text.push('_');
            }
            let _ = write!(text, "{byte:02x}");
        }
        let checksum = checksum(&text);
        Ok(format!("{text}_{checksum}"))
    }
}

/// What everybody may see of a key's text.
pub fn visible(key_id: &str) -> String {
    format!("{PREFIX}{key_id}_")
}

/// Why a caller was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No key was sent.
    Missing,
    /// Unknown, expired or revoked.
    Wrong,
    /// The table of keys was never read yet, so nothing can be said of this one.
    NotYetKnown,
}

/// The keys a service knows: those of the environment at once, those of the database once it was read. What the database
/// says is revoked stays revoked, in the environment too.
#[derive(Clone)]
pub struct KeyRing {
    clock: Clock,
    keys: Arc<RwLock<Keys>>,
}

struct Keys {
    environment: HashMap<String, ApiKey>,
    database: Option<HashMap<String, ApiKey>>,
    revoked: HashSet<String>,
    /// Looks at the table that were begun.
    looks: u64,
    /// The look that gave what is known.
    newest: u64,
}

/// A look at the table of keys, which may end after one that was begun later and saw more.
#[derive(Clone, Copy, Debug)]
pub struct Look(u64);

impl Keys {
    fn find(&self, id: &str) -> Option<&ApiKey> {
        let known = self.environment.get(id).or_else(|| self.database.as_ref()?.get(id));
        known.filter(|_| !self.revoked.contains(id))
    }
}

impl KeyRing {
    /// A ring that knows the environment's keys only, so far.
    pub fn new(environment: &[ApiKey], clock: Clock) -> Self {
        let environment = by_id(environment.to_vec());
        let keys = Keys { environment, database: None, revoked: HashSet::new(), looks: 0, newest: 0 };
        Self { clock, keys: Arc::new(RwLock::new(keys)) }
    }

    /// Begins a look at the table, before it is read.
    pub fn look(&self) -> Look {
        let mut guard = self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.looks += 1;
        Look(guard.looks)
    }

    /// Takes over what this look found in the database: keys, and the ids of those that were revoked. Nothing where a look
    /// that was begun later has said already what it found.
    pub fn replace(&self, look: Look, keys: Vec<ApiKey>, revoked: HashSet<String>) {
        let mut guard = self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if look.0 > guard.newest {
            guard.newest = look.0;
            guard.database = Some(by_id(keys));
            guard.revoked = revoked;
        }
    }

    /// Who holds this key.
    pub fn identify(&self, text: Option<&str>) -> Result<Arc<Identity>, AuthError> {
        let (id, secret) = split(text.ok_or(AuthError::Missing)?).ok_or(AuthError::Wrong)?;
        let guard = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(key) = guard.find(id) else {
            return Err(if guard.database.is_some() { AuthError::Wrong } else { AuthError::NotYetKnown });
        };
        let same = bool::from(hash(secret).ct_eq(&key.secret_sha256));
        if same && self.alive(key) { Ok(key.identity.clone()) } else { Err(AuthError::Wrong) }
    }

    /// Whether who was identified would be still; false once his key was revoked or has expired.
    pub fn knows(&self, identity: &Identity) -> bool {
        let guard = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.find(&identity.key_id).is_some_and(|key| *key.identity == *identity && self.alive(key))
    }

    /// The accounts that a live terminal's key is bound to.
    pub fn accounts(&self) -> BTreeSet<AccountName> {
        let guard = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let keys = guard.environment.values().chain(guard.database.iter().flat_map(HashMap::values));
        let live = keys.filter(|key| !guard.revoked.contains(&key.identity.key_id) && self.alive(key));
        live.filter(|key| key.identity.scopes.contains(&Scope::Terminal))
            .filter_map(|key| key.identity.account.clone())
            .collect()
    }

    /// Whether the environment has the key with this id.
    pub fn of_environment(&self, key_id: &str) -> bool {
        let guard = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.environment.contains_key(key_id)
    }

    /// Counts a request of a key that was let in; no other makes a series.
    pub fn count_use(&self, identity: &Identity) {
        let used_at = (self.clock.now() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        metrics::counter!("pipeline_api_key_requests_total", "key_id" => identity.key_id.clone()).increment(1);
        metrics::gauge!("pipeline_api_key_last_used_timestamp_seconds", "key_id" => identity.key_id.clone())
            .set(used_at);
    }

    fn alive(&self, key: &ApiKey) -> bool {
        key.expires_at.is_none_or(|end| self.clock.now() < end)
    }
}

fn by_id(keys: Vec<ApiKey>) -> HashMap<String, ApiKey> {
    keys.into_iter().map(|key| (key.identity.key_id.clone(), key)).collect()
}

#[cfg(test)]
mod tests;
