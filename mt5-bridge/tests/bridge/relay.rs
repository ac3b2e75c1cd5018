//! The relay between an EA and the dispatcher. No terminal is needed: the tests ask as the EA does.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::dispatcher::Dispatcher;
use crate::support::{Answer, Bridge, KEY, Options, eventually};
use crate::words::Words;

const POLL: &str = "/api/signals/pending?limit=10&wait_ms=0&protocol=2&terminal=unit-1";

/// With a terminal that is silent, so that all traffic is the test's, and that has started: Wine takes both cores for it.
async fn bridge(url: String) -> Bridge {
    let bridge = Bridge::start(Options { dispatcher: url, installed: true, mode: "silent", settings: &[] }).await;
    eventually("the terminal runs", || async { bridge.process("terminal64.exe") }).await;
    bridge
}

async fn poll(bridge: &Bridge) -> Answer {
    bridge.relay(Method::GET, POLL, &[], "").await
}

/// Polls as an EA does until a wait of the relay is under way at the dispatcher.
async fn until_waiting(bridge: &Bridge, dispatcher: &Dispatcher) {
    eventually("a wait at the dispatcher", || async {
        poll(bridge).await;
        dispatcher.asked().iter().any(crate::dispatcher::Asked::is_wait).then_some(())
    })
    .await;
}

/// Goal: a report passes as it came, with the key added, and the answer comes back as it was, its status included.
#[tokio::test]
async fn requests_and_answers_pass_unchanged() {
    let dispatcher = Dispatcher::start().await;
    let bridge = bridge(format!("http://{}/below/", dispatcher.address)).await;
    let body = "{\"signal_id\":\"x\",\"price\":1.10}\0";
    let headers = [("content-type", "application/json"), ("x-request-id", "r-1"), ("x-api-key", "the-ea-s-own")];
    let answer = bridge.relay(Method::POST, "/api/trades/confirm?a=%20b", &headers, body).await;
    let asked = dispatcher.asked().pop().expect("a request");
    assert_eq!((asked.method, &*asked.uri), (Method::POST, "/below/api/trades/confirm?a=%20b"));
    assert_eq!(&asked.body[..], body.as_bytes());
    let header = |name: &str| asked.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(header("x-api-key"), [KEY]);
    assert_eq!(header("x-request-id"), ["r-1"]);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "7");
    assert_eq!(&answer.body[..], b"{\"code\":\"database_unavailable\"}");

    let answer = bridge.relay(Method::GET, "/api/signals/unresolved", &[], "").await;
    assert_eq!(answer.headers["x-account-mode"], "reducing");
    for path in ["/", "/api/signals", "/api/control", "/metrics", "/api/signals/pending/"] {
        let answer = bridge.relay(Method::GET, path, &[], "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    bridge.finish().await;
}

/// Goal: while the relay waits at the dispatcher, polls cost no round trip; once a second one passes all the same; and a
/// signal is in the EA's hands with the very next poll.
#[tokio::test]
async fn polls_are_answered_here_until_there_is_a_signal() {
    let dispatcher = Dispatcher::start().await;
    let bridge = bridge(format!("http://{}", dispatcher.address)).await;
    until_waiting(&bridge, &dispatcher).await;
    let passed = |dispatcher: &Dispatcher| dispatcher.asked().iter().filter(|asked| asked.is_poll()).count();
    let (started, before) = (Instant::now(), passed(&dispatcher));
    let mut polls = 0_usize;
    while started.elapsed() < Duration::from_millis(2_500) {
        let answer = poll(&bridge).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"[]"[..]));
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["cache-control"], "no-store");
        polls += 1;
    }
    let through = passed(&dispatcher) - before;
    println!("{polls} polls, {through} of them passed on");
    assert!((2..=4).contains(&through) && polls > 50, "{through} of {polls}");

    dispatcher.offer("{\"id\":7}");
    let offered = Instant::now();
    let answer = eventually("the signal arrives", || async {
        let answer = poll(&bridge).await;
        (&answer.body[..] != b"[]").then_some(answer)
    })
    .await;
    println!("in the EA's hands {:?} after the offer", offered.elapsed());
    assert_eq!(&answer.body[..], b"[{\"id\":7}]");
    assert!(offered.elapsed() < Duration::from_millis(500), "{:?}", offered.elapsed());

    // The wait is for the EA's own installation, with the key, and claims nothing.
    let wait = dispatcher.asked().into_iter().find(crate::dispatcher::Asked::is_wait).expect("a wait");
    assert_eq!(wait.uri, "/api/signals/pending?limit=0&wait_ms=25000&protocol=2&terminal=unit-1");
    assert_eq!(wait.headers["x-api-key"], KEY);
    bridge.finish().await;
}

/// Goal: a poll that the wait says nothing about is never answered here: another installation's, an old EA's, a long one.
#[tokio::test]
async fn other_polls_always_pass() {
    let dispatcher = Dispatcher::start().await;
    let bridge = bridge(format!("http://{}", dispatcher.address)).await;
    until_waiting(&bridge, &dispatcher).await;
    for query in
        ["limit=10&wait_ms=0&protocol=2&terminal=unit-2", "limit=10", "limit=10&protocol=2&terminal=unit-1&wait_ms=50"]
    {
        let path = format!("/api/signals/pending?{query}");
        for _ in 0..2 {
            let before = dispatcher.asked().iter().filter(|asked| asked.uri == path).count();
            bridge.relay(Method::GET, &path, &[], "").await;
            let after = dispatcher.asked().iter().filter(|asked| asked.uri == path).count();
            assert_eq!(after, before + 1, "{query}");
        }
    }
    bridge.finish().await;
}

/// Goal: an EA that fell silent is not kept alive in the dispatcher's eyes by the relay's own waits.
#[tokio::test]
async fn a_silent_expert_is_not_waited_for() {
    let dispatcher = Dispatcher::start().await;
    let bridge = bridge(format!("http://{}", dispatcher.address)).await;
    until_waiting(&bridge, &dispatcher).await;
    eventually("the wait is under way", || async { (dispatcher.waits() == 1).then_some(()) }).await;
    // Long before the 25 s that it asked for.
    let silent = Instant::now();
    eventually("the wait is given up", || async { (dispatcher.waits() == 0).then_some(()) }).await;
    assert!(silent.elapsed() < Duration::from_secs(20), "{:?}", silent.elapsed());
    let settled = dispatcher.asked().len();
    dispatcher.offer("{\"id\":8}");
    eventually("time passes", || async { (silent.elapsed() > Duration::from_secs(8)).then_some(()) }).await;
    assert_eq!(dispatcher.asked().len(), settled);
    assert_eq!(&poll(&bridge).await.body[..], b"[{\"id\":8}]");
    bridge.finish().await;
}

/// Goal: when the dispatcher can't be reached the EA is told so, in words and without delay, at every poll.
#[tokio::test]
async fn an_unreachable_dispatcher_is_a_bad_gateway() {
    let bridge = bridge("http://127.0.0.1:9".to_owned()).await;
    for _ in 0..3 {
        let answer = poll(&bridge).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(problem["code"], "dispatcher_unreachable");
        assert_eq!(problem["outcome"], "unknown");
        assert!(problem["detail"].as_str().expect("words").contains("refused"), "{problem}");
    }
    bridge.finish().await;
}

/// Goal: a dispatcher that takes a request and does not answer is told from one that can't be reached, within ten seconds
/// more than the poll was to wait; a report's outcome is then unknown, and `/health` says why nothing gets through.
#[tokio::test]
async fn a_dispatcher_that_does_not_answer_is_a_gateway_timeout() {
    // The kernel takes its connections; nobody reads from them.
    let dispatcher = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let bridge = bridge(format!("http://{}", dispatcher.local_addr().expect("an address"))).await;
    assert_eq!(bridge.health().await["dispatcher"]["state"], "nothing was asked of it yet");
    let asked = Instant::now();
    let answer = bridge.relay(Method::POST, "/api/trades/confirm", &[], "{}").await;
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(12), "{took:?}");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &problem["code"]), (StatusCode::GATEWAY_TIMEOUT, &"dispatcher_timeout".into()));
    assert_eq!(problem["outcome"], "unknown");
    assert_eq!(problem["detail"], "the dispatcher did not answer within 10 s");
    let health = bridge.health().await;
    let state = health["dispatcher"]["state"].as_str().expect("words");
    assert!(state.starts_with("the dispatcher did not answer within 10 s ("), "{state}");
    assert_eq!(health["dispatcher"]["ok"], false);
    bridge.finish().await;
}

/// Goal: an EA that gives up before the dispatcher's time is over is not the one that is at fault.
#[tokio::test]
async fn a_dispatcher_that_hangs_is_told_also_when_the_expert_gives_up() {
    let dispatcher = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let bridge = bridge(format!("http://{}", dispatcher.local_addr().expect("an address"))).await;
    let asked = bridge.relay(Method::GET, "/api/signals/unresolved", &[], "");
    assert!(tokio::time::timeout(Duration::from_secs(5), asked).await.is_err(), "no answer");
    eventually("health says it", || async {
        let health = bridge.health().await;
        let state = health["dispatcher"]["state"].as_str().expect("words").to_owned();
        state.starts_with("the dispatcher did not answer before the EA gave up").then_some(())
    })
    .await;
    assert_eq!(bridge.health().await["dispatcher"]["ok"], false);
    bridge.finish().await;
}

/// Goal: half an answer is none, whatever its status said; and once the dispatcher answers again, `/health` says that.
#[tokio::test]
async fn an_answer_that_breaks_off_is_a_bad_gateway() {
    let dispatcher = Words::start(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{\"id\":".to_vec()).await;
    let bridge = bridge(format!("http://{}", dispatcher.address)).await;
    let answer = poll(&bridge).await;
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &problem["code"]), (StatusCode::BAD_GATEWAY, &"dispatcher_unreachable".into()));
    assert_eq!(problem["outcome"], "unknown");
    assert!(problem["detail"].as_str().expect("words").contains("its answer broke off"), "{problem}");
    assert_eq!(bridge.health().await["dispatcher"]["ok"], false);

    // It says that it hangs up, or else the next request might be sent to nobody.
    dispatcher.say(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec());
    assert_eq!(poll(&bridge).await.status, StatusCode::UNAUTHORIZED);
    let health = bridge.health().await;
    let state = health["dispatcher"]["state"].as_str().expect("words");
    assert!(state.starts_with("the dispatcher refuses the terminal's key: 401 Unauthorized"), "{state}");

    dispatcher.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n[]".to_vec());
    assert_eq!(poll(&bridge).await.status, StatusCode::OK);
    let health = bridge.health().await;
    assert_eq!(health["dispatcher"], serde_json::json!({"ok": true, "state": "answered 0 s ago"}));
    bridge.finish().await;
}

/// Goal: Windows sends the head and the body of a report apart, the body once the head is acknowledged; that is done at
/// once, not after the 40 ms that the kernel would wait for an answer to send it with.
#[tokio::test]
async fn a_report_in_two_pieces_is_not_held_up() {
    let dispatcher = Dispatcher::start().await;
    let bridge = bridge(format!("http://{}", dispatcher.address)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", bridge.relay_port)).await.expect("a connection");
    let mut times = Vec::new();
    for _ in 0..40 {
        let started = Instant::now();
        stream
            .write_all(b"POST /api/account/update HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n")
            .await
            .expect("sent");
        stream.write_all(b"{}").await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"{\"status\":\"ok\"}") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!("half of the reports within {:?}", times[times.len() / 2]);
    assert!(times[times.len() / 2] < Duration::from_millis(20), "{times:?}");
    bridge.finish().await;
}
