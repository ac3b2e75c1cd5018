//! Queues of RabbitMQ as the services use them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::message::{Body, Envelope};
use common::queue::{self, Consumer, Publisher};
use common::service::{Lifecycle, Ready};
use common::topology::Stream;
use serde::{Deserialize, Serialize};
use support::{eventually, servers};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often one consumer takes over from another.
const CHANGES: usize = 20;
/// So many that something new comes at every moment.
const SENDERS: u64 = 32;
/// How long a consumer that can't handle its batch goes on being sent messages.
const HELD: Duration = Duration::from_millis(30);

#[derive(Serialize, Deserialize)]
struct Number {
    sender: u64,
    number: u64,
}

impl Body for Number {
    const TYPE: &'static str = "number";
}

fn envelope(sender: u64, number: u64) -> Envelope<Number> {
    Envelope {
        message_id: Uuid::new_v4(),
        kind: Number::TYPE.to_owned(),
        occurred_at: OffsetDateTime::UNIX_EPOCH,
        request_id: String::new(),
        traceparent: None,
        body: Number { sender, number },
    }
}

/// A consumer that notes what it handles, until it is told that it can't any more.
struct Member {
    fails: Arc<AtomicBool>,
    ready: Ready,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Member {
    fn join(url: &str, stream: &Stream, seen: &Arc<Mutex<Vec<Number>>>) -> Self {
        let (fails, ready, stop) = (Arc::new(AtomicBool::new(false)), Ready::default(), CancellationToken::new());
        let consumer = Consumer { url: url.to_owned(), stream: stream.clone(), ready: ready.clone() };
        let (failing, seen) = (fails.clone(), seen.clone());
        let handle = move |batch: queue::Batch| {
            let outcome = if failing.load(Ordering::Relaxed) { Err("the database is away") } else { Ok(()) };
            if outcome.is_ok() {
                let numbers = batch.iter().map(|body| Envelope::<Number>::decode(body).unwrap().body);
                seen.lock().unwrap().extend(numbers);
            }
            std::future::ready(outcome)
        };
        let task = tokio::spawn(consumer.run(stop.clone(), handle));
        Self { fails, ready, stop, task }
    }
}

/// Goal: whoever takes over a queue goes on where the one before stopped. What is new then does not come before what that
/// one held and gives back.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_a_queue_goes_on_where_the_last_one_stopped() {
    let (_, url) = servers();
    let stream = Stream::new(&format!("test-{}.", Uuid::new_v4().simple()), "numbers");
    let (lifecycle, ready) = (Lifecycle::default(), Ready::default());
    let publisher = Publisher::start(url.clone(), stream.clone(), ready.clone(), &lifecycle);
    eventually("the publisher is ready", || async { ready.get().then_some(()) }).await;
    let done = CancellationToken::new();
    let publish = async |sender| {
        let mut count = 0;
        while !done.is_cancelled() {
            publisher.publish(&envelope(sender, count)).await.unwrap();
            count += 1;
        }
        count
    };
    let publishing = futures_util::future::join_all((0..SENDERS).map(publish));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (counts, ()) = tokio::join!(publishing, async {
        let mut first = Member::join(&url, &stream, &seen);
        for _ in 0..CHANGES {
            eventually("the first is ready", || async { first.ready.get().then_some(()) }).await;
            let second = Member::join(&url, &stream, &seen);
            eventually("the second waits", || async { second.ready.get().then_some(()) }).await;
            first.fails.store(true, Ordering::Relaxed);
            tokio::time::sleep(HELD).await;
            first.stop.cancel();
            first.task.await.unwrap();
            first = second;
        }
        done.cancel();
        let mut before = 0;
        while before < seen.lock().unwrap().len() {
            before = seen.lock().unwrap().len();
            tokio::time::sleep(HELD * 20).await;
        }
        first.stop.cancel();
        first.task.await.unwrap();
    });
    lifecycle.stop().cancel();
    queue::remove(&url, std::slice::from_ref(&stream)).await.unwrap();
    let mut next = vec![0; counts.len()];
    for Number { sender, number } in seen.lock().unwrap().iter() {
        let next = &mut next[usize::try_from(*sender).unwrap()];
        // What was handled and not acknowledged comes again.
        assert!(*number <= *next, "{number} of {sender} came before {next}");
        *next = (*next).max(number + 1);
    }
    assert_eq!(next, counts);
}
