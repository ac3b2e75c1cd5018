// The timer and the loop that delivers events. Prices and the account are looked at between them.
#include "event.hpp"

#include <deque>
#include <unistd.h>

#include "clock.hpp"
#include "format.hpp"
#include "global.hpp"
#include "market.hpp"
#include "terminal.hpp"
#include "trade.hpp"

namespace runtime {

namespace {

// The timer of a terminal is no finer.
constexpr std::int64_t period_ms_min = 16;
// How often a program that no timer wakes looks for ticks and transactions.
constexpr std::int64_t look_ms = 10;
// What is not taken from the queue of transactions in time pushes the oldest out.
constexpr std::size_t transactions_max = 1024;

std::int64_t timer_period_ms = 0;
std::int64_t timer_due_ms = 0;
std::deque<mql::MqlTradeTransaction> transactions;

bool set_timer(std::int64_t period_ms) {
    if (period_ms <= 0) return false;
    timer_period_ms = std::max(period_ms, period_ms_min);
    timer_due_ms = monotonic_ms() + timer_period_ms;
    return true;
}

void fill(mql::MqlTradeTransaction &transaction, const Order &order) {
    transaction.order = order.ticket;
    transaction.symbol = text(order.symbol);
    transaction.order_type = order.type;
    transaction.order_state = order.state;
    transaction.time_expiration = order.expiration_ms / 1000;
    transaction.price = order.price;
    transaction.price_sl = order.sl;
    transaction.price_tp = order.tp;
    transaction.volume = order.volume - order.filled;
    transaction.position = order.position;
}

void fill(mql::MqlTradeTransaction &transaction, const Deal &deal) {
    transaction.deal = deal.ticket;
    transaction.order = deal.order;
    transaction.symbol = text(deal.symbol);
    transaction.deal_type = deal.type;
    transaction.price = deal.price;
    transaction.volume = deal.volume;
    transaction.position = deal.position;
}

void fill(mql::MqlTradeTransaction &transaction, const Position &position) {
    transaction.symbol = text(position.symbol);
    transaction.price = position.price;
    transaction.price_sl = position.sl;
    transaction.price_tp = position.tp;
    transaction.volume = position.volume;
    transaction.position = position.ticket;
}

void take_change(const Change &change) {
    mql::MqlTradeTransaction transaction{};
    transaction.type = change.type;
    if (change.order != nullptr) fill(transaction, *change.order);
    if (change.deal != nullptr) fill(transaction, *change.deal);
    if (change.position != nullptr) fill(transaction, *change.position);
    if (transactions.size() == transactions_max) transactions.pop_front();
    transactions.push_back(transaction);
}

bool is_over() { return mql::IsStopped(); }

void deliver_transactions() {
    while (!transactions.empty() && !is_over()) {
        const mql::MqlTradeTransaction transaction = transactions.front();
        transactions.pop_front();
        program.transaction(transaction, mql::MqlTradeRequest{}, mql::MqlTradeResult{});
    }
}

void deliver_tick() {
    static std::int64_t last_ms = 0;
    const auto quote = market().quote(settings().symbol);
    if (!quote || quote->at_ms == last_ms) return;
    last_ms = quote->at_ms;
    program.tick();
}

// The next event of the timer lies on its grid: what was missed while something ran is dropped.
void deliver_timer() {
    const std::int64_t now = monotonic_ms();
    if (timer_period_ms == 0 || program.timer == nullptr || now < timer_due_ms) return;
    program.timer();
    if (settings().timers > 0 && --settings().timers == 0) request_stop();
    if (timer_period_ms == 0) return;
    const std::int64_t missed = std::max<std::int64_t>(0, (monotonic_ms() - timer_due_ms) / timer_period_ms);
    timer_due_ms += (missed + 1) * timer_period_ms;
}

// To the next event of the timer, or the next look at the market.
void wait() {
    std::int64_t until = monotonic_ms() + look_ms;
    if (timer_period_ms > 0) until = std::min(until, timer_due_ms);
    const std::int64_t left = until - monotonic_ms();
    if (left > 0 && !is_over()) usleep(static_cast<useconds_t>(left * 1000));
}

void deinitialise(int reason) {
    set_reason(reason);
    if (program.deinit != nullptr) program.deinit(reason);
    mql::GlobalVariablesFlush();
}

}  // namespace

int run() {
    market().synchronise();
    if (market().is_connected()) market().select(settings().symbol, true);
    if (program.transaction != nullptr) market().on_change = take_change;
    const int begun = program.init == nullptr ? 0 : program.init();
    if (begun != mql::INIT_SUCCEEDED) {
        deinitialise(mql::REASON_INITFAILED);
        return 1;
    }
    while (!is_over()) {
        wait();
        market().synchronise();
        market().select(settings().symbol, true);
        if (program.transaction != nullptr) deliver_transactions();
        if (program.tick != nullptr && !is_over()) deliver_tick();
        if (!is_over()) deliver_timer();
    }
    deinitialise(removed() ? mql::REASON_PROGRAM : mql::REASON_CLOSE);
    return 0;
}

}  // namespace runtime

namespace mql {

bool EventSetTimer(int seconds) { return runtime::set_timer(static_cast<std::int64_t>(seconds) * 1000); }
bool EventSetMillisecondTimer(int milliseconds) { return runtime::set_timer(milliseconds); }
void EventKillTimer() { runtime::timer_period_ms = 0; }

}  // namespace mql
