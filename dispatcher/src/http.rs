//! The dispatcher's endpoints: for terminals, for readers, for operators, for who manages keys.

pub(crate) mod account;
mod anomaly;
mod keys;
mod operate;
mod polls;
mod read;
mod risk;
mod terminal;

use common::auth::Scope;
use common::domain::AccountName;
use common::error::FieldError;
use common::http::Caller;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Api;
use crate::error::Error;

pub(crate) use polls::Polls;

pub(crate) fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(terminal::pending))
        .routes(routes!(terminal::unresolved))
        .routes(routes!(terminal::confirm))
        .routes(routes!(account::update))
        .routes(routes!(read::signals))
        .routes(routes!(read::signal))
        .routes(routes!(read::trades))
        .routes(routes!(read::trades_history))
        .routes(routes!(anomaly::anomalies))
        .routes(routes!(anomaly::acknowledge))
        .routes(routes!(operate::cancel))
        .routes(routes!(operate::resolve))
        .routes(routes!(operate::control, operate::set_control))
        .routes(routes!(risk::risk, risk::set_risk))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .with_state(api)
}

/// The account that a terminal's key is bound to.
fn terminal_account(caller: &Caller) -> Result<&AccountName, Error> {
    caller.allow(Scope::Terminal)?.account.as_ref().ok_or(Error::NoAccount)
}

/// What no name of a terminal may be.
fn name_fault(field: &str, name: Option<&str>) -> Option<FieldError> {
    let fits = |name: &str| name.len() <= 128 && !name.chars().any(char::is_control);
    (!name.is_none_or(fits)).then(|| FieldError::new(field, "has at most 128 printable characters"))
}
