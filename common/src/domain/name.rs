//! Names that come from outside: symbols, accounts, users.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, pattern = $pattern)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                let trimmed = text.trim();
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(trimmed).map_err(Invalid::new)?;
                Ok(Self(if trimmed.len() == text.len() { text } else { trimmed.to_owned() }))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

fn printable(text: &str) -> Result<(), &'static str> {
    match text.chars().count() {
        1..=64 if text.chars().all(|c| !c.is_control()) => Ok(()),
        1..=64 => Err("a name holds no control characters"),
        _ => Err("a name has 1 to 64 characters"),
    }
}

fn plain(text: &str) -> Result<(), &'static str> {
    printable(text)?;
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)) {
        Ok(())
    } else {
        Err("a name holds letters, digits and - _ . @ only")
    }
}

name!(
    /// An instrument as the broker (or the account's symbol map) spells it.
    Symbol, printable, r"^\s*\S(.{0,62}\S)?\s*$"
);
name!(
    /// A trading account known to the platform; `main` where none is named.
    AccountName, plain, r"^\s*[A-Za-z0-9_.@-]{1,64}\s*$"
);
name!(
    /// A member.
    UserId, plain, r"^\s*[A-Za-z0-9_.@-]{1,64}\s*$"
);
name!(
    /// Who holds keys.
    Principal, plain, r"^\s*[A-Za-z0-9_.@-]{1,64}\s*$"
);

impl AccountName {
    /// The account of clients that name none.
    pub fn main() -> Self {
        Self("main".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signal::HEARTBEAT_PRINCIPAL;

    /// Goal: nobody can be given a key under which his signals would pass for heartbeats, which are not shown or counted.
    #[test]
    fn no_key_can_send_in_the_heartbeats_name() {
        assert!(HEARTBEAT_PRINCIPAL.parse::<Principal>().is_err());
        assert!("heartbeat".parse::<Principal>().is_ok());
    }

    #[test]
    fn symbols_have_1_to_64_printable_characters() {
        assert!("EURUSD.a".parse::<Symbol>().is_ok());
        assert!("x".repeat(64).parse::<Symbol>().is_ok());
        for bad in [String::new(), "  ".to_owned(), "x".repeat(65), "EUR\u{0}USD".to_owned(), "EUR\nUSD".to_owned()] {
            assert!(Symbol::try_from(bad.clone()).is_err(), "{bad:?}");
        }
        assert_eq!(" EURUSD ".parse::<Symbol>().unwrap().as_str(), "EURUSD");
    }
}
