//! Grafana's dashboards: their form, and what Debian's Prometheus, which looks at a running platform, answers to the
//! questions of their panels. Those about the terminal's container are asked in the bridge's own tests.
#![expect(clippy::unwrap_used, reason = "what several tests share may panic like a test")]

mod catalogue;
#[path = "metrics/drive.rs"]
mod drive;
#[path = "dashboards/form.rs"]
mod form;
#[path = "dashboards/load.rs"]
mod load;
mod observe;
mod private;
mod support;

use drive::with_books;
use observe::dashboards::{differences, questions};
use observe::{Prometheus, Window};
use private::Scratch;

/// How often Prometheus looks at a platform that has nothing to do.
const IDLE_LOOKS: u32 = 8;
/// Rates look no further back.
const RATE_LOOKS: u32 = 5;

/// Goal: every line of every panel shows what happens: its question is valid, has numbers when things happen, and has
/// others than when nothing did. What must never change is made to: an imbalance, a difference in the books, a part that
/// is not ready, a process that does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_data_under_load_that_it_had_not_before() {
    let whole = with_books().await;
    let address = whole.sandbox.settings.metrics_addr.to_string();
    let scratch = Scratch::new();
    let prometheus = Prometheus::start(&scratch.root, &address);
    whole.report("10000", "10000").await;
    whole.poll("T").await;
    prometheus.sees("pipeline_account_equity{account=\"main\"} > 0").await;
    prometheus.watches(RATE_LOOKS).await;
    let idle = prometheus.watches_without_a_gap(IDLE_LOOKS).await;
    let load = Window::open();
    let whole = whole.under_load(&prometheus).await;
    let load = load.closed();
    let mut questions = questions();
    questions.retain(|question| !question.is_of_bridge());
    assert!(questions.len() > 80, "the dashboards are read: {}", questions.len());
    let wrong = differences(&prometheus, &questions, idle, load).await;
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), questions.len());
    assert_eq!(prometheus.label_values("pipeline_account_mode", "account").await, ["main", "second"]);
    println!("{} questions, {idle:?}, {load:?}", questions.len());
    prometheus.stop().await;
    whole.finish().await;
}
