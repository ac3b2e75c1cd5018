//! Killed in the middle, cut off, started again: no order twice, and no wrong word.

use serde_json::json;

use super::super::wire::Confirm;
use super::super::*;
use super::bench::{BASE, Bench, signal, soon};
use crate::market::TradeRequest;

#[tokio::test]
async fn what_is_unresolved_is_asked_before_anything_else() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    let mut asked = Vec::new();
    while asked.last().is_none_or(|last| last != "pending") {
        asked.push(soon(bench.server.asked.recv()).await.unwrap());
    }
    assert_eq!(asked[0], "unresolved");
}

#[tokio::test]
async fn a_crash_after_the_fill_never_leads_to_a_second_order() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashAfterFill]);
    bench.server.offer(vec![signal(1, json!({}))]);
    assert!(matches!(bench.crash().await, Error::Crashed(Fault::CrashAfterFill)));
    bench.server.leave_unresolved(signal(1, json!({ "lease_ms": null, "remaining_ms": null })));
    bench.server.offer(vec![signal(1, json!({ "attempt": 2 }))]);
    bench.start(&[Fault::CrashAfterFill]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], &said["ticket"]), (&json!("executed"), &json!(bench.positions()[0].ticket)));
    bench.stop().await;
    assert_eq!(bench.sends(), 1);
}

#[tokio::test]
async fn a_claim_that_was_never_sent_is_given_back_and_can_be_taken_again() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashBeforeSend]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.crash().await;
    bench.server.leave_unresolved(signal(1, json!({})));
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["status"], "not_sent");
    assert_eq!(bench.sends(), 0);
    bench.server.offer(vec![signal(1, json!({ "attempt": 2 }))]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], &said["attempt"]), (&json!("executed"), &json!(2)));
}

/// Goal: nobody waits for the end of a lease where the journal and the broker know what became of the claim.
#[tokio::test]
async fn a_new_run_tells_at_once_what_the_one_before_left_open() {
    for (fault, told) in [(Fault::CrashBeforeSend, "not_sent"), (Fault::CrashAfterFill, "executed")] {
        let mut bench = Bench::new().await;
        bench.start(&[fault]);
        bench.server.offer(vec![signal(1, json!({}))]);
        bench.crash().await;
        bench.start(&[]);
        let said = bench.server.confirmation().await;
        assert_eq!((&said["id"], &said["attempt"], &said["status"]), (&json!(1), &json!(1), &json!(told)));
        bench.stop().await;
        bench.start(&[]);
        bench.server.offer(vec![signal(2, json!({}))]);
        assert_eq!(bench.server.confirmation().await["id"], 2, "it is told once");
    }
}

#[tokio::test]
async fn a_send_that_may_have_happened_is_never_called_not_sent() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashWhileSending]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.crash().await;
    bench.server.leave_unresolved(signal(1, json!({})));
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["status"], "not_found");
    assert_eq!(bench.sends(), 0);
}

#[tokio::test]
async fn a_lost_journal_proves_nothing() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::CrashBeforeSend]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.crash().await;
    std::fs::remove_file(bench.folder.join("journal.jsonl")).unwrap();
    bench.server.leave_unresolved(signal(1, json!({})));
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["status"], "not_found");
}

/// Goal: whatever dies when, each signal ends, and no signal is traded twice. A model of the platform gives back what was
/// not sent and asks for what was claimed and never answered.
#[tokio::test]
async fn no_sequence_of_crashes_trades_a_signal_twice() {
    const SIGNALS: u64 = 12;
    /// Silence for this long is the end of every claim; the terminal itself is told of thirty seconds.
    const LEASE: Duration = Duration::from_millis(200);
    let mut bench = Bench::new().await;
    bench.server.offer((1..=SIGNALS).map(|id| signal(id, json!({}))).collect());
    let mut attempts: HashMap<u64, u64> = (1..=SIGNALS).map(|id| (id, 1)).collect();
    let mut ended: HashMap<u64, String> = HashMap::new();
    // How each run misbehaves, and after how many confirmations it is killed if it lives that long.
    let runs: [(&[Fault], usize); 7] = [
        (&[Fault::CrashBeforeSend], 99),
        (&[Fault::CrashAfterFill], 99),
        (&[Fault::Requote], 2),
        (&[Fault::CrashWhileSending, Fault::ConfirmTwice], 99),
        (&[Fault::LoseAnswer], 3),
        (&[Fault::PartialFill], 1),
        (&[Fault::ConfirmTwice], 99),
    ];
    for (faults, killed_after) in runs {
        bench.start(faults);
        let (mut task, _stop) = bench.run.take().unwrap();
        let mut confirmations = 0;
        while confirmations < killed_after && ended.len() < attempts.len() {
            let said = tokio::select! {
                said = bench.server.confirmation() => said,
                _ = &mut task => break,
                () = tokio::time::sleep(LEASE) => {
                    bench.server.end_leases(&attempts, &ended);
                    continue;
                }
            };
            confirmations += 1;
            let id = said["id"].as_u64().unwrap();
            if said["status"] != "not_sent" {
                let status = said["status"].as_str().unwrap().to_owned();
                let before = ended.insert(id, status.clone());
                assert!(before.is_none_or(|before| before == status), "signal {id} ended in two ways");
            } else if said["attempt"] == json!(attempts[&id]) && !ended.contains_key(&id) {
                *attempts.get_mut(&id).unwrap() += 1;
                bench.server.offer(vec![signal(id, json!({ "attempt": attempts[&id] }))]);
            }
        }
        if !task.is_finished() {
            task.abort();
            let _ = task.await;
        }
    }
    assert_eq!(ended.len(), attempts.len(), "every signal ended");
    let market = bench.market.lock().unwrap();
    for (id, status) in ended {
        let deals = market.deals().iter().filter(|deal| deal.magic == BASE + id).count();
        assert_eq!(deals, usize::from(status == "executed"), "signal {id} is {status}");
    }
}

#[tokio::test]
async fn a_redelivered_attempt_is_not_executed_again() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({}))]);
    bench.server.confirmation().await;
    bench.server.offer(vec![signal(1, json!({})), signal(1, json!({ "attempt": 2 })), signal(2, json!({}))]);
    assert_eq!(bench.server.confirmation().await["id"], 2);
    assert_eq!(bench.sends(), 2);
}

#[tokio::test]
async fn an_undelivered_confirmation_survives_a_restart() {
    let mut bench = Bench::new().await;
    let url = std::mem::replace(&mut bench.server.url, "http://127.0.0.1:1".to_owned());
    let mut journal = Journal::open(Some(&bench.folder.join("journal.jsonl"))).unwrap();
    journal.report(Confirm { id: Some(5), ..Confirm::new(Status::Failed) }).unwrap();
    drop(journal);
    bench.start(&[]);
    bench.stop().await;
    bench.server.url = url;
    bench.start(&[]);
    assert_eq!(bench.server.confirmation().await["id"], 5);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_before_a_word_is_said() {
    let mut bench = Bench::new().await;
    bench.start(&[Fault::LoseAnswer]);
    bench.server.offer(vec![
        signal(1, json!({})),
        signal(2, json!({ "action": "CLOSE", "volume": null, "remaining_ms": null })),
    ]);
    let said = bench.server.confirmation().await;
    assert_eq!((&said["status"], said["price"].to_string()), (&json!("executed"), "1.08512".to_owned()));
    let closed = bench.server.confirmation().await;
    assert_eq!((&closed["status"], &closed["ticket"]), (&json!("executed"), &said["ticket"]));
    assert_eq!(bench.sends(), 2);
}

#[tokio::test]
async fn a_stop_loss_is_reported_once_over_restarts() {
    let mut bench = Bench::new().await;
    bench.start(&[]);
    bench.server.offer(vec![signal(1, json!({ "sl": 1.08 })), signal(2, json!({}))]);
    let opened = bench.server.confirmation().await;
    bench.server.confirmation().await;
    bench.set_price("1.07900");
    let closed = bench.server.confirmation().await;
    assert_eq!((&closed["status"], &closed["ticket"], &closed["id"]), (&json!("closed"), &opened["ticket"], &json!(1)));
    assert_eq!(
        (closed["close_price"].to_string(), closed["profit"].to_string()),
        ("1.07900".to_owned(), "-61.20".to_owned())
    );
    bench.stop().await;
    bench.start(&[]);
    let by_hand = bench.positions()[0].clone();
    bench.call(Request::OrderSend(TradeRequest {
        position: by_hand.ticket,
        symbol: by_hand.symbol,
        volume: by_hand.volume,
        order_type: crate::market::OrderType::Sell,
        ..TradeRequest::default()
    }));
    let next = bench.server.confirmation().await;
    assert_eq!((&next["id"], &next["message"]), (&json!(2), &json!("closed by hand")));
}

#[test]
fn a_torn_last_line_of_the_journal_is_cut_off() {
    let path = std::env::temp_dir().join(format!("journal-{}.jsonl", uuid::Uuid::new_v4()));
    let mut journal = Journal::open(Some(&path)).unwrap();
    journal.claim([(BASE + 1, 1), (BASE + 2, 1)].into_iter()).unwrap();
    journal.sending(BASE + 1, 1).unwrap();
    assert!(Journal::open(Some(&path)).is_err(), "two terminals don't share a journal");
    drop(journal);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend(br#"{"sending":{"ma"#);
    std::fs::write(&path, torn).unwrap();
    let mut journal = Journal::open(Some(&path)).unwrap();
    assert!(journal.intent(1).unwrap().sent);
    assert!(!journal.intent(2).unwrap().sent);
    journal.sending(BASE + 2, 1).unwrap();
    drop(journal);
    assert!(Journal::open(Some(&path)).unwrap().intent(2).unwrap().sent);
    std::fs::remove_file(path).unwrap();
}
