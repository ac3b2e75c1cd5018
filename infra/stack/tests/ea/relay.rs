//! The way of the MT5 container: short polls without a key to the relay, and from there to the real dispatcher.

use serde_json::{Value, json};
use stack::market::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Ea};
use crate::support::Whole;

/// A relay that runs in this process.
struct Relay {
    url: String,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), String>>,
}

impl Relay {
    /// Adds this key to what it passes to the platform.
    async fn open(platform: &str, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (platform, key, stop) = (platform.to_owned(), key.to_owned(), CancellationToken::new());
        let ending = stop.clone();
        let serving = tokio::spawn(async move { mt5_bridge::relay_alone(listener, &platform, &key, ending).await });
        Self { url, stop, serving }
    }

    /// Starts the Expert Advisor as the container does: without a key, and with short polls.
    fn trade(&self, desk: &Desk) -> Ea {
        desk.start(&self.url, "", &[("InpWaitMs", "0"), ("InpTimerMs", "25")])
    }

    async fn closed(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn buy(symbol: &str) -> Value {
    json!({"symbol": symbol, "action": "BUY", "volume": 0.1})
}

/// Goal: through the relay a signal is executed; a dispatcher that goes away in mid-order is told in plain words, and when
/// it is back the Expert Advisor goes on by itself: the order is told, not sent again, and the next signal is executed.
#[tokio::test]
async fn the_dispatcher_may_come_and_go_behind_the_relay() {
    let Whole { mut sandbox, platform, operator } = Whole::start(&[]).await;
    // It comes back where it was.
    sandbox.settings.http_addr = platform.url.trim_start_matches("http://").parse().unwrap();
    let relay = Relay::open(&platform.url, sandbox.keys.terminal()).await;
    let whole = Whole { sandbox, platform, operator };
    let desk = Desk::open().await;
    let ea = relay.trade(&desk);
    whole.executed(buy("EURUSD")).await;
    assert_eq!(desk.call(Request::SetLatency { ms: 2_000 }), Response::Done);
    let under_way = whole.signal(buy("GBPUSD")).await;
    desk.under_way(1).await;
    let Whole { sandbox, platform, operator } = whole;
    assert!(platform.stop().await);
    desk.under_way(1).await; // still: its report finds nobody
    ea.says("The platform can't answer now (502)").await;
    ea.says("the dispatcher cannot be reached").await;
    desk.under_way(0).await;
    assert_eq!(desk.call(Request::SetLatency { ms: 0 }), Response::Done);
    let platform = sandbox.start().await.unwrap();
    let whole = Whole { sandbox, platform, operator };
    let executed = whole.state(&under_way, "executed").await;
    assert_eq!(executed["attempt"], 1);
    ea.says("The platform answers again").await;
    whole.executed(buy("USDJPY")).await;
    let symbols: Vec<String> = desk.fills().into_iter().map(|deal| deal.symbol).collect();
    assert_eq!(symbols, ["EURUSD", "GBPUSD", "USDJPY"]);
    assert_eq!(whole.trades().await.len(), 3);
    ea.stopped().await;
    relay.closed().await;
    desk.closed(whole).await;
}

/// Goal: a relay whose key the platform does not know is told on the chart in plain words, without the key, and nothing
/// is traded.
#[tokio::test]
async fn a_relay_with_an_unknown_key_is_told_in_plain_words() {
    let whole = Whole::start(&[]).await;
    let desk = Desk::open().await;
    let signal = whole.signal(buy("EURUSD")).await;
    let relay = Relay::open(&whole.platform.url, "mt5c_wrong_0123456789012345678901234567890123456789").await;
    let ea = relay.trade(&desk);
    ea.says("Alert: The platform refuses the key: wrong, revoked, or not a terminal's (403)").await;
    assert!(!ea.log().contains("0123456789012345"), "the key is in the log");
    whole.state(&signal, "pending").await;
    assert_eq!(desk.fills().len(), 0);
    ea.stopped().await;
    relay.closed().await;
    desk.closed(whole).await;
}
