// OrderSend: what the terminal itself refuses, then one request to the market, never a second one.
#include "trade.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "account.hpp"
#include "market.hpp"
#include "terminal.hpp"

namespace mql {

namespace {

using runtime::market;

const char *word(ENUM_TRADE_REQUEST_ACTIONS action) {
    switch (action) {
        case TRADE_ACTION_DEAL: return "deal";
        case TRADE_ACTION_PENDING: return "pending";
        case TRADE_ACTION_SLTP: return "sltp";
        case TRADE_ACTION_MODIFY: return "modify";
        case TRADE_ACTION_REMOVE: return "remove";
        default: return nullptr;
    }
}

const char *word(ENUM_ORDER_TYPE type) {
    switch (type) {
        case ORDER_TYPE_BUY: return "buy";
        case ORDER_TYPE_SELL: return "sell";
        case ORDER_TYPE_BUY_LIMIT: return "buy_limit";
        case ORDER_TYPE_SELL_LIMIT: return "sell_limit";
        case ORDER_TYPE_BUY_STOP: return "buy_stop";
        case ORDER_TYPE_SELL_STOP: return "sell_stop";
        default: return nullptr;
    }
}

const char *word(ENUM_ORDER_TYPE_FILLING filling) {
    switch (filling) {
        case ORDER_FILLING_FOK: return "fok";
        case ORDER_FILLING_IOC: return "ioc";
        case ORDER_FILLING_RETURN: return "return";
        default: return nullptr;
    }
}

struct Refusal {
    uint retcode;
    const char *why;
};

// What does not leave the terminal; a code of 0: nothing.
Refusal refusal(const MqlTradeRequest &request) {
    if (!runtime::settings().trading) return {TRADE_RETCODE_CLIENT_DISABLES_AT, "AutoTrading disabled by client"};
    if (word(request.action) == nullptr) return {TRADE_RETCODE_INVALID, "Invalid request"};
    if (word(request.type) == nullptr) return {TRADE_RETCODE_INVALID_ORDER, "Invalid order type"};
    if (word(request.type_filling) == nullptr) return {TRADE_RETCODE_INVALID_FILL, "Unsupported filling mode"};
    const bool timed = request.type_time == ORDER_TIME_SPECIFIED || request.type_time == ORDER_TIME_SPECIFIED_DAY;
    if (request.action == TRADE_ACTION_PENDING && timed != (request.expiration.seconds != 0))
        return {TRADE_RETCODE_INVALID_EXPIRATION, "Invalid expiration"};
    return {0, ""};
}

runtime::OutgoingOrder outgoing(const MqlTradeRequest &request) {
    runtime::OutgoingOrder order;
    order.action = word(request.action);
    order.type = word(request.type);
    order.filling = word(request.type_filling);
    order.symbol = runtime::utf8(request.symbol);
    order.comment = runtime::utf8(request.comment);
    order.magic = static_cast<long>(request.magic);
    order.order = request.order;
    order.position = request.position;
    order.deviation = request.deviation;
    order.volume = request.volume;
    order.price = request.price;
    order.sl = request.sl;
    order.tp = request.tp;
    if (request.type_time == ORDER_TIME_SPECIFIED || request.type_time == ORDER_TIME_SPECIFIED_DAY)
        order.expiration_ms = request.expiration.seconds * 1000;
    return order;
}

bool refuse(MqlTradeResult &result, uint retcode, const char *why) {
    result.retcode = retcode;
    result.comment = literal(why);
    runtime::fail(ERR_TRADE_SEND_FAILED);
    return false;
}

void fill(MqlTradeResult &result, const runtime::SentOrder &sent) {
    result.retcode = sent.retcode;
    result.deal = sent.deal;
    result.order = sent.order;
    result.volume = sent.volume;
    result.price = sent.price;
    result.bid = sent.bid;
    result.ask = sent.ask;
    result.comment = runtime::text(sent.comment);
}

// Ends the process at once where a fault run has put a file of this name into its folder: one file is one crash.
void crash_point(const char *name) {
    const char *folder = std::getenv("CRASH_POINTS");
    if (folder != nullptr && std::remove((std::string(folder) + "/" + name).c_str()) == 0) std::abort();
}

bool is_buying(ENUM_ORDER_TYPE type) { return type % 2 == ORDER_TYPE_BUY; }

bool take(const std::optional<double> &told, double &value) {
    value = told.value_or(0.0);
    if (!told) runtime::fail(ERR_TRADE_CALC_FAILED);
    return told.has_value();
}

}  // namespace

bool OrderSend(const MqlTradeRequest &request, MqlTradeResult &result) {
    static uint requests = 0;
    result = MqlTradeResult{};
    const Refusal refused = refusal(request);
    if (refused.retcode != 0) return refuse(result, refused.retcode, refused.why);
    crash_point("sending");
    const runtime::SentOrder sent = market().send(outgoing(request));
    if (sent.deal != 0) crash_point("filled");
    if (sent.delivery == runtime::Delivery::NotSent)
        return refuse(result, TRADE_RETCODE_CONNECTION, "No connection with the trade server");
    market().synchronise();
    // The connection broke before the answer: nobody knows whether the order was executed.
    if (sent.delivery == runtime::Delivery::Unknown) return refuse(result, 0, "");
    if (!sent.error.empty()) return refuse(result, TRADE_RETCODE_ERROR, sent.error.c_str());
    fill(result, sent);
    result.request_id = ++requests;
    const bool accepted = sent.retcode == TRADE_RETCODE_DONE || sent.retcode == TRADE_RETCODE_PLACED ||
                          sent.retcode == TRADE_RETCODE_DONE_PARTIAL;
    if (!accepted) runtime::fail(ERR_TRADE_SEND_FAILED);
    return accepted;
}

// Funds only: the rest is judged when the order is sent.
bool OrderCheck(const MqlTradeRequest &request, MqlTradeCheckResult &result) {
    result = MqlTradeCheckResult{};
    const Refusal refused = refusal(request);
    const runtime::Account &account = market().view().account;
    double margin = 0.0;
    const bool opens = request.action == TRADE_ACTION_DEAL && request.position == 0;
    if (refused.retcode == 0 && opens) OrderCalcMargin(request.type, request.symbol, request.volume, request.price, margin);
    result.balance = account.balance;
    result.equity = account.equity;
    result.profit = account.profit;
    result.margin = account.margin + margin;
    result.margin_free = account.equity - result.margin;
    result.margin_level = result.margin > 0 ? account.equity / result.margin * 100 : 0.0;
    result.retcode = refused.retcode != 0 ? refused.retcode : result.margin_free < 0 ? TRADE_RETCODE_NO_MONEY : 0;
    result.comment = literal(refused.retcode != 0 ? refused.why : result.retcode == 0 ? "Done" : "No money");
    return result.retcode == 0;
}

bool OrderCalcProfit(ENUM_ORDER_TYPE action, const string &symbol, double volume, double open, double close, double &profit) {
    return take(market().profit(is_buying(action), runtime::utf8(symbol), volume, open, close), profit);
}

bool OrderCalcMargin(ENUM_ORDER_TYPE action, const string &symbol, double volume, double price, double &margin) {
    return take(market().margin(is_buying(action), runtime::utf8(symbol), volume, price), margin);
}

}  // namespace mql
