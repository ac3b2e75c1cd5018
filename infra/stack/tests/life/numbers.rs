//! The numbers of signals, which never repeat.

use serde_json::json;
use sqlx::Connection as _;

use super::steps::id;
use crate::support::{DEADLINE, Whole, eventually};

/// Goal: a second dispatcher's start sets no number back: it waits for whoever draws one, and goes on above what was drawn.
#[tokio::test]
async fn a_start_raises_the_numbers_above_those_that_are_being_drawn() {
    let whole = Whole::start(&[]).await;
    let (mut drawer, mut database) = (whole.sandbox.database().await.unwrap(), whole.sandbox.database().await.unwrap());
    let mut drawing = drawer.begin().await.unwrap();
    // As every insert does before it draws.
    sqlx::query("lock table signals in row exclusive mode").execute(&mut *drawing).await.unwrap();
    let second = whole.sandbox.launch().await.unwrap();
    let waiting = "pg_locks where relation = 'signals'::regclass and not granted";
    eventually("the second one waits for who draws", || async { (whole.count(waiting).await > 0).then_some(()) }).await;
    let draw = "select setval('signal_ids', last_value + 100000000) from signal_ids";
    let drawn: i64 = sqlx::query_scalar(draw).fetch_one(&mut *drawing).await.unwrap();
    drawing.commit().await.unwrap();
    second.ready(DEADLINE).await.unwrap();
    let last = sqlx::query_scalar("select last_value from signal_ids");
    assert!(last.fetch_one(&mut database).await.map(|last: i64| last >= drawn).unwrap());
    assert!(second.stop().await);
    database.close().await.unwrap();
    drawer.close().await.unwrap();
    whole.finish().await;
}

/// Goal: an accepted signal is not lost because its number is taken, nor are many numbers tried: the next one is free.
#[tokio::test]
async fn a_signal_whose_number_is_taken_is_stored_under_the_next_free_one() {
    let whole = Whole::start(&[]).await;
    for _ in 0..200 {
        whole.post(json!({"symbol": "EURUSD", "action": "BUY", "ttl_seconds": 3600})).await;
    }
    whole.buy("EURUSD").await;
    let mut database = whole.sandbox.database().await.unwrap();
    let back = "select setval('signal_ids', last_value - 201) from signal_ids";
    sqlx::query(back).execute(&mut database).await.unwrap();
    let stored = whole.buy("GBPUSD").await;
    assert_eq!(stored["state"], "pending");
    assert_eq!(whole.count("signal_dead_letters").await, 0);
    let of = "select signal_id::text from signals order by id desc limit 1";
    let newest: String = sqlx::query_scalar(of).fetch_one(&mut database).await.unwrap();
    assert_eq!(newest, id(&stored));
    database.close().await.unwrap();
    whole.finish().await;
}
