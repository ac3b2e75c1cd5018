//! The books of a story in which everything happens are clean, and the check's own program says so.

use std::process::Output;

use distributor::books::Noted;
use reqwest::Method;
use serde_json::{Value, json};
use stack::sandbox::Sandbox;

use super::steps::{five, full, id, open, verdict};
use crate::support::Whole;

/// Everything that can happen to money, in two accounts: deposits and withdrawals at once and after waiting, one that is
/// cancelled, one that is refused, reports of both definitions and such as do not count, a pool that is closed.
pub(super) async fn mixed_story(whole: &Whole) {
    for user in ["A", "B", "C"] {
        whole.member(user, 10_000).await;
    }
    whole.update(five(30_000, 1)).await;
    whole.update(open(30_000, 10_000)).await;
    let (paid, refused) = (whole.withdraw("A", Some(5_000)).await, whole.withdraw("C", Some(13_000)).await);
    let (cancelled, priced) = (whole.invest("B", 2_000).await, whole.invest("C", 777).await);
    let path = format!("/api/users/B/movements/{}/cancel", id(&cancelled));
    assert_eq!(whole.ask(Method::POST, &path, Value::Null).await.0, 200);
    whole.update(open(30_000, -5_000)).await;
    let statuses = [
        ("A", &paid, "applied"),
        ("C", &refused, "refused"),
        ("B", &cancelled, "cancelled"),
        ("C", &priced, "applied"),
    ];
    for (user, movement, status) in statuses {
        assert_eq!(whole.movement(user, id(movement)).await["status"], status);
    }
    assert_eq!(whole.update(full(31_000, 30_000)).await, "applied");
    assert_eq!(whole.update(five(31_000, 0)).await, "history_incomplete");
    assert_eq!(whole.update(full(31_234, 30_000)).await, "applied");
    whole.withdraw("B", None).await;
    whole.update(full(31_333, 30_000)).await;

    let second = whole.operator.with_key(&whole.sandbox.terminals["second"]);
    let there = |amount: u32| json!({"amount": amount, "account": "second"});
    whole.update_by(&second, five(5_000, 300)).await;
    for user in ["A", "C"] {
        whole.operator.post(&format!("/api/users/{user}/invest"), &there(10)).await.unwrap();
    }
    whole.update_by(&second, five(5_000, 403)).await;
    whole.update_by(&second, five(5_000, -2_000)).await;
    assert_eq!(whole.ask(Method::POST, "/api/accounts/second/pool/close", Value::Null).await.0, 200);
    for user in ["C", "A", "B"] {
        whole.operator.post(&format!("/api/users/{user}/invest"), &there(5)).await.unwrap();
    }
    whole.update_by(&second, five(5_000, -1_999)).await;
    // One waits at the end.
    whole.update_by(&second, open(5_000, -1_899)).await;
    whole.operator.post("/api/users/A/invest", &there(1)).await.unwrap();
    whole.valued().await;
    assert_eq!(whole.count("pools where cutoff_user is not null").await, 2, "cents that do not divide");
    assert_eq!(whole.count("pending_movements").await, 1);
}

/// Goal: after a story in which everything happens every balance follows from the rows behind it, and an end of the
/// audit chains that was noted on the way is still there.
#[tokio::test]
async fn the_books_of_a_mixed_story_are_clean() {
    let whole = Whole::start(&["second"]).await;
    let mut db = whole.sandbox.database().await.unwrap();
    assert!(verdict(&mut db, &[]).await.is_clean(), "of nothing");
    whole.member("D", 0).await;
    whole.invest("D", 100).await;
    let noted: Vec<Noted> = noted(&mut db).await;
    assert!(noted.iter().any(|noted| noted.service == "distributor" && noted.seq == 1));
    mixed_story(&whole).await;
    let verdict = verdict(&mut db, &noted).await;
    for check in &verdict.checks {
        assert!(check.difference.is_none(), "{}: {:?}", check.name, check.difference);
    }
    let head = verdict.heads.iter().find(|head| head.service == "distributor").unwrap();
    assert_eq!(head.seq, whole.count("audit_log where service = 'distributor'").await);
    drop(db);
    whole.finish_clean().await;
}

/// The ends of the chains as one would note them.
pub(super) async fn noted(db: &mut sqlx::PgConnection) -> Vec<Noted> {
    let heads = verdict(db, &[]).await.heads;
    heads.into_iter().map(|head| Noted { service: head.service, seq: head.seq, hash: head.hash }).collect()
}

/// Runs `stack books verify` with these arguments; its exit code and what it wrote.
pub(super) async fn books_verify(sandbox: &Sandbox, arguments: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stack"));
    command.args(["books", "verify"]).args(arguments).env_clear().env("DATABASE_URL", &sandbox.settings.database_url);
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// Goal: the program tells what it checked and where the chains end, in the form in which they can be given to it again;
/// beside a platform that works.
#[tokio::test]
async fn the_program_checks_the_books_and_tells_the_ends_of_the_chains() {
    let whole = Whole::start(&["second"]).await;
    mixed_story(&whole).await;
    let (code, told) = books_verify(&whole.sandbox, &[]).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("the books add up") && !told.contains("DIFFERENT"), "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), 11, "{told}");
    let chains: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("chain")).map(str::trim).collect();
    assert!(chains.iter().any(|chain| chain.starts_with("distributor:")), "{told}");
    // More is written; what was noted is still there, and so is its beginning.
    whole.member("D", 100).await;
    for chain in &chains {
        let short = &chain[..chain.rfind(':').unwrap() + 9];
        let (code, told) = books_verify(&whole.sandbox, &["--noted", chain, "--noted", short]).await;
        assert_eq!(code, 0, "{told}");
        let (code, told) = books_verify(&whole.sandbox, &["--noted", &format!("{short}00000000")]).await;
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("DIFFERENT  the audit log is the one that was noted"), "{told}");
    }
    let beyond = "distributor:999:0123456789abcdef";
    assert_eq!(books_verify(&whole.sandbox, &["--noted", beyond]).await.0, 1);
    for nonsense in
        ["distributor", "distributor:1", "distributor:x:0123456789abcdef", "distributor:1:xyz", "a:1:0123:4567"]
    {
        assert_eq!(books_verify(&whole.sandbox, &["--noted", nonsense]).await.0, 2, "{nonsense}");
    }
    whole.finish_clean().await;
}
