//! `stack up --observe`: both servers beside the platform, at work, and gone with it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::private::{Program, Scratch, within};

/// A first start makes four servers, on a machine that does other things too.
const READY: Duration = Duration::from_mins(1);
/// Told to end, it ends its servers too.
const ENDED: Duration = Duration::from_secs(45);

fn up(scratch: &Scratch, environment: &[(&str, &str)]) -> Program {
    let data = scratch.data_text();
    let arguments = ["up", "--observe", "--terminal", "none", "--port", "0", "--data", &data];
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Program::spawn(scratch, &arguments, &environment.collect::<Vec<_>>())
}

/// The addresses of Prometheus and Alertmanager, from its own line.
async fn observed(program: &mut Program) -> [String; 2] {
    program.wrote("Alertmanager http", READY).await;
    let output = program.output();
    let words: Vec<&str> =
        output.lines().find(|line| line.starts_with("observed")).unwrap().split_whitespace().collect();
    [words[2].to_owned(), words[4].to_owned()]
}

async fn get(url: &str) -> Value {
    let Ok(answer) = reqwest::get(url).await else { return Value::Null };
    serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default()
}

/// Programs of the folder that run and are named like this.
fn running(scratch: &Scratch, name: &str) -> usize {
    scratch.left_over().iter().filter(|(_, line)| line.starts_with(name)).count()
}

/// Goal: Prometheus sees the platform and Alertmanager, judges the rules and tells the latter, which has the receivers of the environment
/// and gets what fires; both end in order with it, and also when it is killed.
#[tokio::test]
async fn both_servers_work_beside_it_and_end_with_it() {
    let scratch = Scratch::new();
    let mut program = up(&scratch, &[("ALERT_WEBHOOK_URL", "http://127.0.0.1:1/alerts")]);
    let [prometheus, alertmanager] = observed(&mut program).await;
    assert!(!program.output().contains("reach nobody"), "{}", program.output());
    within(READY, "the platform and Alertmanager are scraped", || async {
        let targets = get(&format!("{prometheus}/api/v1/targets")).await;
        let all = targets["data"]["activeTargets"].as_array();
        all.is_some_and(|all| all.len() == 2 && all.iter().all(|target| target["health"] == "up"))
    })
    .await;
    within(READY, "Prometheus knows Alertmanager", || async {
        let known = get(&format!("{prometheus}/api/v1/alertmanagers")).await;
        known["data"]["activeAlertmanagers"][0]["url"] == format!("{alertmanager}/api/v2/alerts")
    })
    .await;
    within(READY, "Alertmanager has the watchdog", || async {
        get(&format!("{alertmanager}/api/v2/alerts")).await[0]["labels"]["alertname"] == "Watchdog"
    })
    .await;
    let status = get(&format!("{alertmanager}/api/v2/status")).await;
    assert!(status["config"]["original"].as_str().unwrap().contains("webhook_configs"), "{status}");
    assert_eq!([running(&scratch, "prometheus "), running(&scratch, "prometheus-alertmanager ")], [1, 1]);
    program.stop(Signal::TERM, ENDED).await;
    scratch.assert_nothing_runs().await;

    let mut program = up(&scratch, &[]);
    observed(&mut program).await;
    assert!(program.output().contains("no receiver is set"), "{}", program.output());
    program.kill().await;
    within(ENDED, "both are gone", || async { running(&scratch, "prometheus") == 0 }).await;
}

/// Goal: a receiver that is half set is refused with what is missing, before anything is started or created.
#[tokio::test]
async fn a_receiver_that_is_half_set_is_refused() {
    let scratch = Scratch::new();
    let mut program = up(&scratch, &[("ALERT_TELEGRAM_TOKEN", "1:secret")]);
    assert_eq!(program.ended(ENDED).await.code(), Some(1));
    let output = program.output();
    assert!(output.contains("ALERT_TELEGRAM_CHAT_ID") && !output.contains("1:secret"), "{output}");
    assert!(!scratch.data().exists(), "created for nothing");
}
