//! Members, their money, and the account they share.

mod account;
mod login;
mod member;
mod movement;
mod statement;

use common::auth::{Identity, Scope};
use common::domain::{AccountName, Cents, Invalid};
use common::error::{FieldError, Problem};
use common::http::Caller;
use rust_decimal::Decimal;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::Error;
use crate::{Api, unit_price};

pub(crate) fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(member::create, member::list))
        .routes(routes!(member::update))
        .routes(routes!(member::close))
        .routes(routes!(member::stats))
        .routes(routes!(movement::invest))
        .routes(routes!(movement::withdraw))
        .routes(routes!(movement::list))
        .routes(routes!(movement::cancel))
        .routes(routes!(statement::statement))
        .routes(routes!(account::stats))
        .routes(routes!(account::history))
        .routes(routes!(account::close_pool))
        .routes(routes!(login::set))
        .with_state(api)
}

fn field<T>(name: &str, outcome: Result<T, Invalid>) -> Result<T, FieldError> {
    outcome.map_err(|error| FieldError::new(name, error.to_string()))
}

/// An amount a member names: above zero, in whole cents.
fn amount(name: &str, value: Decimal) -> Result<i64, FieldError> {
    let cents = field(name, Cents::exact(value))?.0;
    if cents > 0 { Ok(cents) } else { Err(FieldError::new(name, "an amount is above zero")) }
}

fn account_of(name: Option<String>) -> Result<String, FieldError> {
    field("account", name.map_or(Ok(AccountName::main()), TryInto::try_into)).map(String::from)
}

fn unknown_account(name: &str) -> Error {
    Error::NotFound(format!("no account {name}; it exists once a terminal's key is bound to it"))
}

fn unknown_member(id: &str) -> Error {
    Error::NotFound(format!("no member {id}"))
}

fn money(cents: i64) -> Decimal {
    Cents(cents).decimal()
}

/// Reading all members, or with a member's key its own.
fn allow_member(identity: &Identity, caller: &Caller, id: &str) -> Result<(), Problem> {
    let own =
        identity.scopes.contains(&Scope::Member) && identity.user.as_ref().is_some_and(|user| user.as_str() == id);
    if own { Ok(()) } else { caller.allow(Scope::Read).map(drop) }
}
