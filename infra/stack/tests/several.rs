//! Two of each service, as processes of their own on one PostgreSQL and one RabbitMQ: which of them takes what, and that
//! order holds per symbol and per account, also while the one at work is killed.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod private;
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use private::{Program, Scratch, within};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use stack::client::{Client, cents};
use stack::sandbox::{Sandbox, lift_limits};
use stack::servers::free_ports;
use support::{DEADLINE, eventually, servers};

const READY: Duration = Duration::from_secs(30);
const SYMBOLS: [&str; 3] = ["EURUSD", "XAUUSD", "US500"];

/// An instance of a service, which keeps its addresses when it is started again.
struct Instance {
    service: &'static str,
    addresses: [String; 2],
    program: Program,
    operator: Client,
}

impl Instance {
    fn start(scratch: &Scratch, sandbox: &Sandbox, service: &'static str, ports: &mut Vec<u16>) -> Self {
        let addresses = [0, 1].map(|_| format!("127.0.0.1:{}", ports.pop().unwrap()));
        let operator = Client::new(&format!("http://{}", addresses[0]), sandbox.keys.operator()).unwrap();
        let program = Self::spawn(scratch, sandbox, service, &addresses);
        Self { service, addresses, program, operator }
    }

    fn spawn(scratch: &Scratch, sandbox: &Sandbox, service: &str, addresses: &[String; 2]) -> Program {
        let mut environment = sandbox.environment();
        let variables = ["HTTP_ADDR", "METRICS_ADDR"].map(str::to_owned);
        environment.extend(variables.into_iter().zip(addresses.clone()));
        Program::spawn(scratch, &["serve", "--only", service], &environment)
    }

    async fn ready(&self) {
        within(READY, "the instance is ready", || async {
            self.operator.send(Method::GET, "/readyz", None).await.is_ok_and(|(status, _)| status == 200)
        })
        .await;
    }

    /// Killed, and started again at once.
    async fn restart(&mut self, scratch: &Scratch, sandbox: &Sandbox) {
        self.program.signal(Signal::KILL);
        self.program.ended(Duration::from_secs(10)).await;
        self.program = Self::spawn(scratch, sandbox, self.service, &self.addresses);
    }

    /// The sum of a metric's series.
    async fn sum(&self, name: &str) -> u64 {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let text =
            http.get(format!("http://{}/metrics", self.addresses[1])).send().await.unwrap().text().await.unwrap();
        let series =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// Two of each service, started at once on a database that does not have its schema yet.
struct Pairs {
    scratch: Scratch,
    sandbox: Sandbox,
    ingest: [Instance; 2],
    dispatcher: [Instance; 2],
    distributor: [Instance; 2],
}

impl Pairs {
    async fn start() -> Self {
        let (scratch, (database_url, amqp_url)) = (Scratch::new(), servers());
        let sandbox = Sandbox::create(&database_url, &amqp_url, &[]).await.unwrap();
        let mut ports = free_ports(12).unwrap();
        let [ingest, dispatcher, distributor] = ["ingest", "dispatcher", "distributor"]
            .map(|service| [0, 1].map(|_| Instance::start(&scratch, &sandbox, service, &mut ports)));
        let pairs = Self { scratch, sandbox, ingest, dispatcher, distributor };
        for instance in pairs.ingest.iter().chain(&pairs.dispatcher).chain(&pairs.distributor) {
            instance.ready().await;
        }
        pairs
    }

    async fn count(&self, what: &str) -> i64 {
        let mut db = self.sandbox.database().await.unwrap();
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {what}")))
            .fetch_one(&mut db)
            .await
            .unwrap()
    }

    /// Posts at both by turns, a symbol's signals one after the other; the ids by symbol in the order of their answers.
    async fn post(&self, rounds: std::ops::Range<usize>, posted: &mut BTreeMap<&'static str, Vec<String>>) {
        for round in rounds {
            for (place, symbol) in SYMBOLS.into_iter().enumerate() {
                let body = json!({"symbol": symbol, "action": "BUY", "volume": 0.01, "ttl_seconds": 3600,
                    "comment": format!("{round}")});
                let client = &self.ingest[(round + place) % 2].operator;
                let answer = client.post("/api/signal", &body).await.unwrap();
                posted.entry(symbol).or_default().push(answer["signal_id"].as_str().unwrap().to_owned());
            }
        }
    }

    /// Takes all there is as one terminal that asks both by turns, and executes it; the ids by symbol as they came.
    async fn execute(&self, until: usize, taken: &mut BTreeMap<String, Vec<String>>) {
        let (mut turn, began) = (0, Instant::now());
        while taken.values().map(Vec::len).sum::<usize>() < until {
            turn += 1;
            assert!(began.elapsed() < DEADLINE, "{until} signals were not handed out: {taken:?}");
            // One that was killed is asked again when its turn comes.
            let dispatcher = &self.dispatcher[turn % 2].operator;
            let path = "/api/signals/pending?limit=10&protocol=2&terminal=T&wait_ms=100";
            let Ok((reqwest::StatusCode::OK, signals)) = dispatcher.send(Method::GET, path, None).await else {
                continue;
            };
            for signal in signals.as_array().unwrap() {
                let ids = taken.entry(signal["symbol"].as_str().unwrap().to_owned()).or_default();
                ids.push(signal["signal_id"].as_str().unwrap().to_owned());
                self.confirm(signal, turn).await;
            }
        }
    }

    /// Confirms an order with the signal's own number as its ticket, at whichever answers.
    async fn confirm(&self, signal: &Value, turn: usize) {
        let body = json!({"id": signal["id"], "attempt": signal["attempt"], "terminal": "T", "ticket": signal["id"],
            "deal": signal["id"], "volume": 0.01, "price": 1.1});
        let turn = std::cell::Cell::new(turn);
        eventually("the confirmation is taken", || async {
            turn.set(turn.get() + 1);
            self.dispatcher[turn.get() % 2].operator.post("/api/trades/confirm", &body).await.ok()
        })
        .await;
    }

    async fn finish(self) {
        let Self { sandbox, ingest, dispatcher, distributor, .. } = self;
        for mut instance in ingest.into_iter().chain(dispatcher).chain(distributor) {
            instance.program.stop(Signal::TERM, Duration::from_secs(10)).await;
        }
        sandbox.remove().await.unwrap();
    }
}

/// What each of both has counted, once they have counted so much together: they count after they have written.
async fn counted(instances: &[Instance], name: &str, total: u64) -> [u64; 2] {
    eventually(&format!("{name} is {total}"), || async {
        let counts = [instances[0].sum(name).await, instances[1].sum(name).await];
        (counts.iter().sum::<u64>() >= total).then_some(counts)
    })
    .await
}

/// Goal: signals that come in at two ingests go through one dispatcher at a time into the database, and through both to the
/// terminal, per symbol in the order of their acceptance and each once; also when the dispatchers are killed in turn.
#[tokio::test(flavor = "multi_thread")]
async fn order_per_symbol_holds_over_two_of_each_and_over_the_death_of_the_one_at_work() {
    let mut pairs = Pairs::start().await;
    lift_limits(&mut pairs.sandbox.database().await.unwrap()).await.unwrap();
    let (mut posted, mut taken) = (BTreeMap::new(), BTreeMap::new());
    pairs.post(0..20, &mut posted).await;
    pairs.execute(60, &mut taken).await;
    let mut stored = counted(&pairs.dispatcher, "pipeline_signals_stored_total", 60).await;
    let handed_out = counted(&pairs.dispatcher, "pipeline_signals_handed_out_total", 60).await;
    println!("stored by each {stored:?}, handed out by each {handed_out:?}");
    stored.sort_unstable();
    assert_eq!(stored, [0, 60], "one of them consumes");
    assert!(handed_out.iter().all(|count| *count > 0), "both hand out: {handed_out:?}");
    assert_eq!(handed_out.iter().sum::<u64>(), 60);
    for round in 1..5 {
        pairs.post(round * 20..round * 20 + 10, &mut posted).await;
        pairs.dispatcher[round % 2].restart(&pairs.scratch, &pairs.sandbox).await;
        pairs.post(round * 20 + 10..round * 20 + 20, &mut posted).await;
        pairs.execute((round + 1) * 60, &mut taken).await;
        pairs.dispatcher[round % 2].ready().await;
    }
    for symbol in SYMBOLS {
        assert_eq!(taken[symbol], posted[symbol], "{symbol} as it was accepted, each once");
    }
    assert_eq!(pairs.count("signals where state = 'executed' and attempt = 1").await, 300);
    pairs.finish().await;
}

/// Goal: an account's reports that come in at two dispatchers are applied by one distributor at a time, in their order and
/// each once; also when the distributors are killed in turn; both then tell the same cents, and the books are clean.
#[tokio::test(flavor = "multi_thread")]
async fn order_per_account_holds_over_two_of_each_and_over_the_death_of_the_one_at_work() {
    let mut pairs = Pairs::start().await;
    for (user, investment) in [("anna", 3_000), ("ben", 7_000)] {
        let body = json!({"user_id": user, "investment": investment});
        pairs.distributor[0].operator.post("/api/users", &body).await.unwrap();
    }
    let mut seq = 0;
    for round in 0..6 {
        for _ in 0..50 {
            seq += 1;
            let equity = 10_000 + seq;
            let body = json!({"balance": equity, "equity": equity, "margin": 0, "free_margin": equity, "profit": 0,
                "net_deposits": 10_000, "currency": "USD", "login": 1, "session": "s", "seq": seq});
            pairs.dispatcher[seq % 2].operator.post("/api/account/update", &body).await.unwrap();
        }
        if round == 0 {
            eventually("all are applied", || async { (pairs.count("account_state").await == 50).then_some(()) }).await;
            let mut applied = counted(&pairs.distributor, "pipeline_account_updates_total", 50).await;
            println!("applied by each {applied:?}");
            applied.sort_unstable();
            assert_eq!(applied, [0, 50], "one of them consumes");
        } else {
            pairs.distributor[round % 2].restart(&pairs.scratch, &pairs.sandbox).await;
        }
    }
    eventually("every report is recorded", || async {
        (pairs.count("account_state").await == i64::try_from(seq).unwrap()).then_some(())
    })
    .await;
    let odd = pairs.count("account_state where outcome <> 'applied'").await;
    assert_eq!(odd, 0, "none came out of order");
    for distributor in &pairs.distributor {
        distributor.ready().await;
        for (user, profit) in [("anna", 8_970), ("ben", 20_930)] {
            eventually("the member's profit is that of the last report", || async {
                let stats = distributor.operator.get(&format!("/api/users/{user}/stats")).await.unwrap();
                (cents(&stats["profit_loss"]) == profit).then_some(())
            })
            .await;
        }
    }
    let verdict = distributor::books::verify(&mut pairs.sandbox.database().await.unwrap(), &[]).await.unwrap();
    assert!(verdict.is_clean());
    pairs.finish().await;
}
