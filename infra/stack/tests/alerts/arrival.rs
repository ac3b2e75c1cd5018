//! Alerts of signals and terminals: from the event to whoever is told, and the news that it is over.

use std::time::Instant;

use serde_json::{Value, json};

use super::watch::Watch;
use crate::private::Scratch;
use crate::support::{Whole, eventually};

/// A market order in the hands of the terminal T.
async fn claimed(whole: &Whole) -> Value {
    let id = whole.post(json!({"symbol": "EURUSD", "action": "BUY", "volume": 0.1, "ttl_seconds": 3600})).await;
    whole.state(&id, "pending").await;
    whole.poll("T").await.remove(0)
}

/// A market order that the terminal T could not execute.
async fn fail(whole: &Whole) {
    let signal = claimed(whole).await;
    let report = json!({"id": signal["id"], "attempt": signal["attempt"], "terminal": "T", "status": "failed",
        "retcode": 10_019});
    assert_eq!(whole.confirm(report).await["state"], "failed");
}

/// No increase is seen of a counter that was not scraped before its first event.
async fn failures_are_counted(watch: &Watch) {
    let failed = "pipeline_signals_ended_total%7Bstate%3D%22failed%22%7D";
    eventually("the counter is known before its first event", || async {
        watch.value(failed).await.filter(|value| value == "0")
    })
    .await;
}

/// Goal: with the rules as they are, an execution that fails and a report that contradicts what is known reach people
/// with the figures, by webhook and in Telegram's words; the second one stays until an operator has looked at it, and ends
/// then. The dead man's switch hears from it all the time, and people never do.
#[tokio::test]
async fn a_failed_execution_and_an_anomaly_arrive_and_an_acknowledged_anomaly_ends() {
    let whole = Whole::start(&[]).await;
    let scratch = Scratch::new();
    let watch = Watch::start(&scratch.root, &whole.platform.metrics, &[]).await;
    // The terminal goes on asking.
    let asks = async {
        loop {
            assert!(whole.poll_with("limit=0&protocol=2&terminal=T&wait_ms=1000").await.is_empty());
        }
    };
    tokio::select! {
        () = asks => unreachable!("it asks for ever"),
        () = failure_and_anomaly(&whole, &watch) => {}
    }
    assert_eq!(watch.told().into_iter().collect::<Vec<_>>(), ["Anomaly", "FailedExecution"]);
    watch.stop().await;
    whole.finish().await;
}

async fn failure_and_anomaly(whole: &Whole, watch: &Watch) {
    watch.fires(&["Watchdog"]).await;
    failures_are_counted(watch).await;
    let began = Instant::now();
    fail(whole).await;
    watch.fires(&["FailedExecution", "Watchdog"]).await;
    let message = watch.arrives("FailedExecution", "firing", began).await;
    assert_eq!(message["alerts"][0]["labels"]["severity"], "warning");

    let began = Instant::now();
    let done = claimed(whole).await;
    for (terminal, ticket, anomaly) in [("T", 7, Value::Null), ("U", 8, json!("second_ticket"))] {
        let report = json!({"id": done["id"], "attempt": done["attempt"], "terminal": terminal, "ticket": ticket,
            "deal": ticket, "volume": 0.1, "price": 1.1});
        assert_eq!(whole.confirm(report).await["anomaly"], anomaly);
    }
    watch.fires(&["Anomaly", "FailedExecution", "Watchdog"]).await;
    let told = watch.arrives("Anomaly", "firing", began).await["alerts"][0].clone();
    let summary = "1 reports on account main contradict what was known: second_ticket";
    assert_eq!((&told["annotations"]["summary"], &told["labels"]["severity"]), (&json!(summary), &json!("critical")));

    let open = whole.operator.get("/api/anomalies?acknowledged=false").await.unwrap();
    let path = format!("/api/anomalies/{}/acknowledge", open[0]["anomaly_id"]);
    let began = Instant::now();
    whole.operator.post(&path, &json!({"note": "the second position is closed"})).await.unwrap();
    watch.fires(&["FailedExecution", "Watchdog"]).await;
    watch.arrives("Anomaly", "resolved", began).await;
    reads_as_it_should(watch).await;
    watch.beats_twice().await;
}

/// What Telegram is given of the anomaly, its times aside.
async fn reads_as_it_should(watch: &Watch) {
    let said = || {
        let posts = watch.posts("/telegram/bot1:'secret/sendMessage").into_iter();
        posts.map(|post| post.body).filter(|body| body["text"].as_str().unwrap_or_default().contains("Anomaly"))
    };
    eventually("Telegram is told twice", || async { (said().count() >= 2).then_some(()) }).await;
    let texts = said().map(|message| {
        assert_eq!(message["chat_id"], "-100");
        message["text"].as_str().unwrap().trim_end().replace(|digit: char| digit.is_ascii_digit(), "0")
    });
    let summary = "Anomaly (critical): 0 reports on account main contradict what was known: second_ticket";
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            format!("{summary}\nsince 0000-00-00 00:00:00 UTC; README.md#anomaly"),
            format!("over: {summary}\nfrom 0000-00-00 00:00:00 to 0000-00-00 00:00:00 UTC"),
        ]
    );
}

/// Goal: a failed execution is over when its window has passed; a terminal that falls silent arrives, what follows from it
/// (its account reports no more) does not, and when it is back that arrives, too, and its consequence still does not.
#[tokio::test]
async fn a_silent_terminal_arrives_alone_and_its_return_does() {
    let whole = Whole::start(&[]).await;
    let scratch = Scratch::new();
    let watch = Watch::start(
        &scratch.root,
        &whole.platform.metrics,
        &[
            ("FailedExecution", "[5m]", "[10s]", 1),
            ("TerminalSilent", "> 60", "> 8", 1),
            ("AccountSilent", "> 120", "> 12", 1),
        ],
    )
    .await;
    failures_are_counted(&watch).await;
    whole.report("10000", "10000").await;
    let failed = Instant::now();
    fail(&whole).await;
    watch.arrives("FailedExecution", "firing", failed).await;
    watch.arrives("TerminalSilent", "firing", failed).await;
    watch.holds_back(&["AccountSilent"]).await;

    let back = Instant::now();
    // Under another name each time, for one that was noted is noted again only after a while.
    let asks = async {
        for turn in 0.. {
            whole.poll(&format!("T{turn}")).await;
            whole.report("10000", "10000").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let over = async {
        watch.arrives("TerminalSilent", "resolved", back).await;
        watch.ends(&["AccountSilent", "TerminalSilent"]).await;
        watch.arrives("FailedExecution", "resolved", failed).await;
        watch.beats_twice().await;
    };
    tokio::select! {
        () = asks => unreachable!("it asks for ever"),
        () = over => {}
    }
    assert_eq!(watch.told().into_iter().collect::<Vec<_>>(), ["FailedExecution", "TerminalSilent"]);
    watch.stop().await;
    whole.finish().await;
}
