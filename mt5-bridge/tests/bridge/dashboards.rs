//! What Debian's Prometheus, which looks at a running bridge, answers to the dashboard's questions about it.

use hyper::{Method, StatusCode};

use crate::dispatcher::Dispatcher;
use crate::observe::dashboards::{Question, differences, questions};
use crate::observe::{Prometheus, Window};
use crate::process::signal;
use crate::support::{Bridge, Options};

/// How often Prometheus looks at a bridge that has nothing to do.
const IDLE_LOOKS: u32 = 12;

/// Goal: every line of every panel about the terminal's container shows what happens there: its question is valid, has
/// numbers when things happen, and has others than when nothing did.
#[tokio::test]
async fn every_panel_about_the_bridge_has_data_under_load_that_it_had_not_before() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: true, mode: "", settings: &[] }).await;
    let prometheus = Prometheus::start(&bridge.folder, &bridge.metrics_address());
    bridge.until_ready().await;
    prometheus.sees("min(bridge_part_up) == 1 and on () bridge_terminal_connected == 1").await;
    let idle = prometheus.watches(IDLE_LOOKS).await;
    let load = Window::open();
    under_load(&bridge, &prometheus).await;
    let load = load.closed();
    let mut questions = questions();
    questions.retain(Question::is_of_bridge);
    assert!(questions.len() >= 9, "the dashboards are read: {}", questions.len());
    let wrong = differences(&prometheus, &questions, idle, load).await;
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), questions.len());
    prometheus.stop().await;
    bridge.finish().await;
}

/// Requests that are answered here, there, and by nobody; programs that die, services that they leave behind; and a
/// terminal that says it is cut off.
async fn under_load(bridge: &Bridge, prometheus: &Prometheus) {
    for _ in 0..50 {
        bridge.relay(Method::GET, "/api/signals/unresolved", &[], "").await;
        assert_eq!(bridge.relay(Method::GET, "/nowhere", &[], "").await.status, StatusCode::NOT_FOUND);
    }
    prometheus.sees("sum(bridge_relay_requests_total) > 50").await;
    // The next terminal's Expert Advisor says nothing, so that something else can be said for it.
    std::fs::write(bridge.terminal("standin-mode.txt"), "silent").expect("a mode");
    signal(bridge.process("wineserver").expect("Wine"), "KILL").await;
    prometheus.sees("bridge_part_up{part=\"terminal\"} == 0").await;
    prometheus.sees("bridge_part_up{part=\"terminal\"} == 1 and bridge_restarts_total > 0").await;
    let update =
        r#"{"balance":1,"equity":1,"margin":0,"free_margin":1,"profit":0,"connected":false,"trade_allowed":false}"#;
    bridge.relay(Method::POST, "/api/account/update", &[("content-type", "application/json")], update).await;
    prometheus.sees("bridge_terminal_connected == 0 and bridge_terminal_trade_allowed == 0").await;
    prometheus.sees("bridge_orphans_reaped_total > 0").await;
    std::fs::write(bridge.terminal("standin-mode.txt"), "").expect("a mode");
    signal(bridge.process("terminal64.exe").expect("a terminal"), "KILL").await;
    bridge.until_ready().await;
    prometheus.watches(4).await;
}
