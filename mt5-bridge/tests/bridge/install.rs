//! Where the terminal's installer comes from, when it comes from the net.

use crate::dispatcher::Dispatcher;
use crate::prefix::standin;
use crate::support::{Bridge, Options, eventually};
use crate::words::Words;

/// Waits until `/health` says why there is no terminal.
async fn told(bridge: &Bridge, why: &str) {
    eventually(&format!("health says: {why}"), || async {
        bridge.health().await["process"]["state"].as_str().expect("words").contains(why).then_some(())
    })
    .await;
}

fn page(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Goal: an installer that is not there, is none, or breaks off is told in plain words and never run; the next start
/// fetches it anew, the one after that needs it no more. One that was cut short is run again, whatever it left.
#[tokio::test]
async fn the_installer_is_fetched_until_it_is_whole_and_then_never_again() {
    let dispatcher = Dispatcher::start().await;
    let server = Words::start(page("404 Not Found", b"gone")).await;
    let url = format!("http://{}/cdn/setup.exe", server.address);
    // No file is set, so it is fetched.
    let settings = [("MT5_INSTALLER", ""), ("MT5_INSTALLER_URL", &*url)];
    let dispatcher_url = format!("http://{}", dispatcher.address);
    let mut bridge =
        Bridge::start(Options { dispatcher: dispatcher_url, installed: false, mode: "", settings: &settings }).await;
    told(&bridge, "answered 404 Not Found; set MT5_INSTALLER to a file").await;
    server.say(page("200 OK", b"<html>Sorry</html>"));
    told(&bridge, "is not a Windows program").await;
    server.say(page("200 OK", b""));
    told(&bridge, "is not a Windows program").await;
    let installer = std::fs::read(standin().await).expect("the installer");
    let mut cut_short = page("200 OK", &installer);
    cut_short.truncate(cut_short.len() / 2);
    server.say(cut_short);
    told(&bridge, "broke off").await;
    let fetched = bridge.folder.join("data/mt5setup.exe");
    assert!(!fetched.exists() && bridge.process("mt5setup").is_none());

    server.say(page("200 OK", &installer));
    bridge.restart().await;
    bridge.until_ready().await;
    assert_eq!(std::fs::read(&fetched).expect("the installer"), installer);
    let asked = server.asked();
    assert!(asked.iter().all(|line| line == "GET /cdn/setup.exe HTTP/1.1"), "{asked:?}");

    bridge.restart().await;
    bridge.until_ready().await;
    assert_eq!(server.asked().len(), asked.len());

    // Both programs are there, and nothing says that the installer was done with the rest.
    std::fs::remove_file(bridge.folder.join("data/terminal-installed")).expect("a mark");
    let _ = std::fs::remove_file(bridge.folder.join("data/ea-has-polled")); // noted a little later
    bridge.restart().await;
    bridge.until_ready().await;
    assert_eq!(server.asked().len(), asked.len() + 1);
    bridge.finish().await;
}
