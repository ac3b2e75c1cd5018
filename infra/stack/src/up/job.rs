//! The main job: members invest, signals are traded, prices move, members' profit follows, and all of it is compared.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use common::clock::Clock;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::UpError;
use super::native;
use super::view::{View, signed};
use crate::client::{Client, ClientError, cents};
use crate::market::{Market, MarketConfig, Request, SharedMarket};
use crate::platform::Keys;
use crate::terminal::{self, Event};

/// The members of the demonstration and what they bring.
pub(super) const MEMBERS: [(&str, i64); 2] = [("anna", 3_000), ("ben", 7_000)];
/// How long a step may take before it counts as failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);
/// What a killed run had in hand is known after its lease of 30 s and a look-up; what waited behind it then has its turn.
const LEFT_OPEN_DEADLINE: Duration = Duration::from_secs(90);
/// Between two signals of the run that goes on.
const PAUSE: Duration = Duration::from_secs(3);
/// Positions beyond which the run that goes on closes rather than opens.
const POSITIONS_MAX: usize = 6;

impl From<ClientError> for UpError {
    fn from(error: ClientError) -> Self {
        Self::Job(error.to_string())
    }
}

pub(super) fn unverified(text: impl Into<String>) -> UpError {
    UpError::Job(text.into())
}

/// Runs the job; with `once` returns its figures, else goes on until told to stop.
pub(super) async fn run(
    url: &str,
    keys: &Keys,
    folder: &Path,
    ea: Option<&Path>,
    once: bool,
    view: View,
    stop: &CancellationToken,
) -> Result<Option<Value>, UpError> {
    let opened = Market::open(Some(&folder.join("market")), MarketConfig::default(), Clock::default().now());
    let market: SharedMarket = Arc::new(opened.map_err(|error| unverified(error.to_string()))?.into());
    let (events, seen) = mpsc::unbounded_channel();
    let ending = stop.child_token();
    let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().map_err(ClientError::from)?;
    let config = terminal::Config {
        account: Some("main".to_owned()),
        journal: Some(folder.join("journal.jsonl")),
        update_interval: Duration::from_secs(2),
        update_gap: Duration::from_millis(50),
        // The job moves the prices, so that it knows when they stand still.
        tick_interval: None,
        ..terminal::Config::new(url, keys.terminal(), http)
    };
    let terminal = async {
        let (market, ending) = (market.clone(), ending.clone());
        if let Some(program) = ea {
            let traded = native::run(program, folder, (url, keys.terminal()), market, view, ending);
            traded.await.map_err(|error| error.to_string())
        } else {
            let traded = terminal::run(config, market, Some(events), ending);
            traded.await.map_err(|error| error.to_string())
        }
    };
    let operator = Client::new(url, keys.operator())?;
    let job = Job { generator: operator.with_key(keys.generator()), operator, market: market.clone(), view };
    let watch = tokio::spawn(tell(seen, view));
    let work = async {
        let figures = job.main_job().await?;
        if !once {
            job.go_on(stop).await?;
        }
        ending.cancel();
        Ok::<_, UpError>(figures)
    };
    let (figures, ended) = tokio::join!(
        async {
            let outcome = work.await;
            ending.cancel();
            outcome
        },
        async {
            let ended = terminal.await;
            if ended.is_err() {
                ending.cancel();
            }
            ended
        }
    );
    watch.abort();
    ended.map_err(|error| unverified(format!("the terminal ended: {error}")))?;
    Ok(Some(figures?).filter(|_| once))
}

/// Shows what the terminal does.
async fn tell(mut seen: mpsc::UnboundedReceiver<Event>, view: View) {
    while let Some(event) = seen.recv().await {
        match event {
            Event::Received { id, action, symbol, held_ms, .. } => {
                let (action, symbol) = (json!(action), symbol.unwrap_or_default());
                let action = action.as_str().unwrap_or_default();
                view.terminal(&format!("#{id} {action} {symbol} in hand (its poll was held {held_ms} ms)"));
            }
            Event::Executed { id, symbol, ticket, price, volume, retcode } => {
                view.terminal(&format!("#{id} {symbol} {volume} at {price}, ticket {ticket}, retcode {retcode}"));
            }
            Event::Error { message } => view.trouble(&message),
            Event::Acknowledged { .. } | Event::Price { .. } | Event::Account { .. } => {}
        }
    }
}

pub(super) struct Job {
    generator: Client,
    pub(super) operator: Client,
    market: SharedMarket,
    view: View,
}

/// A signal that was executed.
pub(super) struct Executed {
    pub(super) id: u64,
    pub(super) signal_id: String,
    milliseconds: i64,
}

impl Job {
    pub(super) fn with_market<T>(&self, look: impl FnOnce(&mut Market) -> T) -> T {
        look(&mut self.market.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn move_prices(&self, steps: u32) {
        self.with_market(|market| market.call(Request::Advance { steps }, Clock::default().now()));
    }

    async fn main_job(&self) -> Result<Value, UpError> {
        self.view.step("the terminal reports the account");
        self.nothing_open().await?;
        self.settled().await?;
        self.view.step("two members invest");
        for (name, amount) in MEMBERS {
            let body = json!({"user_id": name, "email": format!("{name}@example.org"), "investment": amount});
            let (status, answer) = self.operator.send(reqwest::Method::POST, "/api/users", Some(&body)).await?;
            // From an earlier run on the same data.
            if !status.is_success() && answer["code"] != "user_exists" {
                return Err(unverified(format!("member {name} was not added: {status} {answer}")));
            }
        }
        let (before, books_before) = (self.settled().await?, self.books());
        self.show_members().await?;
        self.view.step("signals are posted, each twice with the same key: one order only");
        let mut executed = Vec::new();
        for body in [
            json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.30, "max_slippage_points": 50}),
            json!({"symbol": "GBPUSD", "action": "sell", "volume": "0.20"}),
            json!({"symbol": "XAUUSD", "action": "BUY", "confidence": 0.9, "timeframe": "H1"}),
        ] {
            executed.push(self.trade(&body).await?);
        }
        for signal in &executed {
            self.compare_opening(signal).await?;
        }
        self.view.step("prices move");
        for _ in 0..5 {
            self.move_prices(20);
            self.settled().await?;
            self.show_members().await?;
        }
        self.view.step("positions are closed, one in part first");
        executed.push(self.trade(&json!({"symbol": "EURUSD", "action": "CLOSE", "volume": 0.10})).await?);
        self.move_prices(20);
        executed.push(self.trade(&json!({"action": "CLOSE_ALL"})).await?);
        let after = self.settled().await?;
        self.show_members().await?;
        let members = self.compare_money(&before, &books_before, &after).await?;
        let orders = self.compare_orders(&executed)?;
        let slowest = executed.iter().map(|signal| signal.milliseconds).max().unwrap_or(0);
        self.view.verified(&format!(
            "{} signals, {orders} orders by the market's own fills; members' shares add up to the pool to the cent; \
             slowest signal {slowest} ms from acceptance to confirmation",
            executed.len()
        ));
        Ok(json!({
            "verified": true,
            "signals": executed.len(),
            "orders": orders,
            "profit": after["profit_loss"],
            "pool_equity": after["pool_equity"],
            "equity": after["account"]["equity"],
            "slowest_ms": slowest,
            "members": members,
        }))
    }

    /// Waits until the signals that an earlier run left open have come to their ends: they hold up those behind them.
    async fn nothing_open(&self) -> Result<(), UpError> {
        let started = Instant::now();
        let mut told = false;
        loop {
            let mut open = Vec::new();
            for state in ["pending", "processing", "unknown"] {
                let path = format!("/api/signals?account=main&state={state}&limit=1000");
                let signals = self.operator.get(&path).await?;
                open.extend(signals.as_array().into_iter().flatten().map(|signal| signal["id"].clone()));
            }
            if open.is_empty() {
                return Ok(());
            }
            if started.elapsed() > LEFT_OPEN_DEADLINE {
                return Err(unverified(format!("signals of an earlier run do not come to their end: {open:?}")));
            }
            if !told {
                self.view.step(&format!("{} signals of an earlier run come to their ends first", open.len()));
                told = true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Posts a signal twice under one key, waits for its end, and shows its way.
    async fn trade(&self, body: &Value) -> Result<Executed, UpError> {
        let mut body = body.clone();
        body["signal_id"] = json!(uuid::Uuid::new_v4().to_string());
        let first = self.generator.post("/api/signal", &body).await?;
        let again = self.generator.post("/api/signal", &body).await?;
        if first["signal_id"] != again["signal_id"] {
            return Err(unverified(format!("a retry was given another id: {first} {again}")));
        }
        let signal_id = first["signal_id"].as_str().unwrap_or_default().to_owned();
        let signal = self.ended(&signal_id).await?;
        let stages = &signal["stages"];
        let (action, symbol) = (signal["action"].as_str().unwrap_or(""), signal["symbol"].as_str().unwrap_or(""));
        self.view.signal(&format!(
            "#{} {action} {symbol} {}: stored {} ms, handed out {} ms, confirmed {} ms later; {} ms in all",
            signal["id"],
            signal["state"].as_str().unwrap_or(""),
            stages["stored_ms"],
            stages["claimed_ms"],
            stages["finished_ms"],
            stages["total_ms"],
        ));
        if signal["state"] != "executed" {
            return Err(unverified(format!("signal {signal_id} is {}: {}", signal["state"], signal["message"])));
        }
        let id = signal["id"].as_u64().unwrap_or_default();
        Ok(Executed { id, signal_id, milliseconds: stages["total_ms"].as_i64().unwrap_or_default() })
    }

    async fn ended(&self, signal_id: &str) -> Result<Value, UpError> {
        let started = Instant::now();
        loop {
            if let Some(signal) = self.operator.signal(signal_id).await?
                && !matches!(signal["state"].as_str(), Some("pending" | "processing" | "unknown"))
            {
                return Ok(signal);
            }
            if started.elapsed() > DEADLINE {
                return Err(unverified(format!("signal {signal_id} did not end within {DEADLINE:?}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn show_members(&self) -> Result<(), UpError> {
        let mut members = Vec::new();
        for (name, _) in MEMBERS {
            let stats = self.operator.get(&format!("/api/users/{name}/stats")).await?;
            members.push((name.to_owned(), cents(&stats["value"]), cents(&stats["profit_loss"])));
        }
        let equity = Decimal::from_i128_with_scale(self.books().equity, 2);
        self.view.members(equity, &members);
        Ok(())
    }

    /// After the job: prices move, signals come, until told to stop. What fails is shown, and the run goes on.
    async fn go_on(&self, stop: &CancellationToken) -> Result<(), UpError> {
        const OPENINGS: [(&str, &str); 4] =
            [("EURUSD", "BUY"), ("USDJPY", "SELL"), ("GBPUSD", "BUY"), ("XAUUSD", "SELL")];
        self.view.step("going on until Ctrl-C");
        for round in 0.. {
            if tokio::time::timeout(PAUSE, stop.cancelled()).await.is_ok() {
                break;
            }
            self.move_prices(20);
            let (symbol, action) = OPENINGS[round % OPENINGS.len()];
            let open = self.with_market(|market| market.positions().len());
            let body = if open > POSITIONS_MAX {
                json!({"action": "CLOSE_ALL"})
            } else {
                json!({"symbol": symbol, "action": action, "volume": 0.05})
            };
            let profit = self.books().profit;
            let step = async {
                self.trade(&body).await?;
                self.show_members().await
            };
            let outcome = tokio::select! {
                outcome = step => outcome,
                () = stop.cancelled() => break,
            };
            if let Err(error) = outcome {
                self.view.trouble(&format!("{error} (profit so far {})", signed(profit)));
            }
        }
        Ok(())
    }
}
