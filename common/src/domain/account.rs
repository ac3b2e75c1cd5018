//! What an account may do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Action, Invalid};

/// An operator's switch per account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everything is handed out.
    Active,
    /// Closings and changes of stops only.
    Reducing,
    /// Nothing is handed out; closings wait, openings are rejected.
    Halted,
}

impl Mode {
    /// The name used in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reducing => "reducing",
            Self::Halted => "halted",
        }
    }

    /// Whether an order of this action may be handed to the terminal now.
    pub fn hands_out(self, action: Action) -> bool {
        match self {
            Self::Active => true,
            Self::Reducing => !action.opens(),
            Self::Halted => action == Action::Ping,
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "active" => Ok(Self::Active),
            "reducing" => Ok(Self::Reducing),
            "halted" => Ok(Self::Halted),
            other => Err(Invalid::new(format!("mode is one of active, reducing, halted; got {other:?}"))),
        }
    }
}
