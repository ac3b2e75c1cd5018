//! Differences planted in the movements, the pools and the reports: each is found by the check that must find it, at its
//! place.

use super::plants::{AUDITED, HOLDINGS, MOVEMENTS, POOLS, PRICES, REPORTS, VALUATIONS, VERSIONS, assert_found};

/// The second deposit of account `main`, and its row.
const DEPOSIT: &str = "movement_id = (select movement_id from pool_history where account = 'main' and version = 2)";
/// Goal: a movement that was changed, removed, invented, or counts twice.
#[tokio::test]
async fn a_planted_movement_is_found() {
    assert_found(&[
        (&format!("update capital_movements set amount = amount + 1 where {DEPOSIT}"), MOVEMENTS, "movement"),
        (&format!("update capital_movements set amount = amount + 1 where {DEPOSIT}"), AUDITED, "movement"),
        (&format!("update capital_movements set user_id = 'C' where {DEPOSIT}"), MOVEMENTS, "movement"),
        (&format!("update capital_movements set account = 'second' where {DEPOSIT}"), MOVEMENTS, "movement"),
        (&format!("update capital_movements set principal = 'x' where {DEPOSIT}"), AUDITED, "movement"),
        (&format!("delete from capital_movements where {DEPOSIT}"), MOVEMENTS, "movement"),
        (
            "insert into capital_movements select gen_random_uuid(), account, user_id, kind, amount, null, recorded_at,
                 principal, request_id from capital_movements limit 1",
            MOVEMENTS,
            "movement ",
        ),
        (
            &format!("insert into pool_history select (jsonb_populate_record(h, jsonb_build_object('version',
                 (select max(version) + 1 from pool_history where account = 'main')))).* from pool_history h where {DEPOSIT}"),
            MOVEMENTS,
            "movement",
        ),
        (&format!("insert into pending_movements (movement_id, account) select movement_id, account from capital_movements where {DEPOSIT}"), MOVEMENTS, "movement"),
        ("delete from pending_movements", MOVEMENTS, "movement "),
        ("update pending_movements set account = 'main'", MOVEMENTS, "movement "),
    ])
    .await;
}

/// Goal: a version of a pool that was changed or removed, wherever it stands.
#[tokio::test]
async fn a_planted_version_is_found() {
    let third = "where account = 'main' and version = 3";
    let last = "where account = 'main' and version = (select max(version) from pool_history where account = 'main')";
    let update = "where account = 'main' and version = (select min(version) from pool_history where kind = 'update')";
    let paid = "where account = 'main' and kind = 'withdrawal' and version = (select min(version) from pool_history
        where account = 'main' and kind = 'withdrawal')";
    let closed = "where kind = 'closed'";
    assert_found(&[
        (&format!("update pool_history set equity = equity + 1 {third}"), VERSIONS, "account main version 3 (deposit)"),
        (&format!("update pool_history set amount = amount + 1 {third}"), VERSIONS, "account main version 3 (deposit)"),
        (&format!("update pool_history set units = units + 1 {third}"), VERSIONS, "account main version 3 (deposit)"),
        (&format!("update pool_history set profit = profit + 1 {third}"), VERSIONS, "account main version 3 (deposit)"),
        (
            &format!("update pool_history set paid_in = paid_in + 1 {third}"),
            VERSIONS,
            "account main version 3 (deposit)",
        ),
        (
            &format!("update pool_history set at = at - interval '1 hour' {third}"),
            VERSIONS,
            "account main version 3 (deposit)",
        ),
        (
            &format!("update pool_history set units_delta = units_delta + 1 {third}"),
            VERSIONS,
            "account main version 3 (deposit)",
        ),
        (
            &format!("update pool_history set units_delta = units_delta + 1 {third}"),
            PRICES,
            "account main version 3 (deposit",
        ),
        (
            &format!("update pool_history set units_delta = units_delta - 1, units = units - 1 {paid}"),
            PRICES,
            "account main version ",
        ),
        (
            &format!("update pool_history set investment_delta = investment_delta - 1 {paid}"),
            PRICES,
            "account main version ",
        ),
        (&format!("update pool_history set investment_delta = 1 {update}"), PRICES, "account main version 4 (update"),
        (&format!("update pool_history set user_id = 'A' {third}"), HOLDINGS, "member A in account main"),
        (
            &format!("update pool_history set profit = profit + 1, amount = amount + 1, equity = equity + 1 {last}"),
            REPORTS,
            "report ",
        ),
        (&format!("update pool_history set units_delta = units_delta + 1 {closed}"), PRICES, "account second version "),
        (&format!("delete from pool_history {third}"), VERSIONS, "account main version 4"),
        (&format!("delete from pool_history {third}"), MOVEMENTS, "movement "),
        ("delete from pool_history where account = 'main' and version = 1", VERSIONS, "account main version 2"),
        (&format!("delete from pool_history {last}"), POOLS, "pool of account main"),
        (&format!("delete from pool_history {closed}"), VERSIONS, "account second version "),
        ("update pool_history set amount = amount + 1 where kind = 'refused'", MOVEMENTS, "movement "),
    ])
    .await;
}

/// Goal: a level that becomes the base moves nobody's money; and it becomes that only where the members' would not follow
/// it: a profit of theirs can't be booked as nobody's.
#[tokio::test]
async fn a_base_that_should_not_be_is_found() {
    let last = "where account = 'main' and version = (select max(version) from pool_history where account = 'main')";
    let keep_from_members = format!(
        "do $$ declare kept bigint; begin
             select amount into kept from pool_history {last};
             update pool_history set kind = 'base', amount = 0, equity = equity - kept {last};
             delete from pool_valuations {last};
             update pools set equity = equity - kept, valued_version = 0 where account = 'main';
         end $$"
    );
    assert_found(&[
        (&format!("update pool_history set kind = 'base' {last}"), VERSIONS, "account main version "),
        (&keep_from_members, REPORTS, ""),
    ])
    .await;
}

/// Goal: a balance that is not what its rows give: a pool's, a member's, or who gets a cent.
#[tokio::test]
async fn a_planted_balance_is_found() {
    let main = "where account = 'main'";
    let pool = "pool of account main";
    let a = "where account = 'main' and user_id = 'A'";
    let member = "member A in account main";
    let members = "members of account main";
    assert_found(&[
        (&format!("update pools set equity = equity + 1 {main}"), POOLS, pool),
        (&format!("update pools set units = units + 1 {main}"), POOLS, pool),
        (&format!("update pools set deposited = deposited + 1 {main}"), POOLS, pool),
        (&format!("update pools set withdrawn = withdrawn + 1 {main}"), POOLS, pool),
        (&format!("update pools set investment = investment + 1 {main}"), POOLS, pool),
        (&format!("update pools set profit = profit + 1 {main}"), POOLS, pool),
        (&format!("update pools set members = members + 1 {main}"), POOLS, pool),
        (&format!("update pools set version = version + 1 {main}"), POOLS, pool),
        (&format!("delete from pools {main}"), POOLS, pool),
        (&format!("update holdings set units = units + 1 {a}"), HOLDINGS, member),
        (&format!("update holdings set investment = investment + 1 {a}"), HOLDINGS, member),
        (&format!("update holdings set deposited = deposited + 1 {a}"), HOLDINGS, member),
        (&format!("update holdings set withdrawn = withdrawn + 1 {a}"), HOLDINGS, member),
        (&format!("delete from holdings {a}"), HOLDINGS, member),
        (
            "insert into holdings (account, user_id, units) values ('main', 'nobody', 1)",
            HOLDINGS,
            "member nobody in account main",
        ),
        (&format!("update holdings set changed_version = 999, value = 999 {a}"), VALUATIONS, members),
        (&format!("update pools set cutoff_user = '' {main}"), VALUATIONS, members),
        (&format!("update pools set cutoff_remainder = 0, cutoff_user = 'Z' {main}"), VALUATIONS, members),
        (&format!("update pools set valued_equity = valued_equity + 100 {main}"), VALUATIONS, members),
        (&format!("update pools set valued_units = valued_units * 2 {main}"), VALUATIONS, members),
        (
            "update pool_valuations set equity = equity + 1 where account = 'main' and version = (select min(version)
                 from pool_valuations where account = 'main')",
            VALUATIONS,
            "valuation of account main at version ",
        ),
        (
            "update pool_valuations set units = units + 1 where account = 'main' and version = (select min(version)
                 from pool_valuations where account = 'main')",
            VALUATIONS,
            "valuation of account main at version ",
        ),
    ])
    .await;
}

/// Goal: a report that was changed, or that a level of profit is without, be it the first of its account.
#[tokio::test]
async fn a_planted_report_is_found() {
    let five = "where account = 'main' and version is not null and net_deposits is null and profit = 100";
    let full = "where account = 'main' and version is not null and equity = 312.34";
    let update = "account main version ";
    assert_found(&[
        (&format!("update account_state set profit = profit + 0.01 {five}"), REPORTS, "report "),
        (&format!("update account_state set equity = equity + 0.01 {full}"), REPORTS, "report "),
        (&format!("update account_state set net_deposits = net_deposits + 0.01 {full}"), REPORTS, "report "),
        (&format!("update account_state set credit = 0.01 {full}"), REPORTS, "report "),
        (&format!("delete from account_state {five}"), REPORTS, update),
        (&format!("delete from account_state {full}"), REPORTS, update),
        ("delete from account_state where account = 'main' and equity = 313.33", REPORTS, update),
    ])
    .await;
}

/// Goal: the first report of an account is as good as any other: its level of profit is not without it.
#[tokio::test]
async fn a_first_report_that_is_gone_is_found() {
    assert_found(&[(
        "delete from account_state where account = 'second' and version = 1",
        REPORTS,
        "account second version 1 (base)",
    )])
    .await;
}
