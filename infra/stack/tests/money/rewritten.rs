//! An audit log that is not what was written: an entry changed, or all of it anew.

use super::books::{books_verify, noted};
use super::plants::{AUDITED, CHAINS, NOTED, POOLS, assert_found, books, differences, restore, run};
use super::steps::assert_clean;

/// The chain of hashes, as if it had always been so.
const REWRITE: &str = "do $$ declare link record; last bytea := ''; begin
    for link in select seq, entry from audit_log where service = 'distributor' order by seq loop
        last := sha256(last || convert_to(link.entry, 'UTF8'));
        update audit_log set hash = last where service = 'distributor' and seq = link.seq;
    end loop; end $$";
/// A deposit of one cent more, in the log.
const FORGE: &str = "update audit_log set entry = replace(entry, '\"amount\":10000', '\"amount\":10001')
    where service = 'distributor' and seq = 2";

/// Goal: an audit log that was changed, shortened, or written anew as a whole.
#[tokio::test]
async fn a_planted_audit_entry_is_found() {
    let second = "where service = 'distributor' and seq = 2";
    let entry = "entry 2 of the distributor's audit log";
    assert_found(&[
        (&format!("update audit_log set entry = entry || ' ' {second}"), CHAINS, entry),
        (FORGE, CHAINS, entry),
        (&format!("update audit_log set hash = sha256(hash) {second}"), CHAINS, entry),
        (&format!("delete from audit_log {second}"), CHAINS, "entry 3 of the distributor's audit log"),
        (&format!("delete from audit_log {second}"), AUDITED, "movement "),
        ("delete from audit_log where service = 'distributor' and seq = 1", CHAINS, "entry 2 of the distributor's"),
        (
            "delete from audit_log where service = 'distributor'
             and seq = (select max(seq) from audit_log where service = 'distributor')",
            AUDITED,
            "movement ",
        ),
    ])
    .await;
}

/// Goal: a chain written anew whose hashes all fit does not fit the movements, nor what was noted of it elsewhere; and
/// where the movement was written anew with it, what was noted still tells.
#[tokio::test]
async fn a_chain_written_anew_is_found() {
    let (sandbox, mut db) = books().await;
    let kept = noted(&mut db).await;
    let distributor = kept.iter().find(|noted| noted.service == "distributor").unwrap();
    let argument = format!("{}:{}:{}", distributor.service, distributor.seq, distributor.hash);
    let (code, told) = books_verify(&sandbox, &["--noted", &argument]).await;
    assert_eq!(code, 0, "{told}");

    assert_eq!(run(&mut db, FORGE).await, 1);
    run(&mut db, REWRITE).await;
    let found = differences(&mut db, &kept).await;
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [AUDITED, NOTED], "{found:?}");
    assert!(found[0].1.starts_with("movement "));
    assert_eq!(found[1].1, format!("entry {} of the distributor's audit log", distributor.seq));

    // All of it, consistently: only what was noted tells.
    run(&mut db, "update audit_log set entry = replace(entry, '\"amount\":10001', '\"amount\":10000') where seq = 2")
        .await;
    run(&mut db, "update audit_log set entry = replace(entry, 'movement.cancelled', 'movement.forgotten')").await;
    run(&mut db, REWRITE).await;
    let found = differences(&mut db, &kept).await;
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [NOTED], "{found:?}");
    let (code, told) = books_verify(&sandbox, &["--noted", &argument]).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains(&format!("DIFFERENT  {NOTED}")) && told.contains(&found[0].1), "{told}");
    restore(&mut db).await;
    assert_clean(&mut db).await;

    // The program fails with the difference, in words.
    run(&mut db, "update pools set equity = equity + 1 where account = 'main'").await;
    let (code, told) = books_verify(&sandbox, &[]).await;
    assert_eq!(code, 1, "{told}");
    for text in
        [format!("DIFFERENT  {POOLS}"), "pool of account main".into(), "expected".into(), "do not add up".into()]
    {
        assert!(told.contains(&text), "{text}: {told}");
    }
    drop(db);
    sandbox.remove().await.unwrap();
}
