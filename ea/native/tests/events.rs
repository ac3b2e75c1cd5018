//! Events and ends: the timer, a stop from outside, and what a kill leaves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use support::{Sandbox, program};

/// The program running, from the line that says what is awaited.
fn started(sandbox: &Sandbox, awaited: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new(program("Events", false));
    let mut child = command.arg("--files").arg(sandbox.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut texts = lines.by_ref().map(|line| line.split('\t').next_back().unwrap().to_owned());
    assert!(texts.any(|line| line == awaited));
    (child, lines.map(|line| line.split('\t').next_back().unwrap().to_owned()))
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap().success());
}

/// Goal: the timer is no finer than a terminal's and makes up for nothing; a stop from outside is seen in the middle of
/// a handler, `OnDeinit` is told why, and the program ends well.
#[test]
fn the_timer_keeps_its_grid_and_a_stop_ends_the_program_in_order() {
    let sandbox = Sandbox::new("stop");
    let (mut child, lines) = started(&sandbox, "ten true");
    signal(&child, "TERM");
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest, ["stopped 9 true 10"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Goal: global variables are on disk after a clean end, and not after a kill.
#[test]
fn a_kill_loses_the_global_variables() {
    let sandbox = Sandbox::new("kill");
    for (runs, how) in [(1, "KILL"), (1, "TERM"), (2, "KILL"), (2, "TERM"), (3, "KILL")] {
        let (mut child, _lines) = started(&sandbox, &format!("runs {runs}"));
        signal(&child, how);
        child.wait().unwrap();
    }
}
