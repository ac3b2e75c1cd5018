//! The platform disturbed in every way, as a user runs it: `stack faults` finds every promise kept.

use std::path::Path;
use std::process::Command;

use ea_native::Build;
use serde_json::Value;

/// Runs it; its last line.
fn faults(rounds: u64, ea: Option<&Path>) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.args(["faults", "--json", "--rounds", &rounds.to_string()]).env_remove("EA_NATIVE");
    if let Ok(seed) = std::env::var("SEED") {
        command.args(["--seed", &seed]);
    }
    if let Some(ea) = ea {
        command.arg("--ea").arg(ea);
    }
    let output = command.output().expect("stack faults runs");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_str(told.lines().last().unwrap_or_default()).expect("the last line is a JSON object")
}

/// What makes a run worth something: faults that found work under way, and trades that were judged.
fn assert_worth_something(report: &Value, rounds: u64) {
    assert_eq!(report["verdict"]["violations"], serde_json::json!([]));
    assert_eq!(report["rounds"].as_array().map(Vec::len), usize::try_from(rounds).ok());
    let count = |what: &str| report["report"][what].as_u64().expect("a number");
    assert!(count("busy_percent") >= 30, "too few faults found work under way: this proves nothing");
    let kinds = report["report"]["kinds"].as_array().expect("a list");
    assert!(kinds.iter().all(|kind| kind["lost"] == 0 && kind["doubled"] == 0), "{report}");
    assert_eq!(kinds.iter().filter_map(|kind| kind["rounds"].as_u64()).sum::<u64>(), count("rounds"));
    assert_eq!(count("rounds") + count("idle"), rounds);
    for (what, least) in [("posts", 200), ("signals", 100), ("orders", 50), ("reports", 10), ("versions", 10)] {
        assert!(report["verdict"][what].as_u64() >= Some(least), "too few {what}: {report}");
    }
}

/// Goal: eight rounds with the simulated terminal.
#[test]
#[ignore = "long: eight rounds of faults, and a lease until all is drained"]
fn every_promise_is_kept_while_everything_goes_wrong() {
    assert_worth_something(&faults(8, None), 8);
}

/// Goal: five rounds with the Expert Advisor itself.
#[test]
#[ignore = "long: five rounds of faults, and a lease until all is drained"]
fn every_promise_is_kept_by_the_expert_advisor() {
    let mql5 = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ea/mql5");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ea-faults/CommunityTrader");
    std::fs::create_dir_all(out.parent().expect("a folder")).expect("a folder");
    let build = Build {
        source: mql5.join("Experts/CommunityTrader.mq5"),
        include: mql5.join("Include"),
        out: out.clone(),
        sanitize: false,
    };
    ea_native::build(&build).unwrap_or_else(|error| panic!("{error}"));
    assert_worth_something(&faults(5, Some(&out)), 5);
}
