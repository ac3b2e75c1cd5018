//! A market with the Expert Advisor at it: the market in this process, so that a test sees and moves it; the Expert
//! Advisor a process of its own, so that it can be killed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clock::Clock;
use ea_native::Build;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use stack::market::{self, Deal, DealType, Entry, Market, MarketConfig, Request, Response, SharedMarket};
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::support::{Whole, eventually};

/// The Expert Advisor's program with the sanitizers, compiled where its source has changed.
pub(super) async fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ea/CommunityTrader");
    // Compiling takes a while, and the platform runs in this thread.
    let compile = move || compiled(&root.join("ea/mql5"), &out, true);
    tokio::task::spawn_blocking(compile).await.unwrap()
}

/// The program of the sources in this folder.
pub(super) fn compiled(mql5: &Path, out: &Path, sanitize: bool) -> PathBuf {
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    let build = Build {
        source: mql5.join("Experts/CommunityTrader.mq5"),
        include: mql5.join("Include"),
        out: out.to_owned(),
        sanitize,
    };
    ea_native::build(&build).unwrap_or_else(|error| panic!("{error}"));
    out.to_owned()
}

/// A market, and the folder in which the Expert Advisor keeps what it knows.
pub(super) struct Desk {
    pub(super) market: SharedMarket,
    pub(super) folder: PathBuf,
    program: PathBuf,
    stop: CancellationToken,
}

/// A running Expert Advisor.
pub(super) struct Ea {
    child: Child,
    log: PathBuf,
}

/// What the tests wait for is short.
const QUICK: [(&str, &str); 5] = [
    ("InpWaitMs", "300"),
    ("InpTimerMs", "16"),
    ("InpUpdateSeconds", "1"),
    ("InpUnresolvedSeconds", "1"),
    ("InpGraceSeconds", "1"),
];

impl Desk {
    pub(super) async fn open() -> Self {
        Self::with(MarketConfig::default(), program().await)
    }

    pub(super) fn with(config: MarketConfig, program: PathBuf) -> Self {
        let folder = std::env::temp_dir().join(format!("ea-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("files")).unwrap();
        let opened = Market::open(None, config, Clock::default().now()).unwrap();
        let market: SharedMarket = Arc::new(Mutex::new(opened));
        let stop = CancellationToken::new();
        let listener = UnixListener::bind(folder.join("market")).unwrap();
        tokio::spawn(market::serve(listener, Arc::clone(&market), stop.clone(), None));
        Self { market, folder, program, stop }
    }

    /// Starts it with the tests' inputs and these.
    pub(super) fn start(&self, url: &str, key: &str, inputs: &[(&str, &str)]) -> Ea {
        self.launch(url, key, inputs, url)
    }

    /// The same in a terminal that allows no request to the platform.
    pub(super) fn start_unlisted(&self, url: &str) -> Ea {
        self.launch(url, "", &[], "http://127.0.0.1:2")
    }

    fn launch(&self, url: &str, key: &str, inputs: &[(&str, &str)], allowed: &str) -> Ea {
        let set = self.folder.join("inputs.set");
        let mut text = format!("InpUrl={url}\nInpKey={key}\n");
        let quick = QUICK.iter().filter(|(name, _)| inputs.iter().all(|(other, _)| name != other));
        for (name, value) in quick.chain(inputs) {
            let _ = writeln!(text, "{name}={value}");
        }
        std::fs::write(&set, text).unwrap();
        let log = self.folder.join("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(&self.program)
            .arg("--market")
            .arg(self.folder.join("market"))
            .arg("--files")
            .arg(self.folder.join("files"))
            .arg("--inputs")
            .arg(&set)
            .args(["--symbol", "EURUSD", "--allow", allowed])
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Ea { child, log }
    }

    /// Starts it against this platform, as the terminal of `main`.
    pub(super) fn trade(&self, whole: &Whole) -> Ea {
        self.start(&whole.platform.url, whole.sandbox.keys.terminal(), &[])
    }

    pub(super) fn now() -> time::OffsetDateTime {
        Clock::default().now()
    }

    pub(super) fn call(&self, request: Request) -> Response {
        self.market.lock().unwrap().call(request, Self::now())
    }

    /// The broker's days pass until this moment, with what each midnight costs; then its clock is back.
    pub(super) fn days_pass(&self, until: time::OffsetDateTime) {
        self.market.lock().unwrap().call(Request::Account, until);
    }

    pub(super) fn price(&self, symbol: &str, bid: &str) {
        let bid = bid.parse().unwrap();
        assert_eq!(self.call(Request::SetPrice { symbol: symbol.to_owned(), bid }), Response::Done);
    }

    pub(super) fn fail(&self, count: u32, retcode: u32, executed: bool) {
        assert_eq!(self.call(Request::FailNext { count, retcode, executed }), Response::Done);
    }

    /// Deals that opened.
    pub(super) fn fills(&self) -> Vec<Deal> {
        let market = self.market.lock().unwrap();
        let opened = |deal: &&Deal| deal.deal_type != DealType::Balance && deal.entry == Entry::In;
        market.deals().iter().filter(opened).cloned().collect()
    }

    /// Lots of the open positions, by ticket.
    pub(super) fn volumes(&self) -> Vec<Decimal> {
        self.market.lock().unwrap().positions().iter().map(|position| position.volume).collect()
    }

    /// Waits until so many orders have been sent and did not arrive yet.
    pub(super) async fn under_way(&self, count: usize) {
        let sent = || async { (self.market.lock().unwrap().under_way() == count).then_some(()) };
        eventually("the order is under way", sent).await;
    }

    pub(super) fn resting(&self) -> usize {
        self.market.lock().unwrap().orders().count()
    }

    pub(super) fn journal(&self) -> PathBuf {
        let login = self.market.lock().unwrap().account().login;
        self.folder.join(format!("files/CommunityTrader-{login}.journal"))
    }

    /// Ends market and platform, and removes what they left.
    pub(super) async fn closed(self, whole: Whole) {
        whole.finish().await;
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            println!("--- what the Expert Advisor logged\n{log}");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Ea {
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log holds these words.
    pub(super) async fn says(&self, words: &str) {
        eventually(&format!("it says {words:?}"), || async { self.log().contains(words).then_some(()) }).await;
    }

    pub(super) async fn killed(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it as closing the terminal does; it must end in order and without a finding of the sanitizers.
    pub(super) async fn stopped(mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.ended().await, Some(0), "it did not end in order");
    }

    /// Waits until it ends by itself; its exit code.
    pub(super) async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.expect("it goes on").unwrap().code()
    }
}

impl Whole {
    /// Posts a signal for an hour; its id.
    pub(super) async fn signal(&self, mut body: Value) -> String {
        if body.get("ttl_seconds").is_none() {
            body["ttl_seconds"] = json!(3600);
        }
        self.post(body).await
    }

    /// Posts a signal that must end executed.
    pub(super) async fn executed(&self, body: Value) -> Value {
        let posted = self.signal(body).await;
        self.state(&posted, "executed").await
    }

    /// Posts a signal that must end failed.
    pub(super) async fn failed(&self, body: Value) -> Value {
        let posted = self.signal(body).await;
        self.state(&posted, "failed").await
    }

    /// All trades by their tickets, oldest first.
    pub(super) async fn trades(&self) -> Vec<Value> {
        let answer = self.operator.get("/api/trades?limit=1000").await.expect("an answer");
        let mut trades = answer.as_array().expect("a list").clone();
        trades.reverse();
        trades
    }

    /// Waits until the trade with this ticket is closed.
    pub(super) async fn closed_trade(&self, ticket: u64) -> Value {
        eventually(&format!("the trade {ticket} is closed"), || async {
            let mut trades = self.trades().await.into_iter();
            trades.find(|trade| trade["ticket"] == json!(ticket) && trade["status"] == "closed")
        })
        .await
    }

    /// The causes that were told of what ended without a signal, oldest first.
    pub(super) async fn ends(&self, ticket: u64) -> Vec<String> {
        let mut db = self.sandbox.database().await.unwrap();
        sqlx::query_scalar(
            "select body->>'message' from trade_reports
             where status = 'closed' and body->>'ticket' = $1 order by trade_report_id",
        )
        .bind(ticket.to_string())
        .fetch_all(&mut db)
        .await
        .unwrap()
    }
}
