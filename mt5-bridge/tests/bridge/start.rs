//! The first start, what a person sees, and the orderly end.

use crate::dispatcher::Dispatcher;
use crate::process::{memory_mb, signal};
use crate::rfb;
use crate::support::{Bridge, KEY, Options, VNC_PASSWORD, eventually};

/// The stand-in's window: its colour as the screen shows it, and how many pixels it has.
const WINDOW: (u32, usize) = (0x00C8_1090, 600 * 300);
/// Odd characters on purpose: they must reach the terminal as they are.
const PASSWORD: &str = " pa;ss=\"word\" ";

/// Goal: from an empty volume to a terminal that trades, with the account, the chart and the EA it was told, and no
/// secret where others could read it.
#[tokio::test]
async fn the_first_start_installs_compiles_and_logs_in() {
    let dispatcher = Dispatcher::start().await;
    let settings =
        [("MT5_LOGIN", "4711"), ("MT5_PASSWORD", PASSWORD), ("MT5_SERVER", "Demo-Server"), ("MT5_SYMBOL", "EURUSD.m")];
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: false, mode: "", settings: &settings }).await;
    assert!(!bridge.ready().await, "nothing is there yet");
    let (ready, why) = bridge.check().await;
    assert!(!ready && why.contains("the EA has not asked for signals since"), "{why}");
    bridge.until_ready().await;
    assert_eq!(bridge.check().await, (true, String::new()));
    let read = std::fs::read_to_string(bridge.terminal("standin.log")).expect("the stand-in's log");
    let told = format!(
        "start Login=[4711] Password=[{PASSWORD}] Server=[Demo-Server] Expert=[Standin] Symbol=[EURUSD.m] Period=[M1] \
         ExpertParameters=[Standin.set]"
    );
    assert_eq!(read.trim_end(), told);
    assert!(bridge.terminal("MQL5/Experts/Standin.ex5").is_file());

    // The EA works, so the terminal has read what it was told: the files with secrets are gone.
    eventually("no file with a secret is left", || async {
        let mut left = std::fs::read_dir(bridge.folder.join("run")).expect("a folder");
        left.next().is_none().then_some(())
    })
    .await;
    let secrets = [KEY, PASSWORD.trim(), VNC_PASSWORD];
    for process in bridge.processes().iter().filter(|process| process.id != bridge.id()) {
        let shown = process.command.clone() + &process.environment.join("\n");
        assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
    }
    let log = bridge.log();
    assert!(!secrets.iter().any(|secret| log.contains(secret)), "{log}");
    let health = bridge.health().await;
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(health["connected"]["state"], "connected to the broker");
    bridge.finish().await;
}

/// Goal: with the password a person sees the terminal's window; with another nothing; without one there is no VNC.
#[tokio::test]
async fn the_screen_is_shown_to_whoever_has_the_password() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url.clone(), installed: true, mode: "", settings: &[] }).await;
    bridge.until_ready().await;
    let (colour, size) = WINDOW;
    eventually("the window is on the screen", || async {
        let pixels = rfb::screen(bridge.vnc_port, VNC_PASSWORD).await.expect("a screen");
        assert_eq!(pixels.len(), 1280 * 800);
        (pixels.iter().filter(|pixel| **pixel == colour).count() > size * 9 / 10).then_some(())
    })
    .await;
    assert!(rfb::screen(bridge.vnc_port, "another!").await.is_err());
    bridge.finish().await;

    let bridge =
        Bridge::start(Options { dispatcher: url, installed: true, mode: "", settings: &[("VNC_PASSWORD", "")] }).await;
    bridge.until_ready().await;
    assert_eq!(bridge.health().await["vnc"]["state"], "off: VNC_PASSWORD is not set");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", bridge.vnc_port)).await.is_err());
    bridge.finish().await;
}

/// Goal: an EA that does not compile is not run, an older version of it neither, and the reason is told.
#[tokio::test]
async fn an_expert_that_does_not_compile_is_not_run() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: true, mode: "", settings: &[] }).await;
    bridge.until_ready().await;
    std::fs::write(bridge.folder.join("ea/Experts/Standin.mq5"), "ERROR\n").expect("a source");
    let terminal = bridge.process("terminal64.exe").expect("a terminal");
    signal(terminal, "KILL").await;
    eventually("the reason is told", || async {
        let health = bridge.health().await;
        let state = health["process"]["state"].as_str().expect("words");
        (state.contains("1 errors") && state.contains("unexpected token")).then_some(())
    })
    .await;
    assert!(bridge.process("terminal64.exe").is_none());
    assert!(!bridge.terminal("MQL5/Experts/Standin.ex5").exists());
    std::fs::write(bridge.folder.join("ea/Experts/Standin.mq5"), "int OnInit() { return 0; }\n").expect("a source");
    bridge.until_ready().await;
    bridge.finish().await;
}

/// Goal: told to stop, the terminal closes in its own time, and nothing has to be killed.
#[tokio::test]
async fn a_stop_closes_the_terminal_as_a_person_would() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: true, mode: "", settings: &[] }).await;
    bridge.until_ready().await;
    let log = bridge.finish().await;
    assert!(log.contains("closing the terminal") && !log.contains("did not close when asked to"), "{log}");
}

/// Goal: a stop while the prefix is being made ends that too.
#[tokio::test]
async fn a_stop_during_the_first_start_is_heeded() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: false, mode: "", settings: &[] }).await;
    eventually("the prefix is being made", || async { bridge.process("services.exe").map(drop) }).await;
    bridge.finish().await;
}

/// Goal: a first start that was cut short is not taken for a finished one.
#[tokio::test]
async fn a_first_start_that_was_cut_short_goes_on() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: false, mode: "", settings: &[] }).await;
    eventually("the prefix is being made", || async { bridge.process("services.exe") }).await;
    signal(bridge.process("wineboot").expect("the maker"), "KILL").await;
    eventually("it was cut short", || async { bridge.log().contains("WARN").then_some(()) }).await;
    bridge.until_ready().await;
    bridge.finish().await;
}

/// Goal: what watches over the terminal leaves the memory to it: 15 MB for the supervisor, 80 MB for all but Wine.
#[tokio::test]
async fn everything_but_wine_needs_little_memory() {
    let dispatcher = Dispatcher::start().await;
    let url = format!("http://{}", dispatcher.address);
    let bridge = Bridge::start(Options { dispatcher: url, installed: true, mode: "", settings: &[] }).await;
    bridge.until_ready().await;
    rfb::screen(bridge.vnc_port, VNC_PASSWORD).await.expect("a screen");
    let supervisor = memory_mb(bridge.id(), "Rss:");
    let helpers = ["Xvfb", "x11vnc"].map(|name| memory_mb(bridge.process(name).expect(name), "Pss:"));
    let all = supervisor + helpers.iter().sum::<f64>();
    println!("supervisor {supervisor:.1} MB resident, Xvfb and x11vnc {helpers:.1?} MB, together {all:.1} MB");
    assert!(supervisor > 0.0 && supervisor <= 15.0, "{supervisor} MB");
    assert!(all <= 80.0, "{all} MB");
    bridge.finish().await;
}
