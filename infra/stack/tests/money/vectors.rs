//! The stated vectors of the pool, exact, each through the API, the queue and the database.

use serde_json::{Value, json};
use stack::client::cents;

use super::broker::{Broker, envelope, outcome};
use super::steps::{Part, five, full};
use crate::support::Whole;

/// What an account reports that has this much in it, of which so much was paid in: by either definition of profit.
type Report = fn(balance: i128, net_deposits: i128) -> Value;

const DEFINITIONS: [Report; 2] = [|balance, net_deposits| five(balance, balance - net_deposits), full];

/// Vectors 1 and 2: three members, the last of whom joined after the first profit.
async fn three_members(report: Report) -> Whole {
    let whole = Whole::start(&[]).await;
    assert_eq!(whole.update(report(1_000_000, 1_000_000)).await, "applied");
    whole.member("A", 300_000).await;
    whole.member("B", 700_000).await;
    whole.assert_parts(&[("A", 300_000, 0), ("B", 700_000, 0)]).await;
    assert_eq!(whole.update(report(1_050_000, 1_000_000)).await, "applied");
    whole.assert_parts(&[("A", 315_000, 15_000), ("B", 735_000, 35_000)]).await;
    whole.member("C", 0).await;
    assert_eq!(whole.invest("C", 1_000_000).await["status"], "applied", "nothing is open");
    whole.assert_parts(&[("A", 315_000, 15_000), ("B", 735_000, 35_000), ("C", 1_000_000, 0)]).await;
    // The cash reaches the broker; then the account makes 5 % of 20,500.
    whole.update(report(2_050_000, 2_000_000)).await;
    whole.assert_parts(&[("A", 315_000, 15_000), ("B", 735_000, 35_000), ("C", 1_000_000, 0)]).await;
    whole.update(report(2_152_500, 2_000_000)).await;
    whole
}

/// Goal: vectors 1 and 2, by either definition of profit: it is shared by parts, and a newcomer takes none of what was
/// made before he came.
#[tokio::test]
async fn profit_is_shared_by_parts_and_a_late_joiner_takes_no_past_profit() {
    for report in DEFINITIONS {
        let whole = three_members(report).await;
        whole.assert_parts(&[("A", 330_750, 30_750), ("B", 771_750, 71_750), ("C", 1_050_000, 50_000)]).await;
        let account = whole.account().await;
        assert_eq!((cents(&account["pool_equity"]), cents(&account["profit_loss"])), (2_152_500, 152_500));
        assert_eq!((cents(&account["total_investment"]), &account["members"]), (2_000_000, &json!(3)));
        whole.finish_clean().await;
    }
}

/// Goal: vector 3: cents that do not divide go to the first of equals, and the sum is exact, as profit and as loss.
#[tokio::test]
async fn cents_that_do_not_divide_go_to_the_first_of_equals() {
    for report in DEFINITIONS {
        let whole = Whole::start(&[]).await;
        whole.update(report(30_000, 30_000)).await;
        // Their order is that of the ids, not that in which they came.
        for user in ["c", "a", "b"] {
            whole.member(user, 10_000).await;
        }
        whole.update(report(40_000, 30_000)).await;
        whole.assert_parts(&[("a", 13_334, 3_334), ("b", 13_333, 3_333), ("c", 13_333, 3_333)]).await;
        whole.update(report(20_000, 30_000)).await;
        whole.assert_parts(&[("a", 6_667, -3_333), ("b", 6_667, -3_333), ("c", 6_666, -3_334)]).await;
        whole.update(report(30_000, 30_000)).await;
        whole.assert_parts(&[("a", 10_000, 0), ("b", 10_000, 0), ("c", 10_000, 0)]).await;
        whole.finish_clean().await;
    }
}

/// Goal: vector 4: who leaves takes what was his, his profit stays on record, and the others have theirs to the cent,
/// then and when the cash leaves the broker.
#[tokio::test]
async fn who_leaves_takes_what_was_his_and_nothing_of_the_others() {
    for report in DEFINITIONS {
        let whole = three_members(report).await;
        let paid = whole.withdraw("B", None).await;
        assert_eq!((&paid["status"], cents(&paid["amount"]), cents(&paid["total"])), (&json!("applied"), 771_750, 0));
        let gone = Part { value: 0, profit_loss: 71_750, investment: 0 };
        let others = [("A", 330_750, 30_750), ("C", 1_050_000, 50_000)];
        assert_eq!(whole.part("B").await, gone);
        whole.assert_parts(&others).await;
        // The cash leaves.
        whole.update(report(2_152_500 - 771_750, 2_000_000 - 771_750)).await;
        assert_eq!(whole.part("B").await, gone);
        whole.assert_parts(&others).await;
        let share = &whole.stats("B").await["accounts"][0];
        assert_eq!((cents(&share["deposited"]), cents(&share["withdrawn"])), (700_000, 771_750));
        assert_eq!(share["units"], json!(0));
        // What comes later is shared by who stayed: 10 % of 13,807.50.
        whole.update(report(2_152_500 - 771_750 + 138_075, 2_000_000 - 771_750)).await;
        assert_eq!(whole.part("B").await, gone);
        whole.assert_parts(&[("A", 363_825, 63_825), ("C", 1_155_000, 155_000)]).await;
        whole.finish_clean().await;
    }
}

/// Goal: vector 5: the same report twice, as one message and as two, or an older one after a newer, moves nothing.
#[tokio::test]
async fn a_report_repeated_or_late_moves_nothing() {
    for report in DEFINITIONS {
        let whole = three_members(report).await;
        let broker = Broker::connect(&whole.sandbox).await;
        let expected = [("A", 330_750, 30_750), ("B", 771_750, 71_750), ("C", 1_050_000, 50_000)];
        assert_eq!(whole.update(report(2_152_500, 2_000_000)).await, "applied");
        whole.assert_parts(&expected).await;
        let late = whole.sandbox.clock.now();
        let (message_id, newer) = envelope("main", late, &report(2_152_500, 2_000_000));
        let before = whole.money().await;
        broker.publish(&[newer.clone(), newer.clone()]).await;
        assert_eq!(outcome(&whole, message_id).await, "applied");
        broker.publish(&[newer]).await;
        let older = late - time::Duration::seconds(1);
        assert_eq!(broker.report(&whole, older, &report(9_999_999, 2_000_000)).await, "older_than_last");
        whole.assert_parts(&expected).await;
        assert_eq!(whole.count(&format!("account_state where message_id = '{message_id}'")).await, 1);
        assert_ne!(whole.money().await, before, "the time of the last report is the newer one's");
        assert_eq!(whole.count("pool_history where kind = 'update'").await, 2);
        broker.close().await;
        whole.finish_clean().await;
    }
}

/// Goal: vector 6: money that members bring and the broker never sees makes nobody gain or lose.
#[tokio::test]
async fn deposits_that_never_reach_the_broker_are_nobodys_profit() {
    let whole = Whole::start(&[]).await;
    whole.update(full(1_000_000, 1_000_000)).await;
    whole.member("A", 100_000).await;
    whole.member("B", 50_000).await;
    whole.update(full(1_000_000, 1_000_000)).await;
    whole.assert_parts(&[("A", 100_000, 0), ("B", 50_000, 0)]).await;
    assert_eq!(cents(&whole.account().await["unreconciled"]), 850_000);
    whole.update(full(1_015_000, 1_000_000)).await;
    whole.assert_parts(&[("A", 110_000, 10_000), ("B", 55_000, 5_000)]).await;
    // What the operator takes out or puts in is no profit either.
    whole.update(full(515_000, 500_000)).await;
    whole.assert_parts(&[("A", 110_000, 10_000), ("B", 55_000, 5_000)]).await;
    assert_eq!(cents(&whole.account().await["unreconciled"]), 350_000);
    whole.finish_clean().await;
}

/// Goal: vector 7: what an empty pool's account earns or pays is nobody's: who comes next has what he brought.
#[tokio::test]
async fn a_swap_after_all_left_is_nobodys() {
    for report in DEFINITIONS {
        let whole = Whole::start(&[]).await;
        whole.update(report(30_000, 30_000)).await;
        whole.member("A", 10_000).await;
        whole.member("B", 20_000).await;
        whole.update(report(33_333, 30_000)).await;
        for (user, value) in [("A", 11_111), ("B", 22_222)] {
            assert_eq!(cents(&whole.withdraw(user, None).await["amount"]), value);
        }
        assert_eq!(cents(&whole.account().await["pool_equity"]), 0);
        whole.update(report(33_333 - 37, 30_000)).await;
        whole.member("C", 10_000).await;
        whole.assert_parts(&[("A", 0, 1_111), ("B", 0, 2_222), ("C", 10_000, 0)]).await;
        whole.update(report(33_333 - 37, 30_000)).await;
        whole.assert_parts(&[("A", 0, 1_111), ("B", 0, 2_222), ("C", 10_000, 0)]).await;
        whole.update(report(33_333 - 37 + 1, 30_000)).await;
        whole.assert_parts(&[("C", 10_001, 1)]).await;
        whole.finish_clean().await;
    }
}
