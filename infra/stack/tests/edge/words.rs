//! Heads: their size, keys that contradict each other, what browsers are told, and the older ways to speak HTTP.

use serde_json::json;

use super::wire::{Answer, HOME, Wire, ask, platform, request};
use crate::support::Whole;
use common::config::Limits;

async fn start() -> Whole {
    platform(Limits::for_load()).await
}

/// Goal: a head that is too large, as a whole or by one field, or that has too many fields, is answered 431 and the
/// connection ends; the largest that is allowed is answered.
#[tokio::test]
async fn a_head_has_a_size() {
    let whole = start().await;
    let with = |lines: &str| request("GET", "/livez", "", lines, "");
    let field = |bytes: usize| format!("X-Long: {}\r\n", "x".repeat(bytes));
    for (case, text) in [
        ("one long field", with(&field(17_000))),
        ("a very long field", with(&field(2_000_000))),
        ("a long path", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(17_000))),
        ("many fields", with(&"X-Many: x\r\n".repeat(120))),
    ] {
        let mut wire = Wire::open(&whole, HOME).await;
        let answer = wire.ask(text).await;
        assert_eq!(answer.status, 431, "{case}");
        assert!(wire.closed().await.is_empty(), "{case}");
    }
    assert_eq!(ask(&whole, HOME, with(&field(15_000))).await.status, 200);
    assert_eq!(ask(&whole, HOME, with(&"X-Many: x\r\n".repeat(90))).await.status, 200);
    whole.finish().await;
}

/// Goal: of two keys that differ neither counts, wherever they stand.
#[tokio::test]
async fn keys_that_contradict_each_other_are_refused() {
    let whole = start().await;
    let (own, other) = (whole.sandbox.keys.operator(), whole.sandbox.keys.generator());
    for (line, status, code) in [
        (String::new(), 200, ""),
        (format!("X-API-Key: {own}\r\n"), 200, ""),
        (format!("Authorization: Bearer {own}\r\n"), 200, ""),
        (format!("X-API-Key: {other}\r\n"), 400, "key_ambiguous"),
        ("x-api-key: mt5c_0_0\r\n".to_owned(), 400, "key_ambiguous"),
        (format!("Authorization: Bearer {other}\r\n"), 400, "key_ambiguous"),
    ] {
        let answer = ask(&whole, HOME, request("GET", "/api/control", own, &line, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line}");
    }
    whole.finish().await;
}

fn assert_hardened(what: &str, answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("server", ""),
    ] {
        assert_eq!(answer.header(name), value, "{what}: {name}");
    }
    let permits = |name: &&String| name.starts_with("access-control-");
    assert_eq!(answer.headers.keys().find(permits), None, "{what}");
}

/// Goal: every answer, errors too, tells browsers to do nothing with it, and lets no other origin read it.
#[tokio::test]
async fn every_answer_is_closed_to_browsers() {
    let whole = platform(Limits { rate_per_key: 1, ..Limits::for_load() }).await;
    let (key, terminal) = (whole.sandbox.keys.operator(), whole.sandbox.keys.terminal());
    let large = "x".repeat(40_000);
    let origin = "Origin: https://elsewhere.example\r\n";
    let preflight =
        format!("{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-api-key\r\n");
    let cases = [
        (request("GET", "/api/control", key, origin, ""), 200),
        (request("GET", "/api/signals/pending?terminal=T", terminal, origin, ""), 200),
        (request("GET", "/livez", "", origin, ""), 200),
        (request("GET", "/readyz", "", origin, ""), 200),
        (request("GET", "/openapi.json", "", origin, ""), 200),
        (request("POST", "/api/signal", key, origin, "{"), 400),
        (request("GET", "/api/control", "mt5c_0_0", origin, ""), 403),
        (request("GET", "/nowhere", key, origin, ""), 404),
        (request("OPTIONS", "/api/signal", "", &preflight, ""), 405),
        (request("OPTIONS", "/api/users/a/withdraw", key, &preflight, ""), 405),
        (request("OPTIONS", "/nowhere", "", &preflight, ""), 404),
        (request("POST", "/api/signal", key, origin, &large), 413),
        (request("GET", "/api/users/%ff/stats", key, origin, ""), 422),
    ];
    for (text, status) in cases {
        let answer = ask(&whole, HOME, &text).await;
        let what = text.lines().next().unwrap();
        assert_eq!(answer.status, status, "{what}");
        assert_hardened(what, &answer);
    }
    let mut wire = Wire::open(&whole, HOME).await;
    let refusal = loop {
        let answer = wire.ask(request("GET", "/api/control", key, origin, "")).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refusal.status, 429);
    assert_hardened("the key's limit", &refusal);
    let metrics = reqwest::get(&whole.platform.metrics).await.unwrap();
    assert_eq!(metrics.headers()["x-content-type-options"], "nosniff");
    whole.finish().await;
}

/// Goal: HTTP/1.0, requests sent without waiting for answers, and a client that writes and then shuts its side.
#[tokio::test]
async fn older_ways_to_speak_go_on_working() {
    let whole = start().await;
    let key = whole.sandbox.keys.operator();
    let mut old = Wire::open(&whole, HOME).await;
    let answer = old.ask(format!("GET /api/control HTTP/1.0\r\nX-API-Key: {key}\r\n\r\n")).await;
    assert_eq!(answer.status, 200);
    assert!(old.closed().await.is_empty(), "HTTP/1.0 ends with its answer");
    let mut wire = Wire::open(&whole, HOME).await;
    let body = json!({"symbol": "EURUSD", "action": "PING"}).to_string();
    let (get, post) = (request("GET", "/livez", "", "", ""), request("POST", "/api/signal", key, "", &body));
    wire.write([get.as_str(), &post, &get].concat()).await;
    for expected in [r#"{"status":"ok"}"#, "accepted", r#"{"status":"ok"}"#] {
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(String::from_utf8_lossy(&answer.body).contains(expected));
    }
    let mut continued = Wire::open(&whole, HOME).await;
    let text = request("POST", "/api/signal", key, "Expect: 100-continue\r\n", &body);
    continued.write(&text[..text.len() - body.len()]).await;
    assert_eq!(continued.answer().await.unwrap().status, 100);
    assert_eq!(continued.ask(&body).await.status, 200);
    whole.finish().await;
}

/// Goal: what holds for every endpoint is in the document of every endpoint.
#[tokio::test]
async fn the_document_tells_of_the_limits() {
    let whole = start().await;
    let document = whole.operator.get("/openapi.json").await.unwrap();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let problem =
                |status: &str| &operation["responses"][status]["content"]["application/problem+json"]["schema"];
            assert_eq!(problem("429")["$ref"], "#/components/schemas/Problem", "{method} {path}");
            assert!(operation["responses"]["429"]["headers"]["Retry-After"].is_object());
            assert_eq!(problem("408").is_object(), operation["requestBody"].is_object(), "{method} {path}");
            operations += 1;
        }
    }
    assert!(operations >= 27, "{operations}");
    whole.finish().await;
}
