//! What the bridge says about settings it can't start with.

use std::process::Command;

/// Starts it with these alone; what it says before it ends.
fn refused(settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mt5-bridge"));
    let output = command.env_clear().envs(settings.iter().copied()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// Goal: whoever runs it learns everything that is wrong at the first try, and no secret is repeated.
#[test]
fn all_that_is_wrong_with_the_settings_is_told_at_once() {
    let wrong = [
        ("RELAY_ADDR", "0.0.0.0:80"),
        ("VNC_PASSWORD", "far-too-long-a-password"),
        ("MT5_LOGIN", "77"),
        ("EA_INPUTS", "no pair"),
        ("SCREEN", "big"),
        ("EA_DIR", "/nowhere"),
        ("DISPATCHER_CA", "no certificate"),
    ];
    let said = refused(&wrong);
    for name in wrong.iter().map(|(name, _)| *name).chain(["DISPATCHER_URL", "TERMINAL_KEY"]) {
        assert!(said.contains(name), "{name} is missing in:\n{said}");
    }
    assert!(!said.contains("far-too-long"), "{said}");
}

/// Goal: a volume that belongs to somebody else is told at once, not by what fails for it later.
#[test]
fn a_volume_that_cannot_be_written_is_told() {
    let experts = std::env::temp_dir().join(format!("mt5-bridge-experts-{}", std::process::id()));
    std::fs::create_dir_all(experts.join("Experts")).expect("a folder");
    std::fs::write(experts.join("Experts/CommunityTrader.mq5"), "").expect("a source");
    // Nobody can write there, not even root.
    let settings = [
        ("DISPATCHER_URL", "http://127.0.0.1:9"),
        ("TERMINAL_KEY", "key"),
        ("DATA_DIR", "/proc/sys"),
        ("EA_DIR", experts.to_str().expect("a name")),
    ];
    let said = refused(&settings);
    std::fs::remove_dir_all(&experts).expect("its removal");
    assert!(said.contains("/proc/sys must be a folder that user "), "{said}");
}
