//! Many at once, through two distributors: every movement that was answered counts once, and the books are clean.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use stack::client::{Client, cents};

use super::steps::{amount, five, id, open};
use crate::support::{Whole, eventually};

const ACCOUNTS: [&str; 3] = ["main", "second", "third"];
const MEMBERS: u64 = 8;
const ROUNDS: u64 = 60;

/// Numbers that look random and are the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A movement that was answered 200: account, kind, and amount where it is known.
type Answered = BTreeMap<String, (String, String)>;

/// One member moves money in and out, in every account and through either platform; now and then all, and now and then
/// he takes back what waits.
async fn member(clients: [Client; 2], number: u64) -> Answered {
    let mut random = Seeded(number);
    let mut answered = Answered::new();
    let user = format!("m{number}");
    for round in 0..ROUNDS {
        let client = &clients[usize::try_from(random.below(2)).unwrap()];
        let account = ACCOUNTS[usize::try_from(random.below(3)).unwrap()];
        let (path, body) = match random.below(10) {
            0..6 => ("invest", json!({"amount": amount(i128::from(random.below(100_000) + 1)), "account": account})),
            6..9 => ("withdraw", json!({"amount": amount(i128::from(random.below(50_000) + 1)), "account": account})),
            _ => ("withdraw", json!({"all": true, "account": account})),
        };
        let (status, answer) =
            client.send(Method::POST, &format!("/api/users/{user}/{path}"), Some(&body)).await.unwrap();
        match status.as_u16() {
            200 => {
                let movement = id(&answer).to_owned();
                let kind = answer["kind"].as_str().unwrap().to_owned();
                if answer["status"] == "pending" && round % 5 == 0 {
                    let cancel = format!("/api/users/{user}/movements/{movement}/cancel");
                    let (status, _) = clients[0].send(Method::POST, &cancel, None).await.unwrap();
                    assert!([200, 409].contains(&status.as_u16()), "{status}");
                }
                assert!(answered.insert(movement, (account.to_owned(), kind)).is_none(), "an id twice");
            }
            409 => assert_eq!(answer["code"], "above_value", "{path} {body}"),
            _ => panic!("{path} {body}: {status} {answer}"),
        }
    }
    answered
}

/// One account's terminal reports levels, now with a position open and now without, through either platform.
async fn terminal(clients: [Client; 2], seed: u64, going_on: &AtomicU64) -> u64 {
    let mut random = Seeded(seed);
    let mut sent = 0;
    while going_on.load(Ordering::Relaxed) > 0 {
        let level = i128::from(random.below(60_000)) - 30_000;
        let figures = if random.below(2) == 0 { five(1_000_000, level) } else { open(1_000_000, level) };
        let client = &clients[usize::try_from(random.below(2)).unwrap()];
        client.post("/api/account/update", &figures).await.expect("taken");
        sent += 1;
    }
    sent
}

/// Goal: with two distributors, many members who move money in three accounts, and their reports, nothing is lost, counted
/// twice or priced by two; and the members' values are the pools to the cent.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_on_two_distributors_loses_no_cent() {
    let whole = Whole::start(&ACCOUNTS[1..]).await;
    let other = whole.sandbox.start().await.unwrap();
    let there = whole.sandbox.operator(&other).unwrap();
    // Never wiped out: the seed is a thousand, and no level is below minus 300.
    for account in ACCOUNTS {
        let body =
            json!({"user_id": format!("seed of {account}").replace(' ', "_"), "investment": 1_000, "account": account});
        whole.operator.post("/api/users", &body).await.unwrap();
    }
    for number in 0..MEMBERS {
        whole.member(&format!("m{number}"), 0).await;
    }
    let going_on = AtomicU64::new(MEMBERS);
    let members = join_all((0..MEMBERS).map(|number| {
        let (task, going_on) = (tokio::spawn(member([whole.operator.clone(), there.clone()], number)), &going_on);
        async move {
            let answered = task.await.unwrap();
            going_on.fetch_sub(1, Ordering::Relaxed);
            answered
        }
    }));
    let keys = ACCOUNTS
        .map(|account| whole.sandbox.terminals.get(account).map_or(whole.sandbox.keys.terminal(), String::as_str));
    let terminals = join_all(
        keys.iter()
            .zip(1_000..)
            .map(|(key, seed)| terminal([whole.operator.with_key(key), there.with_key(key)], seed, &going_on)),
    );
    let (answered, sent) = tokio::join!(members, terminals);
    let reports: u64 = sent.iter().sum();
    // What waits is priced by one more report of each account.
    for key in keys {
        whole.operator.with_key(key).post("/api/account/update", &five(1_000_000, 777)).await.unwrap();
    }
    let all = i64::try_from(reports).unwrap() + 3;
    eventually("every report is recorded", || async { (whole.count("account_state").await == all).then_some(()) })
        .await;
    whole.valued().await;
    assert_eq!(whole.count("pending_movements").await, 0);
    assert_eq!(whole.count("account_state where outcome not in ('applied', 'older_than_last')").await, 0);

    let moves: usize = answered.iter().map(BTreeMap::len).sum();
    assert_eq!(whole.count("capital_movements").await, i64::try_from(moves + ACCOUNTS.len()).unwrap());
    println!("{moves} movements, {reports} reports");
    for (number, answered) in answered.iter().enumerate() {
        let listed = whole.movements(&format!("m{number}")).await;
        assert_eq!(listed.len(), answered.len());
        let mut net: BTreeMap<&str, i128> = BTreeMap::new();
        for movement in &listed {
            let (account, kind) = &answered[id(movement)];
            assert_eq!((&movement["account"], &movement["kind"]), (&json!(account), &json!(kind)));
            assert_ne!(movement["status"], "pending");
            if movement["status"] == "applied" {
                let sign = if kind == "deposit" { 1 } else { -1 };
                *net.entry(account).or_default() += sign * cents(&movement["amount"]);
            }
        }
        let user = format!("m{number}");
        let stats = whole.stats(&user).await;
        let statement = whole.operator.get(&format!("/api/users/{user}/statement")).await.unwrap();
        for share in stats["accounts"].as_array().unwrap() {
            let account = share["account"].as_str().unwrap();
            let counted = cents(&share["deposited"]) - cents(&share["withdrawn"]);
            let told =
                statement["accounts"].as_array().unwrap().iter().find(|told| told["account"] == account).unwrap();
            assert_eq!(told["closing_value"], share["value"], "{user} in {account}: {told}");
            assert_eq!(told["profit"], share["profit_loss"], "{user} in {account}");
            assert_eq!(counted, net.get(account).copied().unwrap_or(0), "{account} of {share}");
        }
    }
    assert!(other.stop().await);
    whole.finish_clean().await;
}

/// Goal: a member who is closed while he pays in is either closed with nothing or stays with what he paid.
#[tokio::test(flavor = "multi_thread")]
async fn no_money_goes_to_a_member_who_is_closed() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let there = whole.sandbox.operator(&other).unwrap();
    for number in 0..20 {
        let user = format!("A{number}");
        whole.member(&user, 0).await;
        let (close, invest) = (format!("/api/users/{user}/close"), format!("/api/users/{user}/invest"));
        let body = json!({"amount": 1});
        let closing = there.send(Method::POST, &close, None);
        let investing = whole.operator.send(Method::POST, &invest, Some(&body));
        let ((closed, closed_answer), (invested, invested_answer)) = tokio::try_join!(closing, investing).unwrap();
        match (closed.as_u16(), invested.as_u16()) {
            (200, 409) => assert_eq!(invested_answer["code"], "user_closed"),
            (409, 200) => assert_eq!(closed_answer["code"], "has_money"),
            both => panic!("{both:?}: {closed_answer} {invested_answer}"),
        }
    }
    assert_eq!(whole.count("members join holdings using (user_id) where closed_at is not null and units > 0").await, 0);
    assert!(other.stop().await);
    whole.finish_clean().await;
}

/// Goal: many who want the same money at once get it once: withdrawals never pay more than there is.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_money_is_paid_once() {
    let whole = Whole::start(&[]).await;
    let other = whole.sandbox.start().await.unwrap();
    let clients = [whole.operator.clone(), whole.sandbox.operator(&other).unwrap()];
    whole.member("B", 12_345).await;
    for open_position in [false, true] {
        let user = format!("A{open_position}");
        whole.member(&user, 10_000).await;
        if open_position {
            whole.update(open(100_000, 0)).await;
            let mut figures = open(100_000, 1);
            figures["profit"] = json!(0);
            whole.update(figures).await;
        }
        let path = format!("/api/users/{user}/withdraw");
        let asks = (0..16).map(|number| {
            let (client, path) = (clients[number % 2].clone(), path.clone());
            let body = if number % 4 == 3 { json!({"all": true}) } else { json!({"amount": 30}) };
            tokio::spawn(async move { client.send(Method::POST, &path, Some(&body)).await.unwrap() })
        });
        let answers: Vec<(u16, Value)> = join_all(asks)
            .await
            .into_iter()
            .map(|answer| answer.unwrap())
            .map(|(status, body)| (status.as_u16(), body))
            .collect();
        for (status, answer) in &answers {
            assert!(*status == 200 || answer["code"] == "above_value", "{status} {answer}");
        }
        whole.update(five(100_000, 0)).await;
        assert_eq!(whole.count("pending_movements").await, 0);
        let share = whole.stats(&user).await["accounts"][0].clone();
        let paid: i128 = whole
            .movements(&user)
            .await
            .iter()
            .filter(|movement| movement["kind"] == "withdrawal")
            .filter(|movement| movement["status"] == "applied")
            .map(|movement| cents(&movement["amount"]))
            .sum();
        assert_eq!((cents(&share["withdrawn"]), cents(&share["value"])), (paid, 10_000 - paid), "{share}");
        assert!(paid >= 9_000, "{paid}");
        whole.assert_parts(&[("B", 12_345, 0)]).await;
    }
    assert!(other.stop().await);
    whole.finish_clean().await;
}
