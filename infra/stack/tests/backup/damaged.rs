//! What can't be restored is refused in words, and leaves everything as it was.

use std::fs;

use sqlx::PgConnection;

use super::steps::{empty, number, run, stack};
use crate::private::{Scratch, mode};
use crate::support::Whole;

const TABLES: &str = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";

async fn tables(db: &mut PgConnection) -> i64 {
    number(db, TABLES).await
}

/// Goal: a file that is cut off, changed, no backup at all or not there is refused with exit code 1 before the database is
/// touched; so is a database that holds something, be it the platform itself, and a file that is there already.
#[tokio::test]
async fn what_cannot_be_restored_is_refused() {
    let whole = Whole::start(&[]).await;
    let target = empty(&whole.sandbox).await;
    let (from, to) = (&whole.sandbox.settings.database_url, &target.settings.database_url);
    let scratch = Scratch::new();
    let file = scratch.root.join("backup");
    let (code, told) = run("backup", &file, from).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(mode(&file), 0o600);
    let kept = fs::read(&file).unwrap();
    let (code, told) = run("backup", &file, from).await;
    assert!(code == 1 && told.contains("is there already"), "{told}");
    assert_eq!(fs::read(&file).unwrap(), kept, "a backup is not written over");

    let mut cut = kept.clone();
    cut.truncate(kept.len() * 9 / 10);
    let mut changed = kept.clone();
    // In the compressed rows, which follow the table of contents.
    for byte in &mut changed[kept.len() * 9 / 10..kept.len() * 9 / 10 + 64] {
        *byte ^= 0x55;
    }
    let mut db = target.database().await.unwrap();
    for (name, bytes) in [("cut", cut), ("changed", changed), ("text", b"no backup".to_vec()), ("empty", Vec::new())] {
        let damaged = scratch.root.join(name);
        fs::write(&damaged, bytes).unwrap();
        let (code, told) = run("restore", &damaged, to).await;
        assert!(code == 1 && told.contains("nothing was restored"), "{name}: {code} {told}");
        assert_eq!(tables(&mut db).await, 0, "{name}");
    }
    let (code, told) = run("restore", &scratch.root.join("nowhere"), to).await;
    assert!(code == 1 && told.contains("can't be read"), "{told}");

    let before = tables(&mut whole.sandbox.database().await.unwrap()).await;
    let (code, told) = run("restore", &file, from).await;
    assert!(code == 1 && told.contains("not empty"), "{told}");
    sqlx::query("create table kept (row integer)").execute(&mut db).await.unwrap();
    let (code, told) = run("restore", &file, to).await;
    assert!(code == 1 && told.contains("not empty (1 tables"), "{told}");
    assert_eq!(tables(&mut whole.sandbox.database().await.unwrap()).await, before);

    // Nothing is written where nothing could be read.
    let nowhere = scratch.root.join("of nothing");
    let (code, told) = run("backup", &nowhere, &format!("{from}_of_nobody")).await;
    assert!(code == 1 && told.contains("nothing was written"), "{told}");
    let files = fs::read_dir(&scratch.root).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert_eq!(files.len(), 5, "no part of a backup is left: {files:?}");
    drop(db);
    target.remove().await.unwrap();
    whole.finish().await;
}

/// Goal: a platform at work is not made safe, which would halt it: the services must be stopped first.
#[tokio::test]
async fn a_platform_at_work_is_not_taken_for_a_restored_one() {
    let whole = Whole::start(&[]).await;
    let (code, told) = stack(&["restored"], &whole.sandbox.settings.database_url).await;
    assert!(code == 1 && told.contains("stop the services first"), "{told}");
    assert_eq!(whole.operator.get("/api/control").await.unwrap()["mode"], "active");
    whole.finish().await;
}
