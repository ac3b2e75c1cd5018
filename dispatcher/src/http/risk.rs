//! An account's limits, as an operator reads and writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use common::audit::{self, Entry};
use common::auth::Scope;
use common::domain::{Mode, Percent, Symbol, Volume, decimal};
use common::error::{FieldError, Problem};
use common::http::{Caller, Json, Path, RequestId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::operate::{commit, unknown_account};
use crate::Dispatcher;
use crate::error::Error;
use crate::life::gate::Rules;
use crate::store::{account, operate};

/// The most entries of a list of symbols.
const SYMBOLS_MAX: usize = 1_000;

/// The limits of an account. All fields are written; an unknown one is refused rather than ignored.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Risk {
    /// What may be opened, by the platform's names; null: everything.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, value_type = Option<Vec<Symbol>>, min_items = 1, max_items = 1_000)]
    symbols_allowed: Option<Vec<String>>,
    /// The most lots of one order.
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = Volume)]
    volume_max: Decimal,
    /// The most positions and openings under way, 1 to 1000000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    positions_max: i32,
    /// The most openings handed out on one day (UTC), 1 to 1000000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    openings_per_day_max: i32,
    /// The part of the day's starting equity whose loss stops openings for the rest of the day, above 0 to 100.
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = Percent)]
    daily_loss_percent_max: Decimal,
    /// Life of openings and changes that name none, 1 to 86400.
    #[schema(minimum = 1, maximum = 86_400)]
    signal_ttl_seconds: i32,
    /// Lots of a signal that names none.
    #[serde(deserialize_with = "decimal::required")]
    #[schema(value_type = Volume)]
    default_volume: Decimal,
    /// The broker's names of symbols, by the platform's; those not named are handed out as they are.
    symbol_map: BTreeMap<String, String>,
    /// The account at the broker whose terminals are handed the signals; null: the first that one names.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, minimum = 1)]
    login: Option<i64>,
}

impl From<&Rules> for Risk {
    fn from(rules: &Rules) -> Self {
        let texts = |symbols: &BTreeSet<Symbol>| symbols.iter().map(ToString::to_string).collect();
        Self {
            symbols_allowed: rules.symbols_allowed.as_ref().map(texts),
            volume_max: rules.volume_max.get(),
            positions_max: rules.positions_max,
            openings_per_day_max: rules.openings_per_day_max,
            daily_loss_percent_max: rules.daily_loss_percent_max.get(),
            signal_ttl_seconds: rules.signal_ttl_seconds,
            default_volume: rules.default_volume.get(),
            symbol_map: rules.symbol_map.iter().map(|(one, other)| (one.to_string(), other.to_string())).collect(),
            login: rules.login,
        }
    }
}

impl Risk {
    /// As the gate has it, beside the mode, which is set elsewhere.
    fn rules(self, mode: Mode) -> Result<Rules, FieldError> {
        let volume = |field: &str, value: Decimal| {
            Volume::try_from(value).map_err(|error| FieldError::new(field, error.to_string()))
        };
        let within = |field: &str, value: i32, most: i32| {
            if (1..=most).contains(&value) {
                Ok(value)
            } else {
                Err(FieldError::new(field, format!("is from 1 to {most}")))
            }
        };
        let rules = Rules {
            mode,
            symbols_allowed: self.symbols_allowed.map(symbols).transpose()?,
            volume_max: volume("volume_max", self.volume_max)?,
            positions_max: within("positions_max", self.positions_max, 1_000_000)?,
            openings_per_day_max: within("openings_per_day_max", self.openings_per_day_max, 1_000_000)?,
            daily_loss_percent_max: Percent::try_from(self.daily_loss_percent_max)
                .map_err(|error| FieldError::new("daily_loss_percent_max", error.to_string()))?,
            signal_ttl_seconds: within("signal_ttl_seconds", self.signal_ttl_seconds, 86_400)?,
            default_volume: volume("default_volume", self.default_volume)?,
            symbol_map: symbol_map(self.symbol_map)?,
            login: self.login,
        };
        if rules.default_volume > rules.volume_max {
            return Err(FieldError::new("default_volume", "is at most volume_max"));
        }
        if rules.login.is_some_and(|login| login <= 0) {
            return Err(FieldError::new("login", "is above zero"));
        }
        Ok(rules)
    }
}

fn symbols(names: Vec<String>) -> Result<BTreeSet<Symbol>, FieldError> {
    let fault = |reason: String| FieldError::new("symbols_allowed", reason);
    if names.is_empty() || names.len() > SYMBOLS_MAX {
        return Err(fault(format!("names 1 to {SYMBOLS_MAX} symbols; null allows all")));
    }
    names.into_iter().map(Symbol::try_from).collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))
}

/// A broker's name stands for one symbol of the platform alone: reports come back with it.
fn symbol_map(names: BTreeMap<String, String>) -> Result<BTreeMap<Symbol, Symbol>, FieldError> {
    let fault = |reason: String| FieldError::new("symbol_map", reason);
    if names.len() > SYMBOLS_MAX {
        return Err(fault(format!("has at most {SYMBOLS_MAX} names")));
    }
    let symbol = |name: String| Symbol::try_from(name).map_err(|error| fault(error.to_string()));
    let (mut map, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (platform, broker) in names {
        let (platform, broker) = (symbol(platform)?, symbol(broker)?);
        if !taken.insert(broker.clone()) {
            return Err(fault(format!("{broker} stands for two symbols")));
        }
        if map.insert(platform.clone(), broker).is_some() {
            return Err(fault(format!("{platform} is named twice")));
        }
    }
    match map.iter().find(|(platform, broker)| platform != broker && map.contains_key(*broker)) {
        Some((platform, broker)) => Err(fault(format!("{broker}, for {platform}, is itself mapped to another name"))),
        None => Ok(map),
    }
}

/// Reads an account's limits.
#[utoipa::path(get, path = "/api/accounts/{account}/risk", tag = "control", params(("account" = String, Path)),
    responses((status = 200, body = Risk), (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn risk(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    Path(account): Path<String>,
) -> Result<axum::Json<Risk>, Error> {
    caller.allow(Scope::Operate)?;
    let row = account::find(&mut *dispatcher.pool.acquire().await?, &account).await?;
    Ok(axum::Json(Risk::from(&row.ok_or_else(|| unknown_account(&account))?.account()?.rules)))
}

/// Writes an account's limits.
#[utoipa::path(put, path = "/api/accounts/{account}/risk", tag = "control", params(("account" = String, Path)),
    request_body = Risk, responses((status = 200, body = Risk), (status = 400, body = Problem),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 413, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn set_risk(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(account): Path<String>,
    Json(risk): Json<Risk>,
) -> Result<axum::Json<Risk>, Error> {
    let principal = &caller.allow(Scope::Operate)?.principal;
    let mut transaction = dispatcher.pool.begin().await?;
    let row = account::lock(&mut transaction, &account).await?.ok_or_else(|| unknown_account(&account))?;
    let before = row.account()?.rules;
    let rules = risk.rules(before.mode)?;
    if before.login != rules.login && operate::any_in_hand(&mut transaction, &account).await? {
        let detail =
            "signals are being executed, or their outcome is unknown: it can only be found at the present login; \
                      change it when they have ended"
                .to_owned();
        return Err(Error::Conflict("signals_in_hand", detail));
    }
    account::set_rules(&mut transaction, &account, &rules).await?;
    let details = json!({"account": account, "risk": Risk::from(&rules)});
    let (now, request_id) = (dispatcher.clock.now(), &*request_id);
    let entry = Entry { at: now, event: "control.risk", principal, request_id, details };
    audit::append(&mut transaction, crate::NAME, &[entry]).await?;
    commit(&dispatcher, transaction, account.clone()).await?;
    tracing::info!(account, principal, request.id = request_id, "limits changed");
    Ok(axum::Json(Risk::from(&rules)))
}
