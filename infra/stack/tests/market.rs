//! The market as a process: what it says when it can't start, and that neither a signal nor a kill loses anything.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use stack::market::{Connection, Filling, Request, Response, TradeRequest, View, retcode};
use tokio::process::{Child, Command};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("market-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
        command.arg("market").arg("--socket").arg(self.socket()).arg("--data").arg(self.0.join("data"));
        command.args(arguments).args(["--tick-ms", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts a market, and connects as soon as it listens.
    async fn start(&self, arguments: &[&str]) -> (Child, Connection) {
        let mut child = self.command(arguments).spawn().unwrap();
        let connected = tokio::time::timeout(DEADLINE, async {
            loop {
                if let Ok(connection) = Connection::connect(&self.socket()).await {
                    return connection;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        tokio::select! {
            connected = connected => (child, connected.expect("it does not listen")),
            ended = child.wait() => panic!("it ended: {ended:?}"),
        }
    }

    /// What a market says that can't start.
    async fn refusal(&self, arguments: &[&str]) -> String {
        let ended = tokio::time::timeout(DEADLINE, self.command(arguments).output()).await;
        let Output { status, stderr, .. } = ended.expect("it goes on").unwrap();
        assert!(!status.success());
        String::from_utf8(stderr).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn call(connection: &mut Connection, request: Request) -> Response {
    tokio::time::timeout(DEADLINE, connection.call(&request)).await.expect("it does not answer").unwrap()
}

async fn view(connection: &mut Connection) -> View {
    match call(connection, Request::Sync { deals_after: 0, orders_skip: 0 }).await {
        Response::State(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn buy(symbol: &str) -> Request {
    let volume = "0.10".parse().unwrap();
    Request::OrderSend(TradeRequest {
        symbol: symbol.to_owned(),
        volume,
        filling: Filling::Ioc,
        ..TradeRequest::default()
    })
}

fn bars(folder: &Path, rows: &str) -> String {
    let file = folder.join("bars.csv");
    let header = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n";
    std::fs::write(&file, format!("{header}{rows}")).unwrap();
    format!("EURUSD={}", file.display())
}

/// Goal: a killed market comes back at its old socket with everything that it ever answered.
#[tokio::test]
async fn a_killed_market_comes_back_as_it_was() {
    let folder = Folder::new();
    let (mut child, mut connection) = folder.start(&["--deposit", "5000", "--leverage", "50"]).await;
    let Response::Trade(result) = call(&mut connection, buy("EURUSD")).await else { panic!() };
    assert_eq!(result.retcode, retcode::DONE);
    let before = view(&mut connection).await;
    child.kill().await.unwrap();
    assert!(folder.socket().exists(), "it was not asked to clean up");
    let (_child, mut connection) = folder.start(&[]).await;
    let after = view(&mut connection).await;
    assert_eq!(after, View { revision: after.revision, at_ms: after.at_ms, ..before });
    assert_eq!((after.account.balance, after.account.leverage), ("5000".parse().unwrap(), 50));
}

/// Goal: a market that is told to stop ends in order and leaves no socket.
#[tokio::test]
async fn a_stopped_market_takes_its_socket_with_it() {
    let folder = Folder::new();
    let (mut child, mut connection) = folder.start(&[]).await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(DEADLINE, child.wait()).await.expect("it goes on").unwrap();
    assert!(ended.success());
    assert!(!folder.socket().exists());
    assert!(connection.call(&Request::Account).await.is_err());
}

/// Goal: a second market does not take the first one's place, and the first one does not notice.
#[tokio::test]
async fn a_second_market_at_one_socket_is_refused() {
    let folder = Folder::new();
    let (_child, mut connection) = folder.start(&[]).await;
    let mut second = Command::new(env!("CARGO_BIN_EXE_stack"));
    second.arg("market").arg("--socket").arg(folder.socket()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, second.output()).await.expect("it goes on").unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"));
    assert!(view(&mut connection).await.connected);
}

/// Goal: what it is started with is what can be asked for: symbols with their suffix, costs, the kind of account, prices.
#[tokio::test]
async fn a_market_is_what_it_was_started_as() {
    let folder = Folder::new();
    let bars = bars(&folder.0, "2026.11.19\t1.20000\t1.20100\t1.19900\t1.20050\t1\t0\t5\r\n");
    let arguments =
        ["--symbols", "EURUSD,XAUUSD", "--suffix", ".r", "--commission", "3.5", "--fee", "0.1", "--netting"];
    let (_child, mut connection) = folder.start(&[&arguments[..], &["--bars", &bars]].concat()).await;
    let names = ["EURUSD.r", "XAUUSD.r"].map(str::to_owned).to_vec();
    assert_eq!(call(&mut connection, Request::Symbols).await, Response::Symbols(names));
    let Response::Trade(result) = call(&mut connection, buy("EURUSD.r")).await else { panic!() };
    assert_eq!((result.retcode, result.price), (retcode::DONE, "1.20005".parse().unwrap()));
    let view = view(&mut connection).await;
    assert!(!view.account.hedging);
    let deal = view.deals.last().unwrap();
    assert_eq!((deal.commission, deal.fee), ("-0.35".parse().unwrap(), "-0.01".parse().unwrap()));
}

/// Goal: what is wrong with the command line or a file is said in words that name it, before anything is served.
#[tokio::test]
async fn a_market_that_can_not_start_says_why() {
    let folder = Folder::new();
    let broken = bars(&folder.0, "2026.11.19\t1.2\t1.1\t1.0\t1.2\t1\t0\t5\n");
    let cases: [(&[&str], &str); 7] = [
        (&["--bars", &broken], "bars.csv:2: the first or last price is outside of the highest and lowest"),
        (&["--bars", "EURUSD=/nowhere/bars.csv"], "/nowhere/bars.csv: "),
        (&["--bars", "EURUSD"], "must be like EURUSD=FILE"),
        (&["--deposit=-1"], "--deposit"),
        (&["--commission", "0.001"], "in whole minor units"),
        (&["--leverage", "0"], "--leverage"),
        (&["--currency", "EUR"], "no symbol converts the profit of USDJPY"),
    ];
    for (arguments, words) in cases {
        let said = folder.refusal(arguments).await;
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!folder.socket().exists());
    }
}
