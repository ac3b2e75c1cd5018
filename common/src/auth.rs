//! API keys: `mt5c_<id>_<secret>`. A key belongs to a principal, has scopes, and may be bound to an account or a user.
//!
//! Only the SHA-256 of a secret is kept; secrets are compared in constant time.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::domain::{AccountName, Invalid, UserId};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Post signals.
    SignalsWrite,
    /// Be the terminal of the bound account.
    Terminal,
    /// Read everything.
    Read,
    /// Switch modes, cancel and resolve signals.
    Operate,
    /// Create members and move their money.
    MembersWrite,
    /// Read the bound member's own figures.
    Member,
}

impl Scope {
    /// Every scope an operator needs.
    pub const ALL: [Self; 5] = [Self::SignalsWrite, Self::Terminal, Self::Read, Self::Operate, Self::MembersWrite];

    /// The name in the database and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignalsWrite => "signals:write",
            Self::Terminal => "terminal",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::MembersWrite => "members:write",
            Self::Member => "member",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::SignalsWrite, Self::Terminal, Self::Read, Self::Operate, Self::MembersWrite, Self::Member]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| Invalid::new(format!("no scope {text:?}")))
    }
}

/// Who is asking.
#[derive(Clone, Debug)]
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

/// The id and the secret of a key's text.
fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(PREFIX)?.split_once('_').filter(|(id, secret)| !id.is_empty() && !secret.is_empty())
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
        let identity = Arc::new(Identity { key_id: id.to_owned(), ..identity });
        Ok(Self { identity, secret_sha256: hash(secret), expires_at: None })
    }

    /// The text of a new key: 64 random bits of id and 256 of secret, in hexadecimal.
    pub fn generate() -> Result<String, getrandom::Error> {
        use std::fmt::Write as _;
        let mut bytes = [0_u8; 40];
        getrandom::fill(&mut bytes)?;
        let mut text = PREFIX.to_owned();
        for (index, byte) in bytes.iter().enumerate() {
            if index == 8 {
                text.push('_');
            }
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    }
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

/// The keys a service knows: those of the environment at once, those of the database once it was read.
#[derive(Clone)]
pub struct KeyRing {
    clock: Clock,
    keys: Arc<RwLock<Keys>>,
}

struct Keys {
    environment: HashMap<String, ApiKey>,
    database: Option<HashMap<String, ApiKey>>,
}

impl KeyRing {
    /// A ring that knows the environment's keys only, so far.
    pub fn new(environment: &[ApiKey], clock: Clock) -> Self {
        let environment = by_id(environment.to_vec());
        Self { clock, keys: Arc::new(RwLock::new(Keys { environment, database: None })) }
    }

    /// Takes over what the database holds now.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        let mut guard = self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.database = Some(by_id(keys));
    }

    /// Who holds this key.
    pub fn identify(&self, text: Option<&str>) -> Result<Arc<Identity>, AuthError> {
        let (id, secret) = split(text.ok_or(AuthError::Missing)?).ok_or(AuthError::Wrong)?;
        let guard = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = guard.environment.get(id).or_else(|| guard.database.as_ref()?.get(id));
        let Some(key) = known else {
            return Err(if guard.database.is_some() { AuthError::Wrong } else { AuthError::NotYetKnown });
        };
        let same = bool::from(hash(secret).ct_eq(&key.secret_sha256));
        let alive = key.expires_at.is_none_or(|end| self.clock.now() < end);
        if same && alive { Ok(key.identity.clone()) } else { Err(AuthError::Wrong) }
    }
}

fn by_id(keys: Vec<ApiKey>) -> HashMap<String, ApiKey> {
    keys.into_iter().map(|key| (key.identity.key_id.clone(), key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let account = Some(AccountName::main());
        Identity { key_id: String::new(), principal: "p".into(), scopes: vec![Scope::Read], account, user: None }
    }

    #[test]
    fn a_key_opens_only_with_its_own_secret() {
        let (one, two) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let ring = KeyRing::new(&[ApiKey::new(&one, identity()).unwrap()], Clock::default());
        assert!(ring.identify(Some(&one)).is_ok());
        assert_eq!(ring.identify(None).unwrap_err(), AuthError::Missing);
        assert_eq!(ring.identify(Some(&two)).unwrap_err(), AuthError::NotYetKnown);
        let forged = format!("{}x", &one[..one.len() - 1]);
        assert_eq!(ring.identify(Some(&forged)).unwrap_err(), AuthError::Wrong);
        ring.replace(Vec::new());
        assert_eq!(ring.identify(Some(&two)).unwrap_err(), AuthError::Wrong);
        assert!(ring.identify(Some(&one)).is_ok());
    }

    #[test]
    fn an_expired_key_opens_nothing() {
        let clock = Clock::default();
        let text = ApiKey::generate().unwrap();
        let mut key = ApiKey::new(&text, identity()).unwrap();
        key.expires_at = Some(clock.now() + time::Duration::minutes(1));
        let ring = KeyRing::new(&[key], clock.clone());
        assert!(ring.identify(Some(&text)).is_ok());
        clock.advance(time::Duration::minutes(2));
        assert_eq!(ring.identify(Some(&text)).unwrap_err(), AuthError::Wrong);
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(ApiKey::new("mt5c_a_short", identity()).is_err());
        assert!(ApiKey::new("password", identity()).is_err());
    }
}
