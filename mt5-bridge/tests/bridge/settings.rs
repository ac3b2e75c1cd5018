//! What the bridge says about settings it can't start with.

use std::process::Command;

/// Goal: whoever runs it learns everything that is wrong at the first try, and no secret is repeated.
#[test]
fn all_that_is_wrong_with_the_settings_is_told_at_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mt5-bridge"));
    command.env_clear().env("RELAY_ADDR", "0.0.0.0:80").env("VNC_PASSWORD", "far-too-long-a-password");
    command.env("MT5_LOGIN", "77").env("EA_INPUTS", "no pair").env("SCREEN", "big").env("EA_DIR", "/nowhere");
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for name in
        ["DISPATCHER_URL", "TERMINAL_KEY", "RELAY_ADDR", "VNC_PASSWORD", "MT5_LOGIN", "EA_INPUTS", "SCREEN", "EA_DIR"]
    {
        assert!(said.contains(name), "{name} is missing in:\n{said}");
    }
    assert!(!said.contains("far-too-long"), "{said}");
}
