//! The API's edges: what is refused, how, and that nothing is left behind; and the clients of the first design.

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row as _;
use stack::client::{Client, cents};
use support::{Whole, eventually};

/// Sends raw bytes, as no well-behaved client would.
async fn raw(whole: &Whole, method: Method, path: &str, key: Option<&str>, body: String) -> (reqwest::Response, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.request(method, format!("{}{path}", whole.platform.url)).body(body);
    if let Some(key) = key {
        request = request.header("X-API-Key", key);
    }
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.expect("a body");
    let mut shell = axum::http::Response::new(String::new());
    *shell.status_mut() = status;
    *shell.headers_mut() = headers;
    (shell.into(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

async fn count(whole: &Whole, table: &'static str) -> i64 {
    let mut db = whole.sandbox.database().await.expect("a connection");
    let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query(query).fetch_one(&mut db).await.expect("a count").get(0)
}

/// Goal: every malformed signal has its status and code, a problem body and a request id, and leaves no row.
#[tokio::test]
async fn a_signal_that_makes_no_sense_is_refused_with_its_reason_and_leaves_nothing() {
    let whole = Whole::start(&[]).await;
    let key = whole.sandbox.keys.generator().to_owned();
    let long = "x".repeat(65);
    let cases: Vec<(String, u16, &str)> = vec![
        ("{".into(), 400, "malformed_json"),
        (String::new(), 400, "malformed_json"),
        (r#"{"symbol":"EURUSD","action":"BUY","volume":NaN}"#.into(), 400, "malformed_json"),
        (r#"{"symbol":"EURUSD","action":"BUY"} {}"#.into(), 400, "malformed_json"),
        ("[]".into(), 422, "invalid_request"),
        (r#"{"symbol":5,"action":"BUY"}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD"}"#.into(), 422, "invalid_request"),
        (r#"{"action":"BUY"}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"HOLD"}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"","action":"BUY"}"#.into(), 422, "invalid_request"),
        (format!(r#"{{"symbol":"{long}","action":"BUY"}}"#), 422, "invalid_request"),
        (r#"{"symbol":"EUR\u0000USD","action":"BUY"}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EUR\nUSD","action":"BUY"}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","volume":0}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","volume":-0.1}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","volume":1e9}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","volume":"NaN"}"#.into(), 422, "invalid_request"),
        (
            r#"{"symbol":"EURUSD","action":"BUY","volume":0.100000000000000000000000000001}"#.into(),
            422,
            "invalid_request",
        ),
        (r#"{"symbol":"EURUSD","action":"BUY","entry":1.1,"sl":1.2}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"SELL","entry":1.1,"tp":1.2}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","order_type":"limit"}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","ttl_seconds":0}"#.into(), 422, "invalid_request"),
        (r#"{"symbol":"EURUSD","action":"BUY","account":"a b"}"#.into(), 422, "invalid_request"),
        (format!(r#"{{"symbol":"EURUSD","action":"BUY","x":"{}"}}"#, "y".repeat(1_000_000)), 413, "body_too_large"),
    ];
    for (body, status, code) in cases {
        let shown: String = body.chars().take(80).collect();
        let (answer, problem) = raw(&whole, Method::POST, "/api/signal", Some(&key), body).await;
        assert_eq!((answer.status().as_u16(), problem["code"].as_str()), (status, Some(code)), "{shown}: {problem}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{shown}");
        assert!(answer.headers().contains_key("x-request-id"));
        assert_eq!(problem["status"], status);
        assert!(problem["type"].is_string() && problem["title"].is_string() && problem["detail"].is_string());
    }
    // A good one after them: had one of them been queued, it would be stored before this one.
    let good = whole.post(json!({"symbol": "EURUSD", "action": "BUY"})).await;
    whole.state(&good, "pending").await;
    assert_eq!(count(&whole, "signals").await, 1);
    assert_eq!(count(&whole, "signal_dead_letters").await, 0);
    whole.finish().await;
}

/// Goal: whatever was accepted is stored, also what a database might choke on; and it holds up nothing else.
#[tokio::test]
async fn odd_metadata_is_kept_as_it_was_sent() {
    let whole = Whole::start(&[]).await;
    let key = whole.sandbox.keys.generator().to_owned();
    let body = r#"{"symbol":"EURUSD","action":"BUY","zero":"a\u0000b","huge":1e999999,"deep":{"a":[1.10,null]}}"#;
    let (answer, accepted) = raw(&whole, Method::POST, "/api/signal", Some(&key), body.to_owned()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{accepted}");
    let stored = whole.state(accepted["signal_id"].as_str().unwrap(), "pending").await;
    assert_eq!(stored["metadata"]["zero"], "a\0b");
    assert_eq!(stored["metadata"]["huge"].to_string(), "1e+999999");
    assert_eq!(stored["metadata"]["deep"].to_string(), r#"{"a":[1.10,null]}"#);
    // A terminal's words are taken too: with a ticket a report is never refused.
    let claimed = whole.poll("T").await;
    let report = json!({"id": claimed[0]["id"], "attempt": 1, "ticket": 5, "message": "done\0", "symbol": "EUR\0USD"});
    whole.confirm(report).await;
    whole.state(accepted["signal_id"].as_str().unwrap(), "executed").await;
    // Elsewhere such a character is the caller's mistake, not an outage.
    let (status, problem) = whole.operator.send(Method::GET, "/api/users/a%00b/stats", None).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_request")));
    whole.finish().await;
}

/// Goal: no endpoint but health, documentation and metrics answers without a key of the right scope.
#[tokio::test]
async fn every_endpoint_asks_for_a_key_with_its_scope() {
    let whole = Whole::start(&[]).await;
    let document = whole.operator.get("/openapi.json").await.unwrap();
    assert_eq!(document["openapi"].as_str().map(|version| version.starts_with("3.1")), Some(true));
    assert!(document["components"]["securitySchemes"]["api_key"].is_object());
    let mut endpoints = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let movement = "01890a5d-ac96-774b-bcce-b302099a8057";
        let path = path.replace("{id}", "1").replace("{account}", "main").replace("{movement_id}", movement);
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let (answer, problem) = raw(&whole, method.clone(), &path, None, "{}".into()).await;
            assert_eq!(
                (answer.status(), &problem["code"]),
                (StatusCode::UNAUTHORIZED, &json!("key_missing")),
                "{path}"
            );
            let (answer, problem) = raw(&whole, method.clone(), &path, Some("mt5c_0_0"), "{}".into()).await;
            assert_eq!((answer.status(), &problem["code"]), (StatusCode::FORBIDDEN, &json!("key_wrong")), "{path}");
            // The generator may post signals and nothing else; for that one the terminal's key is the wrong one.
            let keys = &whole.sandbox.keys;
            let wrong = if path == "/api/signal" { keys.terminal() } else { keys.generator() };
            let body = r#"{"symbol":"X","action":"BUY","amount":1,"mode":"active","outcome":"failed","balance":1,
                "equity":1,"margin":0,"free_margin":1,"profit":0,"note":"seen","login":1,
                "principal":"p","scopes":["read"]}"#;
            let body = if path.ends_with("/risk") {
                r#"{"symbols_allowed":null,"volume_max":1,"positions_max":1,"openings_per_day_max":1,"daily_loss_percent_max":1,
                    "signal_ttl_seconds":1,"default_volume":1,"symbol_map":{},"login":null}"#
            } else {
                body
            };
            let (answer, problem) = raw(&whole, method, &path, Some(wrong), body.into()).await;
            assert_eq!((answer.status(), &problem["code"]), (StatusCode::FORBIDDEN, &json!("scope_missing")), "{path}");
            endpoints += 1;
        }
    }
    assert!(endpoints >= 27, "{endpoints} endpoints in the document");
    for path in ["/livez", "/readyz", "/health", "/openapi.json"] {
        let (answer, _) = raw(&whole, Method::GET, path, None, String::new()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let (answer, _) = raw(&whole, Method::GET, "/metrics", None, String::new()).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "metrics have an address of their own");
    let metrics = reqwest::get(&whole.platform.metrics).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("pipeline_http_request_seconds_bucket"));
    let (answer, problem) = raw(&whole, Method::DELETE, "/api/signal", None, String::new()).await;
    assert_eq!((answer.status().as_u16(), &problem["code"]), (405, &json!("method_not_allowed")));
    let bearer = reqwest::Client::new()
        .get(format!("{}/api/signals", whole.platform.url))
        .bearer_auth(whole.sandbox.keys.operator())
        .send()
        .await
        .unwrap();
    assert_eq!(bearer.status(), StatusCode::OK);
    whole.finish().await;
}

/// Goal: a retry under one key is one signal, and the key never stands for another.
#[tokio::test]
async fn a_key_stands_for_one_signal() {
    let whole = Whole::start(&[]).await;
    let generator = whole.operator.with_key(whole.sandbox.keys.generator());
    let body = json!({"signal_id": "S-1", "symbol": "EURUSD", "action": "BUY", "volume": 0.1});
    let first = whole.post(body.clone()).await;
    assert_eq!(whole.post(body.clone()).await, first);
    // The same principal's other key, the volume as text with a zero more, a new comment: still the same signal.
    let again = json!({"signal_id": "S-1", "symbol": "EURUSD", "action": "buy", "volume": "0.10", "comment": "again"});
    assert_eq!(generator.post("/api/signal", &again).await.unwrap()["signal_id"], first.as_str());
    let other = json!({"signal_id": "S-1", "symbol": "EURUSD", "action": "SELL", "volume": 0.1});
    let (status, problem) = whole.operator.send(Method::POST, "/api/signal", Some(&other)).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency_key_reused")));
    // The queue keeps its order: all of these were looked at before the next.
    let next = whole.post(json!({"symbol": "EURUSD", "action": "SELL", "volume": 0.1})).await;
    whole.state(&next, "pending").await;
    assert_eq!(count(&whole, "signals").await, 2);
    whole.finish().await;
}

/// Goal: programs written for the first design work as they are, but for the key.
#[tokio::test]
async fn clients_of_the_first_design_work_unchanged() {
    let whole = Whole::start(&[]).await;
    let signal = json!({"signal_id": "SIG_1", "symbol": "EURUSD", "action": "buy", "entry": 1.1, "sl": 1.09, "tp": 1.12,
        "volume": null, "limit_orders": false, "confidence": 0.87, "timeframe": "H1", "reasoning": "a trend"});
    let (status, answer) = whole.operator.send(Method::POST, "/api/signal", Some(&signal)).await.unwrap();
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("accepted")));
    let signal_id = answer["signal_id"].as_str().unwrap().to_owned();
    let stored = whole.state(&signal_id, "pending").await;
    assert_eq!(
        stored["metadata"],
        json!({"confidence": stored["metadata"]["confidence"], "timeframe": "H1", "reasoning": "a trend"})
    );
    assert_eq!(stored["metadata"]["confidence"].to_string(), "0.87");
    let polled = whole.poll_with("").await;
    assert_eq!((&polled[0]["action"], polled[0]["volume"].to_string()), (&json!("BUY"), "0.01".to_owned()));
    let confirmation = json!({"ticket": 12345, "symbol": "EURUSD", "action": "BUY", "volume": 0.01, "price": 1.1001,
        "status": "executed"});
    whole.confirm(confirmation.clone()).await;
    whole.state(&signal_id, "executed").await;
    whole.confirm(confirmation).await;
    let history = whole.operator.get("/api/trades/history").await.unwrap();
    assert_eq!(history.as_array().unwrap().len(), 1);
    for field in ["ticket", "symbol", "action", "volume", "open_price", "close_price", "profit", "status", "opened_at"]
    {
        assert!(history[0].get(field).is_some(), "{field}");
    }
    let user = json!({"user_id": "u1", "email": "u1@example.org", "investment": 3000});
    let (status, created) = whole.operator.send(Method::POST, "/api/users", Some(&user)).await.unwrap();
    assert_eq!((status, &created["user_id"]), (StatusCode::OK, &json!("u1")));
    let more = json!({"user_id": "u1", "amount": 500.5});
    let invested = whole.operator.post("/api/users/u1/invest", &more).await.unwrap();
    assert_eq!((cents(&invested["amount"]), cents(&invested["total"])), (50_050, 350_050));
    let update = json!({"balance": 10000, "equity": 10100.5, "margin": 10, "free_margin": 10090.5, "profit": 100.5});
    let (status, _) = whole.operator.send(Method::POST, "/api/account/update", Some(&update)).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let stats = eventually("the profit reaches the member", || async {
        let stats = whole.operator.get("/api/users/u1/stats").await.unwrap();
        (cents(&stats["profit_loss"]) == 10_050).then_some(stats)
    })
    .await;
    assert_eq!((cents(&stats["investment"]), &stats["email"]), (350_050, &json!("u1@example.org")));
    assert!(stats["created_at"].is_string());
    let account = whole.operator.get("/api/account/stats").await.unwrap();
    assert_eq!(cents(&account["total_investment"]), 350_050);
    for field in ["balance", "equity", "margin", "free_margin", "profit", "timestamp"] {
        assert!(!account["account"][field].is_null(), "{field}");
    }
    assert_eq!(account["account"]["equity"].to_string(), "10100.50");
    whole.finish().await;
}

/// Goal: members and money: what is refused, and that a refusal leaves nothing half done.
#[tokio::test]
async fn money_that_makes_no_sense_is_refused_whole() {
    let whole = Whole::start(&[]).await;
    let post = async |path: &str, body: Value| {
        let (status, problem) = whole.operator.send(Method::POST, path, Some(&body)).await.unwrap();
        (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    for amount in [json!(0), json!(-1), json!(0.001), json!("1e12"), json!("x"), json!(null), json!(true)] {
        assert_eq!(post("/api/users/nobody/invest", json!({"amount": amount})).await.0, 422, "{amount}");
    }
    assert_eq!(post("/api/users/nobody/invest", json!({"amount": 1})).await, refused(404, "not_found"));
    assert_eq!(post("/api/users", json!({"user_id": "a b"})).await, refused(422, "invalid_request"));
    assert_eq!(post("/api/users", json!({"user_id": "a", "investment": -5})).await, refused(422, "invalid_request"));
    let elsewhere = json!({"user_id": "a", "investment": 5, "account": "elsewhere"});
    assert_eq!(post("/api/users", elsewhere).await, refused(404, "not_found"));
    assert_eq!(count(&whole, "users").await, 0, "a member whose first deposit is refused is not there");
    assert_eq!(count(&whole, "pools").await, 0);
    assert_eq!(post("/api/users", json!({"user_id": "a"})).await.0, 200);
    assert_eq!(post("/api/users", json!({"user_id": "a"})).await, refused(409, "user_exists"));
    assert_eq!(
        post("/api/users/a/invest", json!({"amount": 5, "user_id": "b"})).await,
        refused(422, "invalid_request")
    );
    assert_eq!(count(&whole, "capital_movements").await, 0);
    whole.finish().await;
}

/// Goal: a deposit's idempotency key works as a signal's does.
#[tokio::test]
async fn a_deposit_repeated_under_its_key_counts_once() {
    let whole = Whole::start(&[]).await;
    whole.operator.post("/api/users", &json!({"user_id": "a"})).await.unwrap();
    let url = format!("{}/api/users/a/invest", whole.platform.url);
    let invest = async |amount: u32| {
        let request = reqwest::Client::new().post(&url).header("X-API-Key", whole.sandbox.keys.operator());
        let answer = request.header("Idempotency-Key", "D-1").json(&json!({"amount": amount})).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, first) = invest(100).await;
    assert_eq!((status, &first["status"]), (200, &json!("applied")));
    let (_, again) = invest(100).await;
    assert_eq!(again["movement_id"], first["movement_id"]);
    assert_eq!(cents(&again["total"]), 10_000);
    let (status, problem) = invest(200).await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_key_reused")));
    whole.finish().await;
}

/// Goal: the stated vectors of the pool, through the whole running system.
#[tokio::test]
async fn profit_is_shared_by_the_time_each_member_was_in() {
    let whole = Whole::start(&[]).await;
    let invest = async |user: &str, amount: u32| {
        let _ = whole.operator.post("/api/users", &json!({"user_id": user})).await;
        whole.operator.post(&format!("/api/users/{user}/invest"), &json!({"amount": amount})).await.unwrap()
    };
    // The first design's five figures: profit is the level.
    let profit = async |profit: f64| {
        let body =
            json!({"balance": 10000, "equity": 10000.0 + profit, "margin": 0, "free_margin": 10000, "profit": profit});
        whole.operator.post("/api/account/update", &body).await.unwrap();
    };
    let shares = async |expected: &[(&str, i128)]| {
        for (user, cents_expected) in expected {
            eventually(&format!("{user} has {cents_expected}"), || async {
                let stats = whole.operator.get(&format!("/api/users/{user}/stats")).await.unwrap();
                (cents(&stats["profit_loss"]) == *cents_expected && cents(&stats["pending"]) == 0).then_some(())
            })
            .await;
        }
    };
    invest("A", 3_000).await;
    invest("B", 7_000).await;
    profit(500.0).await;
    shares(&[("A", 15_000), ("B", 35_000)]).await;
    // Positions are open: the newcomer waits for the next report, and takes no part in what was before.
    assert_eq!(invest("C", 10_000).await["status"], "pending");
    profit(500.0).await;
    shares(&[("A", 15_000), ("B", 35_000), ("C", 0)]).await;
    profit(1_525.0).await;
    shares(&[("A", 30_750), ("B", 71_750), ("C", 50_000)]).await;
    // The same again changes nothing.
    profit(1_525.0).await;
    profit(1_525.0).await;
    eventually("all reports are recorded", || async { (count(&whole, "account_state").await == 5).then_some(()) })
        .await;
    shares(&[("A", 30_750), ("B", 71_750), ("C", 50_000)]).await;
    whole.finish().await;
}

/// Goal: reports of one run count in the order of their numbers, whatever the order they arrive in.
#[tokio::test]
async fn reports_out_of_order_and_twice_move_nobodys_money() {
    let whole = Whole::start(&[]).await;
    whole.operator.post("/api/users", &json!({"user_id": "A", "investment": 100})).await.unwrap();
    let report = async |seq: i64, equity: u32| {
        let body = json!({"balance": 100, "equity": equity, "margin": 0, "free_margin": 100, "profit": 0,
            "net_deposits": 100, "session": "s", "seq": seq});
        whole.operator.post("/api/account/update", &body).await.unwrap();
    };
    for (seq, equity) in [(1, 100), (5, 150), (3, 999), (5, 999), (6, 160), (4, 1)] {
        report(seq, equity).await;
    }
    eventually("all reports are recorded", || async { (count(&whole, "account_state").await == 6).then_some(()) })
        .await;
    eventually("the last level counts", || async {
        let stats = whole.operator.get("/api/users/A/stats").await.unwrap();
        (cents(&stats["profit_loss"]) == 6_000).then_some(())
    })
    .await;
    // A report that no account can have.
    let bad = json!({"balance": "NaN", "equity": 1, "margin": 0, "free_margin": 1, "profit": 0});
    let (status, _) = whole.operator.send(Method::POST, "/api/account/update", Some(&bad)).await.unwrap();
    assert_eq!(status.as_u16(), 422);
    let missing = json!({"balance": 1});
    let (status, problem) = whole.operator.send(Method::POST, "/api/account/update", Some(&missing)).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid_request")));
    whole.finish().await;
}

/// Goal: what the document promises is what the services answer.
#[tokio::test]
async fn answers_have_the_fields_that_the_document_names() {
    let whole = Whole::start(&[]).await;
    whole.report("1000", "1000").await;
    whole.operator.post("/api/users", &json!({"user_id": "A", "investment": 100})).await.unwrap();
    let signal_id = whole.post(json!({"symbol": "EURUSD", "action": "BUY"})).await;
    whole.state(&signal_id, "pending").await;
    let document = whole.operator.get("/openapi.json").await.unwrap();
    let client: &Client = &whole.operator;
    let paths = [
        ("/api/signals/pending", "/api/signals/pending?protocol=2&terminal=T".to_owned()),
        ("/api/signals", "/api/signals".to_owned()),
        ("/api/users/{id}/stats", "/api/users/A/stats".to_owned()),
        ("/api/account/stats", "/api/account/stats".to_owned()),
        ("/api/control", "/api/control".to_owned()),
        ("/api/accounts/{account}/risk", "/api/accounts/main/risk".to_owned()),
    ];
    for (path, request) in paths {
        let schema = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let reference = schema["$ref"].as_str().or(schema["items"]["$ref"].as_str()).expect(path);
        let name = reference.rsplit('/').next().unwrap();
        let properties = document["components"]["schemas"][name]["properties"].as_object().expect(name);
        let answer = client.get(&request).await.unwrap();
        let answer = if answer.is_array() { answer[0].clone() } else { answer };
        let mut answered: Vec<&String> = answer.as_object().expect(path).keys().collect();
        let mut promised: Vec<&String> = properties.keys().collect();
        answered.sort();
        promised.sort();
        assert_eq!(answered, promised, "{path}");
    }
    whole.finish().await;
}
