//! The tests are tested: an Expert Advisor with one safeguard taken out must come to another end.

use std::fs;
use std::path::{Path, PathBuf};

use super::desk::compiled;
use super::memory::{self, Journal};

/// A copy of the Expert Advisor in which each of these texts is replaced, compiled.
fn mutant(name: &str, changes: &[(&str, &str, &str)]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let copy = folder.join("sources").join(name);
    let _ = fs::remove_dir_all(&copy);
    copy_tree(&root.join("ea/mql5"), &copy);
    for (file, from, to) in changes {
        let path = copy.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
    compiled(&copy, &folder.join(name), false)
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Goal: without the line before the order send, a kill makes it send again.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn without_the_journal_line_an_order_is_doubled() {
    let change = (
        "Include/Community/Journal.mqh",
        "if(!Write(\"sending \"+IntegerToString(id)+\" \"+IntegerToString(orders)))",
        "if(id<0)",
    );
    let ending = memory::killed_while_sending(mutant("no-journal", &[change]), Journal::Whole).await;
    assert_eq!(ending.fills, 3, "{ending:?}");
}

/// Goal: so it does without the flush of that line, which is lost with the process.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn without_the_flush_of_the_journal_an_order_is_doubled() {
    let change = ("Include/Community/Journal.mqh", "return(Flush());", "return(true);");
    let ending = memory::killed_while_sending(mutant("no-flush", &[change]), Journal::Whole).await;
    assert_eq!(ending.fills, 3, "{ending:?}");
}

/// Goal: where orders are recognised by their comments, a broker that drops them makes a filled order a failed one.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn by_comment_a_filled_order_is_not_found() {
    let by_comment = "StringFind(HistoryDealGetString(deal,DEAL_COMMENT),IntegerToString(magic))<0 || ";
    let changes = [
        ("Include/Community/Outcome.mqh", "HistoryDealGetInteger(deal,DEAL_MAGIC)!=magic || ", by_comment),
        ("Include/Community/Outcome.mqh", "return(FindPosition(magic,report) || ", "return("),
        (
            "Include/Community/News.mqh",
            "return(HistoryDealGetInteger(deal,DEAL_MAGIC));",
            "return(StringToInteger(HistoryDealGetString(deal,DEAL_COMMENT)));",
        ),
        (
            "Include/Community/Opening.mqh",
            "request.comment=StringSubstr(signal.comment,0,COMMENT_MAX);",
            "request.comment=IntegerToString(signal.magic);",
        ),
    ];
    let ending = memory::answer_lost_and_comment_dropped(mutant("by-comment", &changes)).await;
    assert_eq!((ending.fills, &*ending.states[0]), (1, "failed"), "{ending:?}");
}

/// Goal: where a time-out is taken for a refusal, the order is sent twice.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn a_time_out_that_is_tried_again_doubles_the_order() {
    let change = (
        "Include/Community/Words.mqh",
        "return(retcode==TRADE_RETCODE_REQUOTE",
        "return(retcode==TRADE_RETCODE_TIMEOUT || retcode==TRADE_RETCODE_REQUOTE",
    );
    let ending = memory::answer_lost_and_comment_dropped(mutant("time-out", &[change])).await;
    assert_eq!(ending.fills, 2, "{ending:?}");
}

/// Goal: one that calls unsent what its journal does not know says so with a lost journal; only the platform, which
/// believes nobody but the installation that took the claim, keeps it from doing harm.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn a_lost_journal_that_is_taken_for_proof_says_not_sent() {
    let change = (
        "Include/Community/LookUp.mqh",
        "if(intent>=0 && g_journal.IntentAttempt(intent)==signal.attempt && !g_journal.WasSent(intent))",
        "if(intent<0)",
    );
    memory::says_not_sent(mutant("lost-journal", &[change]), Journal::Lost).await;
}

/// Goal: one that trusts its journal after the machine went down sends an executed order again.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn a_journal_whose_machine_went_down_is_no_proof() {
    let change = ("Include/Community/Journal.mqh", "if(MathAbs(Boot()-m_boot)>BOOT_DRIFT_SECONDS)", "if(m_boot<0)");
    let ending = memory::killed_while_sending(mutant("machine-down", &[change]), Journal::MachineDown).await;
    assert_eq!(ending.fills, 3, "{ending:?}");
}

/// Goal: where time counts from the arrival of the answer, a signal is traded after its end.
#[tokio::test]
#[ignore = "long: compiles a mutant"]
async fn time_counted_from_receipt_trades_what_is_over() {
    let change = (
        "Include/Community/Poll.mqh",
        "ReadSignal(json,i,asked_at,signals[count]);",
        "ReadSignal(json,i,GetTickCount64(),signals[count]);",
    );
    let ending = memory::late_arrival(mutant("from-receipt", &[change])).await;
    assert_eq!(ending.fills, 1, "{ending:?}");
}
