//! Bodies that are too large, lie about their length, are nested too deep, or hold numbers that no computer can.

use std::time::{Duration, Instant};

use common::config::Limits;
use serde_json::{Value, json};

use super::wire::{HOME, Wire, ask, platform, request};
use crate::support::{Whole, eventually};

/// One endpoint of each service.
const PATHS: [&str; 3] = ["/api/signal", "/api/account/update", "/api/users"];
/// No answer to rubbish takes longer, also on a busy machine.
const ANSWERED: Duration = Duration::from_secs(5);

async fn start() -> Whole {
    platform(Limits::for_load()).await
}

/// Nothing came of what was posted so far but these many members.
async fn assert_nothing_stored(whole: Whole, members: i64) {
    // The queue keeps its order: what came before would be stored before.
    let posted = whole.post(json!({"symbol": "EURUSD", "action": "SELL"})).await;
    whole.state(&posted, "pending").await;
    whole.report("1000", "1000").await;
    eventually("the report is recorded", || async {
        let stats = whole.operator.get("/api/account/stats").await.unwrap();
        (stats["account"].is_object()).then_some(())
    })
    .await;
    let mut db = whole.sandbox.database().await.unwrap();
    for (table, expected) in [("signals", 1), ("users", members), ("account_state", 1)] {
        let query = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let stored: i64 = sqlx::query_scalar(query).fetch_one(&mut db).await.unwrap();
        assert_eq!(stored, expected, "{table}");
    }
    drop(db);
    whole.finish().await;
}

fn head(path: &str, key: &str, lines: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{lines}\r\n")
}

fn chunked(pieces: &[&str]) -> String {
    let chunk = |piece: &&str| format!("{:x}\r\n{piece}\r\n", piece.len());
    pieces.iter().map(chunk).collect::<String>() + "0\r\n\r\n"
}

/// Goal: a body has at most 32 KiB, whether it says its length before, says none, or says a wrong one.
#[tokio::test]
async fn a_body_has_a_size_however_it_is_sent() {
    let whole = start().await;
    let key = whole.sandbox.keys.operator();
    let piece = "x".repeat(1_000);
    for path in PATHS {
        let chunks = head(path, key, "Transfer-Encoding: chunked\r\n") + &chunked(&[piece.as_str(); 40]);
        let mut wire = Wire::open(&whole, HOME).await;
        let answer = wire.ask(chunks).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{path}");
        // A length that will never come is not waited for, nor is room made for it.
        let answer = ask(&whole, HOME, head(path, key, "Content-Length: 1000000000000\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"), "{path}");
        for wrong in ["Content-Length: -1\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: x\r\n"] {
            let mut wire = Wire::open(&whole, HOME).await;
            assert_eq!(wire.ask(head(path, key, wrong)).await.status, 400, "{path} {wrong}");
            assert!(wire.closed().await.is_empty(), "{path} {wrong}");
        }
        // Both lengths: what a proxy and we might cut differently.
        let both = head(path, key, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + &chunked(&["{"]);
        assert_eq!(ask(&whole, HOME, both).await.status, 400, "{path}");
    }
    assert_nothing_stored(whole, 0).await;
}

/// Goal: a body that ends before its length, or goes on after it, is not taken for another than it is.
#[tokio::test]
async fn a_body_that_lies_about_its_length_is_not_taken() {
    let whole = start().await;
    let key = whole.sandbox.keys.operator();
    let signal = r#"{"symbol":"EURUSD","action":"BUY"}"#;
    for path in PATHS {
        let mut short = Wire::open(&whole, HOME).await;
        short.write(head(path, key, "Content-Length: 100\r\n") + signal).await;
        short.end().await;
        let rest = short.closed().await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{path}");
        // The body is a part of one, and what follows is not HTTP.
        let mut long = Wire::open(&whole, HOME).await;
        let answer = long.ask(head(path, key, "Content-Length: 10\r\n") + signal).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_json"), "{path}");
        assert_eq!(long.answer().await.expect("an answer").status, 400, "{path}");
        assert!(long.closed().await.is_empty(), "{path}");
        let mut torn = Wire::open(&whole, HOME).await;
        torn.write(head(path, key, "Transfer-Encoding: chunked\r\n") + "22\r\n" + signal).await;
        torn.end().await;
        assert!(!torn.closed().await.starts_with(b"HTTP/1.1 200"), "{path}");
    }
    assert_nothing_stored(whole, 0).await;
}

/// Goal: a compressed body is not unpacked: what it says it is does not change what it is.
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let whole = start().await;
    let key = whole.sandbox.keys.operator();
    // `{}` as gzip stores it.
    let packed = [31_u8, 139, 8, 0, 0, 0, 0, 0, 2, 255, 171, 174, 5, 0, 67, 191, 166, 163, 2, 0, 0, 0];
    for path in PATHS {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let lines = format!("Content-Encoding: {encoding}\r\nContent-Length: {}\r\n", packed.len());
            let answer = ask(&whole, HOME, [head(path, key, &lines).as_bytes(), &packed].concat()).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_json"), "{path} {encoding}");
        }
    }
    assert_nothing_stored(whole, 0).await;
}

/// The endpoints that take a body, with the fields they name.
async fn endpoints(whole: &Whole) -> Vec<(String, String, Vec<String>)> {
    let document = whole.operator.get("/openapi.json").await.unwrap();
    let mut endpoints = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{account}", "main").replace("{id}", "1").replace("{movement_id}", "1");
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) else { continue };
            let fields = document["components"]["schemas"][name]["properties"].as_object().expect(name);
            endpoints.push((method.to_uppercase(), path.clone(), fields.keys().cloned().collect()));
        }
    }
    assert!(endpoints.len() >= 10, "{endpoints:?}");
    endpoints
}

/// Goal: a body nested as deep as fits is refused by every endpoint in any field it reads, passed over in any other, and
/// takes no process down.
#[tokio::test]
async fn a_body_nested_too_deep_is_refused_everywhere() {
    let whole = start().await;
    let key = whole.sandbox.keys.operator();
    let mut wire = Wire::open(&whole, HOME).await;
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    let (arrays, objects) = (deep("[", "]", 15_000), deep(r#"{"a":"#, "}", 5_000));
    for (method, path, fields) in endpoints(&whole).await {
        for body in [arrays.clone(), "[".repeat(32_000), objects[..30_000].to_owned()] {
            let answer = wire.ask(request(&method, &path, key, "", &body)).await;
            assert!([400, 422].contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.json());
        }
        for (field, value) in fields.iter().flat_map(|field| [(field, &arrays), (field, &objects)]) {
            let answer = wire.ask(request(&method, &path, key, "", &format!(r#"{{"{field}":{value}}}"#))).await;
            let refused = [400, 422].contains(&answer.status);
            assert!(refused, "{method} {path} {field}: {} {}", answer.status, answer.json());
        }
        let mut body = json!({"symbol": "EURUSD", "action": "BUY", "user_id": "a b"}).to_string();
        body.truncate(body.len() - 1);
        let answer = wire.ask(request(&method, &path, key, "", &format!(r#"{body},"unknown":{arrays}}}"#))).await;
        assert!([400, 404, 422].contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.json());
    }
    assert_nothing_stored(whole, 0).await;
}

/// Goal: numbers too large, too small or too long for anything are refused by every field, at once.
#[tokio::test]
async fn monstrous_numbers_cost_nothing() {
    let whole = start().await;
    let key = whole.sandbox.keys.operator();
    let long = "9".repeat(30_000);
    let monsters = [
        "1e1000000".to_owned(),
        "-1e1000000".to_owned(),
        "1e-1000000".to_owned(),
        "1e99999999999999999999".to_owned(),
        long.clone(),
        format!("-{long}"),
        format!("0.{long}"),
        format!("{}.{}e-{}", &long[..9_000], &long[..9_000], &long[..9_000]),
    ];
    let mut wire = Wire::open(&whole, HOME).await;
    for (method, path, fields) in endpoints(&whole).await {
        for field in fields {
            for number in &monsters {
                for value in [number.clone(), format!("\"{number}\"")] {
                    // Never with all that is needed, so that nothing comes of a text where one is allowed.
                    let user = if field == "user_id" { r#","investment":-1"# } else { r#","user_id":"a b""# };
                    let body = format!(r#"{{"{field}":{value}{user}}}"#);
                    let started = Instant::now();
                    let answer = wire.ask(request(&method, &path, key, "", &body)).await;
                    let shown = &value[..value.len().min(20)];
                    let refused = [400, 404, 422].contains(&answer.status);
                    assert!(refused, "{method} {path} {field} {shown}: {} {}", answer.status, answer.json());
                    assert!(started.elapsed() < ANSWERED, "{method} {path} {field} {shown}");
                }
            }
        }
    }
    // With all else right the number is what is wrong.
    for number in &monsters {
        for (path, mut body, field) in [
            ("/api/signal", json!({"symbol": "EURUSD", "action": "BUY"}), "volume"),
            ("/api/signal", json!({"symbol": "EURUSD", "action": "BUY"}), "sl"),
            ("/api/signal", json!({"symbol": "EURUSD", "action": "BUY"}), "ttl_seconds"),
            (
                "/api/account/update",
                json!({"balance": 1, "equity": 1, "margin": 0, "free_margin": 1, "profit": 0}),
                "equity",
            ),
            ("/api/users", json!({"user_id": "a", "account": "main"}), "investment"),
        ] {
            body[field] = serde_json::from_str::<Value>(number).unwrap();
            let answer = wire.ask(request("POST", path, key, "", &body.to_string())).await;
            let (problem, shown) = (answer.json(), &number[..number.len().min(20)]);
            // Where an integer belongs the reader of JSON itself gives up.
            let unread = answer.status == 400 && field == "ttl_seconds";
            let named = answer.status == 422 && problem["errors"][0]["field"] == field;
            assert!(unread || named, "{path} {field} {shown}: {problem}");
        }
    }
    assert_nothing_stored(whole, 0).await;
}
