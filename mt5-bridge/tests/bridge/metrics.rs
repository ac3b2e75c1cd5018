//! The README's table and the bridge's `/metrics`.

use std::cell::RefCell;

use hyper::{Method, StatusCode};

use crate::catalogue::{differences, documented, series, told};
use crate::dispatcher::Dispatcher;
use crate::support::{Bridge, Options, eventually};

/// Goal: the bridge's metrics are those of the README, with their types and labels; and what the Expert Advisor, or who
/// takes its place, makes up is no label.
#[tokio::test]
async fn every_metric_of_the_bridge_is_in_the_readme_and_no_other() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: true, mode: "", settings: &[] }).await;
    bridge.until_ready().await;
    // What all that serve HTTP tell, the services have tests of.
    let own = |name: &String| !name.starts_with("pipeline_");
    let mut documented = documented();
    documented.retain(|name, _| own(name));
    let said = RefCell::new(Vec::new());
    let known = eventually("all of the README's are told, and no others", || async {
        let text = bridge.metrics().await;
        let mut told = told(&text);
        told.retain(|name, _| own(name));
        let found = differences(&documented, &told);
        if *said.borrow() != found {
            eprintln!("{found:#?}");
        }
        let agree = found.is_empty();
        said.replace(found);
        agree.then(|| series(&text))
    })
    .await;
    for number in 0..200 {
        let path = format!("/api/signals/{number}?terminal=t{number}");
        assert_eq!(bridge.relay(Method::GET, &path, &[], "").await.status, StatusCode::NOT_FOUND);
        let path = format!("/api/signals/pending?limit=1&protocol=2&terminal=t{number}");
        bridge.relay(Method::GET, &path, &[("x-request-id", &number.to_string())], "").await;
    }
    let after = series(&bridge.metrics().await);
    let new: Vec<_> =
        after.difference(&known).filter(|series| !series.contains("bridge_relay_requests_total")).collect();
    assert!(new.is_empty(), "{new:#?}");
    let requests = after.iter().filter(|series| series.starts_with("bridge_relay_requests_total")).count();
    assert!(requests <= 4 * 3, "four paths, and three that may answer: {requests}");
    bridge.finish().await;
}
