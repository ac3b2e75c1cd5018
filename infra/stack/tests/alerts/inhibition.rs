//! What an outage holds back, and that it holds back nothing else: every alert there is, of several accounts and parts, is
//! given to a real Alertmanager beside each cause there is.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stack::servers::observers::RULES;

use super::watch::{ARRIVES, Watch};
use crate::private::{Scratch, within};

/// Each alert comes three times, with an account and a part of its own.
const PLACES: [(&str, &str); 3] = [("main", "ingest"), ("second", "dispatcher"), ("third", "distributor")];

/// An outage: its cause and whose it is.
struct Case {
    cause: &'static str,
    /// A label and its value.
    of: (&'static str, &'static str),
    /// What it holds back everywhere.
    everywhere: &'static [&'static str],
    /// What it holds back of the same account or part.
    there: &'static [&'static str],
}

const fn case(
    cause: &'static str,
    of: (&'static str, &'static str),
    everywhere: &'static [&'static str],
    there: &'static [&'static str],
) -> Case {
    Case { cause, of, everywhere, there }
}

const CASES: [Case; 12] = [
    case("BrokerDown", ("part", "ingest"), &["ApiErrors", "HeartbeatMissing", "SlowAccept"], &[]),
    case("BrokerDown", ("part", "dispatcher"), &["ApiErrors", "HeartbeatMissing", "NotConsuming", "SlowHandOut"], &[]),
    case(
        "DatabaseDown",
        ("part", "dispatcher"),
        &["AccountSilent", "ApiErrors", "HeartbeatMissing", "SlowHandOut", "TerminalSilent"],
        &["NotConsuming"],
    ),
    case("DatabaseDown", ("part", "distributor"), &[], &["NotConsuming"]),
    case("ServiceMissing", ("part", "ingest"), &["HeartbeatMissing"], &[]),
    case("ServiceMissing", ("part", "dispatcher"), &["HeartbeatMissing", "SlowHandOut"], &[]),
    case("ServiceMissing", ("part", "distributor"), &[], &[]),
    case("TerminalSilent", ("account", "second"), &[], &["AccountSilent", "HeartbeatMissing"]),
    case("TerminalDisconnected", ("account", "second"), &[], &["HeartbeatMissing"]),
    case("TradingNotAllowed", ("account", "second"), &[], &["HeartbeatMissing"]),
    // Neither says that nothing else works: another instance, another service, another terminal of the account may.
    case("ServiceDown", ("job", "ingest"), &[], &[]),
    case("OtherLogin", ("account", "second"), &[], &[]),
];

impl Case {
    /// Whether it is to hold this one back.
    fn holds_back(&self, name: &str, (account, part): (&str, &str)) -> bool {
        let same = [("account", account), ("part", part)].contains(&self.of);
        self.everywhere.contains(&name) || (same && self.there.contains(&name))
    }

    /// Tells of the outage, and then of everything else.
    async fn play(&self) {
        let scratch = Scratch::new();
        // Prometheus has nothing to look at, and says nothing.
        let watch = Watch::observe(&scratch.root, "http://127.0.0.1:1/metrics", "groups: []", None).await;
        let (label, value) = self.of;
        let outage = json!({"alertname": "Outage", "severity": "none", "cause": self.cause, label: value});
        watch.post(&[outage]).await;
        let alerts = RULES.lines().filter_map(|line| line.split_once("- alert: ")).map(|(_, name)| name);
        let alerts = alerts.filter(|name| !["Outage", "Watchdog"].contains(name));
        let all: Vec<_> = alerts.flat_map(|name| PLACES.map(|place| (name, place))).collect();
        let (held, told): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, place)| self.holds_back(name, *place));
        // What is held back is due first, and so would have come first.
        for alerts in [&held, &told] {
            watch.post(&alerts.iter().map(labels).collect::<Vec<_>>()).await;
        }
        let wanted = told.iter().map(name_and_account).collect::<BTreeSet<_>>();
        let arrived = || watch.posts("/people").iter().map(|post| pair(&post.body["groupLabels"])).collect();
        let what = format!("of {} of {value} arrives what does not follow from it", self.cause);
        within(ARRIVES, &what, || async { wanted.is_subset(&arrived()) }).await;
        let kept: BTreeSet<_> = watch.held_back().await.iter().map(pair).collect();
        assert_eq!(kept, held.iter().map(name_and_account).collect(), "held back by {} of {value}", self.cause);
        assert_eq!(arrived(), wanted, "told beside {} of {value}", self.cause);
        watch.stop().await;
    }
}

type Alert = (&'static str, (&'static str, &'static str));

fn labels(&(name, (account, part)): &Alert) -> Value {
    json!({"alertname": name, "severity": "critical", "account": account, "part": part})
}

fn name_and_account(&(name, (account, _)): &Alert) -> (String, String) {
    (name.to_owned(), account.to_owned())
}

fn pair(labels: &Value) -> (String, String) {
    let text = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    (text("alertname"), text("account"))
}

/// Goal: each outage holds back what follows from it and nothing else: with one of one part or account, all that another
/// one has still arrives, and so does whatever tells of money or of a signal.
#[tokio::test]
async fn an_outage_holds_back_what_follows_from_it_and_all_else_arrives() {
    join_all(CASES.iter().map(Case::play)).await;
}
