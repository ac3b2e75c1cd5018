//! What an account lets through: its mode, its limits, and whether it exists at all.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::steps::{id, ids};
use crate::support::{Whole, eventually};

/// Goal: an account that is being reduced takes closings and changes of stops; openings end, both those that wait and
/// those that come.
#[tokio::test]
async fn reducing_lets_out_all_but_openings() {
    let whole = Whole::start(&[]).await;
    let queued = whole.buy("EURUSD").await;
    whole.switch("reducing").await;
    assert_eq!(whole.now(&queued).await["state"], "rejected", "at once");
    let fresh = whole.buy("GBPUSD").await;
    for signal in [&queued, &fresh] {
        let rejected = whole.state(id(signal), "rejected").await;
        assert_eq!(rejected["code"], "account_reducing");
    }
    let close = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    let change = whole.stored(json!({"symbol": "GBPUSD", "action": "MODIFY", "tp": 2})).await;
    assert_eq!(ids(&whole.poll("T").await), [id(&close), id(&change)]);
    whole.finish().await;
}

/// Goal: a halted account is handed nothing but pings; openings end, closings wait visibly and go out afterwards.
#[tokio::test]
async fn halted_holds_closings_and_rejects_openings() {
    let whole = Whole::start(&[]).await;
    let queued = whole.buy("EURUSD").await;
    let early = whole.stored(json!({"symbol": "EURUSD", "action": "CLOSE"})).await;
    assert_eq!(early["held"], false);
    whole.switch("halted").await;
    let fresh = whole.buy("GBPUSD").await;
    let late = whole.stored(json!({"action": "CLOSE_ALL"})).await;
    let ping = whole.stored(json!({"action": "PING"})).await;
    for signal in [&queued, &fresh] {
        assert_eq!(whole.state(id(signal), "rejected").await["code"], "account_halted");
    }
    assert_eq!(ids(&whole.poll("T").await), [id(&ping)]);
    for signal in [&early, &late] {
        let held = whole.now(signal).await;
        assert_eq!((&held["state"], &held["held"]), (&json!("pending"), &json!(true)));
    }
    let listed = whole.operator.get("/api/signals?state=pending").await.unwrap();
    assert!(listed.as_array().unwrap().iter().all(|signal| signal["held"] == true));
    whole.switch("active").await;
    assert_eq!(whole.now(&early).await["held"], false);
    assert_eq!(ids(&whole.poll("T").await), [id(&early)]);
    whole.finish().await;
}

/// Goal: the terminal learns the mode from the answers it gets anyway, since it has to delete resting orders itself.
#[tokio::test]
async fn the_answers_carry_the_mode() {
    let whole = Whole::start(&[]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for mode in ["active", "reducing", "halted", "active"] {
        whole.switch(mode).await;
        assert_eq!(whole.report("100", "100").await["mode"], mode);
        let url = format!("{}/api/signals/unresolved", whole.platform.url);
        let answer = http.get(url).header("X-API-Key", whole.sandbox.keys.terminal()).send().await.unwrap();
        assert_eq!(answer.headers()["x-account-mode"], mode);
        let control = whole.operator.get("/api/control?account=main").await.unwrap();
        assert_eq!((&control["mode"], &control["reason"]), (&json!(mode), &json!("a test")));
    }
    whole.finish().await;
}

/// Goal: a switch that can't be meant is refused and switches nothing.
#[tokio::test]
async fn a_wrong_switch_is_refused() {
    let whole = Whole::start(&[]).await;
    let refusal = whole.refused(Method::POST, "/api/control", json!({"mode": "off"})).await;
    assert_eq!(refusal, (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request".to_owned()));
    let refusal = whole.refused(Method::POST, "/api/control", json!({"mode": "halted", "account": "nobody"})).await;
    assert_eq!(refusal, (StatusCode::NOT_FOUND, "not_found".to_owned()));
    assert_eq!(whole.operator.get("/api/control").await.unwrap()["mode"], "active");
    whole.finish().await;
}

/// Goal: one account's mode is nobody else's.
#[tokio::test]
async fn a_switch_concerns_its_account_only() {
    let whole = Whole::start(&["second"]).await;
    whole.switch("halted").await;
    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    let signal = whole.stored(json!({"symbol": "EURUSD", "action": "BUY", "account": "second"})).await;
    assert_eq!(signal["state"], "pending");
    assert!(whole.poll("T").await.is_empty());
    let claimed = second.get("/api/signals/pending?protocol=2&terminal=T").await.unwrap();
    assert_eq!(ids(claimed.as_array().unwrap()), [id(&signal)]);
    whole.finish().await;
}

/// Goal: an order above the account's limit is rejected with the figures; the limit can be moved, and counts for what is
/// queued too.
#[tokio::test]
async fn the_volume_limit_counts_when_a_signal_comes_and_when_it_goes_out() {
    let whole = Whole::start(&[]).await;
    let risk = "/api/accounts/main/risk";
    let limits = |most: u32| whole.limit(json!({"volume_max": most, "default_volume": 0.02}));
    let buy = |symbol: &str, volume: f64| json!({"symbol": symbol, "action": "BUY", "volume": volume});
    let over = whole.stored(buy("EURUSD", 10.01)).await;
    assert_eq!((&over["state"], &over["code"]), (&json!("rejected"), &json!("volume_above_max")));
    assert!(over["message"].as_str().unwrap().contains("10.01"));
    let most = whole.stored(buy("GBPUSD", 10.0)).await;
    assert_eq!(most["state"], "pending");
    let answer = limits(20).await;
    assert_eq!(whole.operator.get(risk).await.unwrap(), answer);
    let raised = whole.stored(buy("USDJPY", 20.0)).await;
    assert_eq!(raised["state"], "pending");
    limits(15).await;
    let claimed = whole.poll("T").await;
    assert_eq!(ids(&claimed), [id(&most)]);
    assert_eq!(claimed[0]["max_volume"], 15);
    assert_eq!(whole.state(id(&raised), "rejected").await["code"], "volume_above_max");
    let unsized_one = whole.stored(json!({"symbol": "AUDUSD", "action": "SELL"})).await;
    let claimed = whole.poll("T").await;
    assert_eq!((id(&claimed[0]), &claimed[0]["volume"]), (id(&unsized_one), &json!(0.02)));
    whole.finish().await;
}

/// Goal: the first account at the broker that a terminal names is the one that is traded on: a terminal at another one is
/// handed nothing, looks nothing up, and is told why.
#[tokio::test]
async fn an_account_is_traded_on_one_login() {
    let whole = Whole::start(&[]).await;
    let (unresolved, pending) =
        ("/api/signals/unresolved?login=", "/api/signals/pending?protocol=2&limit=10&terminal=");
    let first = whole.buy("EURUSD").await;
    whole.operator.get(&format!("{unresolved}1001")).await.unwrap();
    assert_eq!(whole.operator.get("/api/accounts/main/risk").await.unwrap()["login"], 1001);
    for path in [format!("{unresolved}1002"), format!("{pending}A&login=1002")] {
        let (status, code) = whole.refused(Method::GET, &path, Value::Null).await;
        assert_eq!((status, &*code), (StatusCode::CONFLICT, "another_login"));
    }
    // Also between two looks at who it is nothing is handed out.
    assert_eq!(whole.poll_with("protocol=2&limit=10&terminal=B&login=1001").await.len(), 1);
    let second = whole.buy("GBPUSD").await;
    assert_eq!(whole.poll_with("protocol=2&limit=10&terminal=B&login=1002").await, Vec::<Value>::new());
    // The first clients name none.
    assert_eq!(ids(&whole.poll_with("protocol=2&limit=10&terminal=C").await), [id(&second)]);
    for wrong in ["0", "-5"] {
        let (status, _) = whole.refused(Method::GET, &format!("{unresolved}{wrong}"), Value::Null).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    // What is in hand is looked up where it was sent.
    assert_eq!(whole.now(&first).await["state"], "processing");
    let risk = "/api/accounts/main/risk";
    let mut limits = whole.operator.get(risk).await.unwrap();
    limits["login"] = json!(1002);
    let (status, code) = whole.refused(Method::PUT, risk, limits.clone()).await;
    assert_eq!((status, &*code), (StatusCode::CONFLICT, "signals_in_hand"));
    for (signal, ticket) in [(&first, 1), (&second, 2)] {
        whole.confirm(json!({"id": signal["id"], "attempt": 1, "ticket": ticket})).await;
    }
    let (status, answer) = whole.operator.send(Method::PUT, risk, Some(&limits)).await.unwrap();
    assert!(status.is_success(), "{answer}");
    assert_eq!(whole.operator.get(risk).await.unwrap()["login"], 1002);
    whole.finish().await;
}

/// Goal: limits are written whole or not at all; a misspelt field is refused rather than ignored.
#[tokio::test]
async fn wrong_limits_are_refused_and_change_nothing() {
    let whole = Whole::start(&[]).await;
    let risk = "/api/accounts/main/risk";
    let before = whole.operator.get(risk).await.unwrap();
    let defaults = json!({"symbols_allowed": null, "volume_max": 10, "positions_max": 200, "openings_per_day_max": 1000,
        "daily_loss_percent_max": 20, "signal_ttl_seconds": 60, "default_volume": 0.01, "symbol_map": {}, "login": null});
    assert_eq!(before, defaults);
    let with = |field: &str, value: Value| {
        let mut limits = before.clone();
        limits[field] = value;
        limits
    };
    for body in [
        with("volum_max", json!(5)),
        with("volume_max", json!(0)),
        with("volume_max", json!(-1)),
        with("volume_max", json!("much")),
        with("default_volume", json!(0)),
        with("signal_ttl_seconds", json!(0)),
        with("signal_ttl_seconds", json!(86_401)),
        with("signal_ttl_seconds", Value::Null),
        with("login", json!(0)),
        with("symbols_allowed", json!([])),
        with("symbols_allowed", json!("EURUSD")),
        with("symbols_allowed", json!(["EURUSD", "EUR\u{0}USD"])),
        with("symbols_allowed", json!(vec!["x"; 1_001])),
        with("positions_max", json!(0)),
        with("positions_max", json!(1_000_001)),
        with("positions_max", Value::Null),
        with("openings_per_day_max", json!(0)),
        with("openings_per_day_max", json!(1.5)),
        with("daily_loss_percent_max", json!(0)),
        with("daily_loss_percent_max", json!(100.1)),
        with("daily_loss_percent_max", Value::Null),
        with("symbol_map", Value::Null),
        with("symbol_map", json!({"GOLD": ""})),
        with("symbol_map", json!({"GOLD": "XAUUSD", "METAL": "XAUUSD"})),
        with("symbol_map", json!({"GOLD": "XAUUSD", "XAUUSD": "XAUUSD.r"})),
        with("symbol_map", json!({"GOLD": "XAUUSD", " GOLD": "XAUUSD.r"})),
        json!({"volume_max": 5}),
    ] {
        let (status, _) = whole.refused(Method::PUT, risk, body.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    for field in before.as_object().unwrap().keys() {
        let mut partly = before.clone();
        partly.as_object_mut().unwrap().remove(field);
        let (status, _) = whole.refused(Method::PUT, risk, partly).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "without {field}");
    }
    assert_eq!(whole.operator.get(risk).await.unwrap(), before);
    let (status, _) = whole.refused(Method::PUT, "/api/accounts/nobody/risk", before).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    whole.finish().await;
}

/// Goal: a signal for an account that no terminal serves ends with its reason instead of waiting for ever.
#[tokio::test]
async fn a_signal_for_an_unknown_account_is_rejected() {
    let whole = Whole::start(&[]).await;
    for action in ["BUY", "CLOSE"] {
        let signal = whole.stored(json!({"symbol": "EURUSD", "action": action, "account": "nobody"})).await;
        assert_eq!((&signal["state"], &signal["code"]), (&json!("rejected"), &json!("unknown_account")));
    }
    whole.finish().await;
}

/// Goal: an idempotency key means its first content for ever: what slips past the memory of the one that accepts (here
/// because another process did) is stored as rejected under the id that was answered.
#[tokio::test]
async fn a_key_that_comes_with_other_content_elsewhere_is_rejected_under_its_own_id() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let there = whole.sandbox.operator(&other).unwrap();
    let body = |volume: f64| json!({"symbol": "EURUSD", "action": "BUY", "volume": volume, "signal_id": "K"});
    let first = whole.stored(body(0.1)).await;
    let refusal = whole.refused(Method::POST, "/api/signal", body(0.2)).await;
    assert_eq!(refusal, (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused".to_owned()));
    let again = there.post("/api/signal", &body(0.1)).await.unwrap();
    assert_eq!(again["signal_id"], first["signal_id"], "the same content is the same signal everywhere");
    // A third process has never seen the key.
    let third = whole.sandbox.start().await.unwrap();
    let answer = whole.sandbox.operator(&third).unwrap().post("/api/signal", &body(0.2)).await.unwrap();
    assert_ne!(answer["signal_id"], first["signal_id"]);
    let rejected = whole.state(id(&answer), "rejected").await;
    assert_eq!(rejected["code"], "key_reused");
    assert_eq!(whole.now(&first).await["state"], "pending");
    assert_eq!(whole.count("signals").await, 2);
    assert_eq!(ids(&whole.poll("T").await), [id(&first)]);
    eventually("the queue is empty", || async {
        let left = whole.count("signals where state = 'pending'").await;
        (left == 0).then_some(())
    })
    .await;
    assert!(third.stop().await && other.stop().await);
    whole.finish().await;
}
