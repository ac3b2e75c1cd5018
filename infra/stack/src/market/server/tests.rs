//! The market over a real socket: order, faults that only a socket can show, and what is not understood.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;
use crate::market::{Connection, Filling, MarketConfig, TradeRequest, TradeResult, retcode};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A served market whose prices stand still, unless told otherwise.
struct Served {
    folder: PathBuf,
    market: SharedMarket,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn start(tick: Option<Duration>) -> Self {
        let folder = std::env::temp_dir().join(format!("market-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let listener = listen(&folder.join("socket")).await.unwrap();
        let market = Arc::new(Mutex::new(Market::open(None, MarketConfig::default(), now()).unwrap()));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, market.clone(), stop.clone(), tick));
        Self { folder, market, stop, serving }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    async fn connect(&self) -> Connection {
        Connection::connect(&self.socket()).await.unwrap()
    }

    async fn until(&self, condition: impl Fn(&Market) -> bool) {
        within(async {
            while !condition(&locked(&self.market)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing came in time")
}

async fn call(connection: &mut Connection, request: Request) -> Response {
    within(connection.call(&request)).await.unwrap()
}

async fn done(connection: &mut Connection, request: Request) {
    assert_eq!(call(connection, request).await, Response::Done);
}

fn buy() -> Request {
    Request::OrderSend(TradeRequest {
        symbol: "EURUSD".to_owned(),
        volume: "0.10".parse().unwrap(),
        filling: Filling::Ioc,
        magic: 7,
        ..TradeRequest::default()
    })
}

async fn trade(connection: &mut Connection) -> TradeResult {
    match call(connection, buy()).await {
        Response::Trade(result) => result,
        other => panic!("{other:?}"),
    }
}

async fn view(connection: &mut Connection) -> crate::market::View {
    match call(connection, Request::Sync { deals_after: 0, orders_skip: 0 }).await {
        Response::State(view) => *view,
        other => panic!("{other:?}"),
    }
}

/// What the server says to raw bytes until it hangs up, or until it has said so many lines.
async fn say(path: &Path, bytes: &[u8], lines: usize) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // A server that hangs up in the middle of a line need not read the rest of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while answer.lines().count() < lines || !answer.ends_with('\n') {
        match within(stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap()),
        }
    }
    answer
}

/// Goal: what one connection trades, another sees, and so does whoever hosts the market.
#[tokio::test]
async fn two_connections_and_the_host_see_one_market() {
    let served = Served::start(None).await;
    let (mut trader, mut observer) = (served.connect().await, served.connect().await);
    let result = trade(&mut trader).await;
    assert_eq!(result.retcode, retcode::DONE);
    let seen = view(&mut observer).await;
    assert!(seen.connected);
    assert_eq!(seen.positions.iter().map(|one| one.ticket).collect::<Vec<_>>(), [result.order]);
    assert_eq!(seen.deals.last().unwrap().ticket, result.deal);
    assert_eq!(locked(&served.market).positions(), seen.positions);
}

/// Goal: an order send takes its latency, and holds up nobody else meanwhile.
#[tokio::test]
async fn a_slow_order_send_does_not_block_another_connection() {
    let served = Served::start(None).await;
    let (mut trader, mut observer) = (served.connect().await, served.connect().await);
    done(&mut observer, Request::SetLatency { ms: 100 }).await;
    let sent_at = Instant::now();
    assert_eq!(trade(&mut trader).await.retcode, retcode::DONE);
    assert!(sent_at.elapsed() >= Duration::from_millis(100));
    done(&mut observer, Request::SetLatency { ms: 3_600_000 }).await;
    let sending = tokio::spawn(async move { trade(&mut trader).await });
    served.until(|market| market.under_way() == 1).await;
    assert_eq!(view(&mut observer).await.positions.len(), 1);
    assert!(!sending.is_finished());
}

/// Goal: an order that was sent arrives although its sender hung up meanwhile.
#[tokio::test]
async fn an_order_arrives_without_its_sender() {
    let served = Served::start(None).await;
    done(&mut served.connect().await, Request::SetLatency { ms: 50 }).await;
    let mut sender = UnixStream::connect(served.socket()).await.unwrap();
    sender.write_all(&[serde_json::to_vec(&buy()).unwrap(), vec![b'\n']].concat()).await.unwrap();
    drop(sender);
    served.until(|market| market.positions().len() == 1).await;
}

/// Goal: a dropped order send ends its connection without an answer, executed or not as asked; the next one is fine.
#[tokio::test]
async fn a_dropped_order_send_may_have_been_executed() {
    let served = Served::start(None).await;
    let mut observer = served.connect().await;
    for (executed, positions) in [(false, 0), (true, 1)] {
        done(&mut observer, Request::DropNext { count: 1, executed }).await;
        let mut trader = served.connect().await;
        let error = within(trader.call(&buy())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(view(&mut observer).await.positions.len(), positions, "executed: {executed}");
    }
    assert_eq!(trade(&mut served.connect().await).await.retcode, retcode::DONE);
    assert_eq!(view(&mut observer).await.positions.len(), 2);
}

/// Goal: nonsense is answered in its place, and the connection goes on.
#[tokio::test]
async fn a_line_that_is_not_understood_is_answered_with_an_error() {
    let served = Served::start(None).await;
    let said = say(&served.socket(), b"nonsense\n{\"tick\":{}}\n\xff\n\"symbols\"\n", 4).await;
    let answers: Vec<Response> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(answers[..3].iter().all(|answer| matches!(answer, Response::Error { .. })), "{said}");
    let symbols = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD"].map(str::to_owned);
    assert_eq!(answers[3..], [Response::Symbols(symbols.to_vec())]);
}

/// Goal: a line without an end takes a bounded amount of memory, and costs its sender the connection.
#[tokio::test]
async fn a_line_that_is_too_long_ends_its_connection() {
    let served = Served::start(None).await;
    let length = usize::try_from(LINE_BYTES_MAX).unwrap();
    let padded = |length: usize| [b"\"symbols\"".as_slice(), &vec![b' '; length - 10], b"\n"].concat();
    assert!(say(&served.socket(), &padded(length), 1).await.starts_with(r#"{"symbols""#));
    assert_eq!(say(&served.socket(), &padded(length + 1), 1).await, "");
    assert!(view(&mut served.connect().await).await.connected);
}

/// Goal: prices move by themselves at the pace asked for, and otherwise stand still.
#[tokio::test]
async fn prices_make_a_step_at_every_tick() {
    let served = Served::start(Some(Duration::from_millis(1))).await;
    let mut observer = served.connect().await;
    let tick = Request::Tick { symbol: "EURUSD".to_owned() };
    let first = call(&mut observer, tick.clone()).await;
    within(async { while call(&mut observer, tick.clone()).await == first {} }).await;
}

/// Goal: stopping ends every connection, even one that waits for a slow answer, and is over then.
#[tokio::test]
async fn a_stopped_market_hangs_up_at_once() {
    let mut served = Served::start(None).await;
    let (mut trader, mut observer) = (served.connect().await, served.connect().await);
    done(&mut observer, Request::SetLatency { ms: 3_600_000 }).await;
    let sending = tokio::spawn(async move { trader.call(&buy()).await });
    served.until(|market| market.under_way() == 1).await;
    served.stop.cancel();
    within(&mut served.serving).await.unwrap();
    assert!(within(sending).await.unwrap().is_err());
    assert!(within(observer.call(&Request::Account)).await.is_err());
}

/// Goal: a socket left by a killed process is replaced; one in use and a file that is no socket are left alone.
#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_in_use_refused() {
    let served = Served::start(None).await;
    assert!(matches!(listen(&served.socket()).await, Err(Error::InUse(_))));
    assert!(view(&mut served.connect().await).await.connected);
    let stale = served.folder.join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    listen(&stale).await.unwrap();
    let file = served.folder.join("file");
    std::fs::write(&file, "kept").unwrap();
    assert!(matches!(listen(&file).await, Err(Error::Io { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}
