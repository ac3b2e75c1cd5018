//! The README's table and `/metrics`.

use std::cell::RefCell;

use super::drive::{SILENCE, WAIT, with_books};
use crate::catalogue::{differences, documented, series, told};
use crate::support::eventually;

/// Goal: whoever builds on a metric finds it in the README with its type and labels, and finds nothing there that is not
/// told.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_readme_with_its_type_and_labels_and_no_other() {
    let mut documented = documented();
    documented.retain(|name, _| !name.starts_with("bridge_"));
    assert!(documented.len() > 50, "the table is read: {}", documented.len());
    let whole = with_books().await;
    whole.drive().await;
    let said = RefCell::new(Vec::new());
    let text = eventually("all of the README's metrics are told, and no others", || async {
        let text = whole.scrape().await;
        let found = differences(&documented, &told(&text));
        if *said.borrow() != found {
            eprintln!("{found:#?}");
        }
        let agree = found.is_empty();
        said.replace(found);
        agree.then_some(text)
    })
    .await;
    let stage = async |stage: &str| whole.value(&format!("pipeline_{stage}_seconds_sum")).await;
    let (waited, held, whole_way) =
        (stage("accept_to_handout").await, stage("handout_to_end").await, stage("accept_to_end").await);
    assert!(waited >= WAIT.as_seconds_f64() && held >= SILENCE.as_seconds_f64(), "{waited} {held}");
    assert!(held + WAIT.as_seconds_f64() <= whole_way, "{waited} + {held}: {whole_way}");
    assert!(text.contains("\npipeline_handout_to_end_seconds_count 3\n"), "two executed and one failed");
    let all = series(&text);
    let with = |label: &str| all.iter().filter(|series| series.contains(label)).count();
    let status = "route=\"/api/signal\",status=\"200\"";
    let key = format!("key_id=\"{}\"", whole.sandbox.keys.operator().split('_').nth(1).unwrap());
    let rest = all.len() - with("account=\"") - with("key_id=\"") - with("route=\"");
    // What the README says; of an account without ten of the kinds of anomaly.
    assert_eq!((with("account=\"main\""), with(status), with(&key)), (35 - 10, 18, 2));
    assert!(rest < 300, "{rest}");
    whole.finish().await;
}
