//! What goes wrong in a container's life, and what is made of it.

use std::time::{Duration, Instant};

use hyper::Method;

use crate::dispatcher::Dispatcher;
use crate::process::signal;
use crate::support::{Bridge, Options, eventually};

async fn bridge(mode: &str, settings: &[(&'static str, &str)]) -> Bridge {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    Bridge::start(Options { dispatcher: url, installed: true, mode, settings }).await
}

/// How the stand-in misbehaves from its next start on.
fn misbehave(bridge: &Bridge, mode: &str) {
    std::fs::write(bridge.terminal("standin-mode.txt"), mode).expect("a mode");
}

/// Kills a program, and waits until another of its kind has taken its place and the terminal can trade.
async fn killed_and_replaced(bridge: &Bridge, program: &str) {
    let killed = bridge.process(program).unwrap_or_else(|| panic!("no {program}"));
    signal(killed, "KILL").await;
    eventually(&format!("another {program}"), || async { bridge.process(program).filter(|now| *now != killed) }).await;
    bridge.until_ready().await;
}

async fn down_with(bridge: &Bridge, why: &str) {
    eventually(&format!("the log says: {why}"), || async { bridge.log().contains(why).then_some(()) }).await;
}

/// Goal: a terminal that crashes ends, rather than waiting for ever in a dialogue, and is started again.
#[tokio::test]
async fn a_crashed_terminal_is_started_again() {
    let bridge = bridge("once crash", &[]).await;
    down_with(&bridge, "ended with code 5").await;
    bridge.until_ready().await;
    assert!(bridge.metric("bridge_restarts_total{part=\"terminal\"}").await >= 1.0);
    assert!(bridge.process("winedbg").is_none());
    bridge.finish().await;
}

/// Goal: the code that a terminal ends with is told, and it is started again.
#[tokio::test]
async fn the_code_of_a_terminal_that_ends_is_told() {
    let bridge = bridge("once exit 7", &[]).await;
    down_with(&bridge, "ended with code 7").await;
    bridge.until_ready().await;
    bridge.finish().await;
}

/// Goal: a terminal whose process runs but whose EA has fallen silent counts as hung, is killed and started again.
#[tokio::test]
async fn a_hung_terminal_is_noticed_by_its_silence() {
    let settings = [("EA_SILENCE_SECONDS", "4"), ("CLOSE_SECONDS", "2")];
    let bridge = bridge("once hang", &settings).await;
    bridge.until_ready().await;
    let hung = bridge.process("terminal64.exe").expect("a terminal");
    down_with(&bridge, "the EA has been silent for").await;
    eventually("another terminal", || async { bridge.process("terminal64.exe").filter(|now| *now != hung) }).await;
    bridge.until_ready().await;
    bridge.finish().await;
}

/// Goal: a terminal whose EA never worked is left to the person who sets it up; one whose EA did work is not.
#[tokio::test]
async fn a_silent_start_counts_as_hung_only_where_the_expert_once_worked() {
    let bridge = bridge("silent", &[("EA_START_SECONDS", "3"), ("CLOSE_SECONDS", "5")]).await;
    let first = eventually("a terminal", || async { bridge.process("terminal64.exe") }).await;
    let started = Instant::now();
    eventually("more time than a start may take", || async {
        (started.elapsed() > Duration::from_secs(6)).then_some(())
    })
    .await;
    assert_eq!(bridge.process("terminal64.exe"), Some(first), "{}", bridge.log());
    let state = bridge.health().await["last_poll"]["state"].clone();
    assert_eq!(state, "the EA has not asked for signals since the terminal's start");
    std::fs::write(bridge.folder.join("data/ea-has-polled"), "").expect("a mark");
    down_with(&bridge, "the EA is still silent").await;
    misbehave(&bridge, "");
    bridge.until_ready().await;
    bridge.finish().await;
}

/// Goal: an EA that asks for anything lives, also where the platform's trouble keeps it from asking for signals.
#[tokio::test]
async fn an_expert_that_is_kept_from_polling_is_no_hung_terminal() {
    let bridge = bridge("silent", &[("EA_START_SECONDS", "5"), ("EA_SILENCE_SECONDS", "5")]).await;
    std::fs::write(bridge.folder.join("data/ea-has-polled"), "").expect("a mark");
    let first = eventually("a terminal", || async { bridge.process("terminal64.exe") }).await;
    let started = Instant::now();
    eventually("it asks for longer than both limits together", || async {
        bridge.relay(Method::GET, "/api/signals/unresolved", &[], "").await;
        (started.elapsed() > Duration::from_secs(13)).then_some(())
    })
    .await;
    assert_eq!(bridge.process("terminal64.exe"), Some(first), "{}", bridge.log());
    down_with(&bridge, "the EA has been silent for").await;
    bridge.finish().await;
}

/// Goal: a terminal that hangs does not hold up a stop beyond its deadlines.
#[tokio::test]
async fn a_hung_terminal_does_not_hold_up_a_stop() {
    let bridge = bridge("hang", &[("CLOSE_SECONDS", "3")]).await;
    bridge.until_ready().await;
    let before = bridge.health().await["last_poll"]["state"].clone();
    eventually(&format!("the EA is silent, {before}"), || async {
        let state = bridge.health().await["last_poll"]["state"].clone();
        let (seconds, _) = state.as_str()?.split_once(" s")?;
        seconds.parse::<u64>().ok().filter(|seconds| *seconds >= 2)
    })
    .await;
    let log = bridge.finish().await;
    assert!(log.contains("did not close when asked to"), "{log}");
}

/// Goal: whatever the terminal stands on may be killed; all of it comes back, and no dead process is left over.
#[tokio::test]
async fn whatever_is_killed_comes_back_and_leaves_no_zombie() {
    let bridge = bridge("", &[]).await;
    bridge.until_ready().await;
    killed_and_replaced(&bridge, "x11vnc").await;
    eventually("VNC serves again", || async { bridge.health().await["vnc"]["ok"].as_bool().filter(|serves| *serves) })
        .await;
    killed_and_replaced(&bridge, "Xvfb").await;
    killed_and_replaced(&bridge, "wineserver").await;
    killed_and_replaced(&bridge, "terminal64.exe").await;
    eventually("no zombie", || async { bridge.processes().iter().all(|process| process.state != 'Z').then_some(()) })
        .await;
    // Each of them had services whose parents died: they came to the bridge.
    assert!(bridge.metric("bridge_orphans_reaped_total").await >= 1.0);
    bridge.finish().await;
}

/// Goal: a terminal that ends at every start is tried ever more rarely.
#[tokio::test]
async fn a_restart_storm_backs_off() {
    let bridge = bridge("exit 3", &[]).await;
    // Lines end "pause_ms=612"; the first two pauses are below 1.2 s, the sixth is at least 1.8 s, jitter included.
    let pauses = eventually("six restarts", || async {
        let log = bridge.log();
        let pauses = log.lines().filter(|line| line.contains("ended with code 3")).filter_map(|line| {
            let (_, pause) = line.split_once("pause_ms=")?;
            pause.split_whitespace().next()?.parse::<u64>().ok()
        });
        let pauses: Vec<u64> = pauses.collect();
        (pauses.len() >= 6).then_some(pauses)
    })
    .await;
    assert!(pauses[0] <= 750 && pauses[1] <= 1_125 && pauses[5] >= 1_800, "{pauses:?}");
    bridge.finish().await;
}

/// Goal: a terminal that updates itself ends and starts anew; it is not started a second time beside that.
#[tokio::test]
async fn a_terminal_that_updates_itself_is_not_started_twice() {
    let bridge = bridge("", &[]).await;
    bridge.until_ready().await;
    misbehave(&bridge, "once update");
    let before = bridge.process("terminal64.exe").expect("a terminal");
    signal(before, "KILL").await;
    down_with(&bridge, "an update; watching that").await;
    bridge.until_ready().await;
    let terminals = bridge.processes().into_iter().filter(|process| process.command.contains("terminal64.exe"));
    assert_eq!(terminals.count(), 1);
    assert!(!bridge.log().contains("closing the terminal"), "{}", bridge.log());
    killed_and_replaced(&bridge, "terminal64.exe").await;
    bridge.finish().await;
}
