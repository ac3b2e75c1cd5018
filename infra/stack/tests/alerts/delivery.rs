//! Messages that nobody gets: people are told by whatever other way there is.

use super::watch::{ARRIVES, Watch, rules};
use crate::private::{Scratch, within};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Goal: where the webhook takes nothing, Telegram is told not only of what happened, but that the webhook did not get it.
#[tokio::test]
async fn that_a_receiver_gets_nothing_arrives_at_the_other_one() {
    let scratch = Scratch::new();
    let rules = rules(&[("ServiceMissing", "for: 1m", "for: 1s", 1)]);
    let watch = Watch::observe(&scratch.root, NOWHERE, &rules, Some(NOWHERE)).await;
    let said = |wanted: &str| {
        let posts = watch.posts("/telegram/bot1:'secret/sendMessage");
        posts.iter().any(|post| post.body["text"].as_str().is_some_and(|text| text.contains(wanted)))
    };
    for wanted in ["ServiceMissing (critical)", "NotificationsFailed (critical): webhook did not get"] {
        within(ARRIVES, &format!("Telegram is told of {wanted}"), || async { said(wanted) }).await;
    }
    assert_eq!(watch.told(), [].into());
    watch.stop().await;
}
