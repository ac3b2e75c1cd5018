//! The checker itself, checked: a clean history of the running platform is found clean, and one that was doctored in any
//! of the ways that matter is found out, by name.

mod support;

#[path = "check/doctored.rs"]
mod doctored;
#[path = "check/story.rs"]
mod story;

use std::process::{Command, Output};

use serde_json::Value;
use story::Story;

/// The command as a user runs it.
fn stack_check(story: &Story, logs: &[&std::path::Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.arg("check").arg("--json").arg("--market").arg(story.market());
    for log in logs {
        command.arg("--log").arg(log);
    }
    command.env("DATABASE_URL", story.database_url()).output().expect("stack check runs")
}

/// Goal: the command ends with 0 where all promises were kept, and with 1, the promise and the ids where one was not.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_fails_and_names_what_was_broken() {
    let story = Story::told().await;
    let log = story.log();
    let clean = stack_check(&story, &[&log]);
    let verdict: Value = serde_json::from_slice(&clean.stdout).expect("a JSON object");
    assert!(clean.status.success(), "{verdict}");
    assert_eq!(verdict["violations"], serde_json::json!([]));
    assert!(verdict["orders"].as_u64() > Some(3) && verdict["reports"].as_u64() > Some(1), "{verdict}");

    // A second sender was told 200 for a signal that is not there.
    let other = story.folder().join("other.jsonl");
    let recorder = stack::check::log::Recorder::create(&other).expect("a log");
    let now = common::clock::Clock::default().now();
    let post = recorder.sent(now, Some("other"), &serde_json::json!({"symbol": "EURUSD"})).expect("a line");
    let signal_id = uuid::Uuid::new_v4();
    recorder.answered(post, now, Some(200), Some(signal_id)).expect("a line");
    let broken = stack_check(&story, &[&log, &other]);
    let verdict: Value = serde_json::from_slice(&broken.stdout).expect("a JSON object");
    assert_eq!(broken.status.code(), Some(1), "{verdict}");
    assert_eq!(verdict["violations"][0]["promise"], "signal_lost");
    assert_eq!(verdict["violations"][0]["ids"], serde_json::json!(["other#1", signal_id]));
    story.removed().await;
}
