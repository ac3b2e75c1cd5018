// What is said to the market and understood of its answers; the only file that knows their JSON.
#include "market.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "clock.hpp"
#include "terminal.hpp"

using nlohmann::json;

namespace runtime {

namespace {

constexpr std::int64_t hour_ms = 3'600'000;

std::int64_t offset_ms() { return settings().server_hours * hour_ms; }

// 2026-11-24T21:00:00.123456Z as the broker's milliseconds; null and what is missing are 0.
std::int64_t time_of(const json &record, const char *name) {
    const auto found = record.find(name);
    if (found == record.end() || !found->is_string()) return 0;
    std::tm parts{};
    double second = 0;
    if (std::sscanf(found->get_ref<const std::string &>().c_str(), "%d-%d-%dT%d:%d:%lf", &parts.tm_year, &parts.tm_mon,
                    &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &second) != 6)
        return 0;
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    return timegm(&parts) * 1000 + static_cast<std::int64_t>(second * 1000) + offset_ms();
}

std::string time_text(std::int64_t broker_ms) {
    const std::time_t seconds = (broker_ms - offset_ms()) / 1000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

double number(const json &record, const char *name) { return record.value(name, 0.0); }

template <class T>
T one_of(const std::string &word, std::initializer_list<std::pair<const char *, T>> words) {
    for (const auto &[known, value] : words)
        if (word == known) return value;
    throw std::runtime_error("the market said \"" + word + "\", which this terminal does not know");
}

Account account_of(const json &record) {
    return {record.at("login"),     record.at("currency"),    record.at("digits"),   number(record, "balance"),
            number(record, "equity"), number(record, "margin"), number(record, "free_margin"), number(record, "profit"),
            number(record, "credit"), record.at("leverage"),    record.at("hedging"),  record.at("trade_allowed")};
}

Position position_of(const json &record) {
    Position position;
    position.ticket = record.at("ticket");
    position.symbol = record.at("symbol");
    position.type = record.at("side") == "buy" ? mql::POSITION_TYPE_BUY : mql::POSITION_TYPE_SELL;
    position.volume = number(record, "volume");
    position.price = number(record, "price");
    position.sl = number(record, "sl");
    position.tp = number(record, "tp");
    position.profit = number(record, "profit");
    position.swap = number(record, "swap");
    position.magic = record.at("magic");
    position.comment = record.at("comment");
    position.opened_ms = time_of(record, "opened_at");
    return position;
}

Order order_of(const json &record) {
    Order order;
    order.ticket = record.at("ticket");
    order.symbol = record.at("symbol");
    order.type = one_of<mql::ENUM_ORDER_TYPE>(record.at("type"), {{"buy", mql::ORDER_TYPE_BUY},
                                                                  {"sell", mql::ORDER_TYPE_SELL},
                                                                  {"buy_limit", mql::ORDER_TYPE_BUY_LIMIT},
                                                                  {"sell_limit", mql::ORDER_TYPE_SELL_LIMIT},
                                                                  {"buy_stop", mql::ORDER_TYPE_BUY_STOP},
                                                                  {"sell_stop", mql::ORDER_TYPE_SELL_STOP}});
    order.state = one_of<mql::ENUM_ORDER_STATE>(record.at("state"), {{"placed", mql::ORDER_STATE_PLACED},
                                                                     {"filled", mql::ORDER_STATE_FILLED},
                                                                     {"partial", mql::ORDER_STATE_PARTIAL},
                                                                     {"cancelled", mql::ORDER_STATE_CANCELED},
                                                                     {"expired", mql::ORDER_STATE_EXPIRED},
                                                                     {"rejected", mql::ORDER_STATE_REJECTED}});
    order.volume = number(record, "volume");
    order.filled = number(record, "filled");
    order.price = number(record, "price");
    order.sl = number(record, "sl");
    order.tp = number(record, "tp");
    order.magic = record.at("magic");
    order.position = record.at("position");
    order.comment = record.at("comment");
    order.expiration_ms = time_of(record, "expiration");
    order.placed_ms = time_of(record, "placed_at");
    order.done_ms = time_of(record, "done_at");
    return order;
}

Deal deal_of(const json &record) {
    Deal deal;
    deal.ticket = record.at("ticket");
    deal.order = record.at("order");
    deal.position = record.at("position");
    deal.type = one_of<mql::ENUM_DEAL_TYPE>(
        record.at("type"),
        {{"buy", mql::DEAL_TYPE_BUY}, {"sell", mql::DEAL_TYPE_SELL}, {"balance", mql::DEAL_TYPE_BALANCE}});
    deal.entry = record.at("entry") == "in" ? mql::DEAL_ENTRY_IN : mql::DEAL_ENTRY_OUT;
    deal.reason = one_of<mql::ENUM_DEAL_REASON>(record.at("reason"), {{"client", mql::DEAL_REASON_CLIENT},
                                                                      {"expert", mql::DEAL_REASON_EXPERT},
                                                                      {"stop_loss", mql::DEAL_REASON_SL},
                                                                      {"take_profit", mql::DEAL_REASON_TP},
                                                                      {"stop_out", mql::DEAL_REASON_SO}});
    deal.symbol = record.at("symbol");
    deal.volume = number(record, "volume");
    deal.price = number(record, "price");
    deal.profit = number(record, "profit");
    deal.commission = number(record, "commission");
    deal.swap = number(record, "swap");
    deal.fee = number(record, "fee");
    deal.magic = record.at("magic");
    deal.comment = record.at("comment");
    deal.at_ms = time_of(record, "at");
    return deal;
}

long trade_mode_of(const std::string &word) {
    if (word == "long_only") return mql::SYMBOL_TRADE_MODE_LONGONLY;
    if (word == "short_only") return mql::SYMBOL_TRADE_MODE_SHORTONLY;
    if (word == "close_only") return mql::SYMBOL_TRADE_MODE_CLOSEONLY;
    return word == "disabled" ? mql::SYMBOL_TRADE_MODE_DISABLED : mql::SYMBOL_TRADE_MODE_FULL;
}

Contract contract_of(const json &record) {
    Contract contract;
    contract.name = record.at("name");
    contract.base = record.at("base");
    contract.profit_currency = record.at("profit_currency");
    contract.digits = record.at("digits");
    contract.point = number(record, "point");
    contract.tick_size = record.value("tick_size", json()).is_null() ? contract.point : number(record, "tick_size");
    contract.trade_mode = trade_mode_of(record.value("trade_mode", "full"));
    contract.instant = record.value("execution", "market") == "instant";
    contract.expiration = record.value("expiration", true);
    contract.contract_size = number(record, "contract_size");
    contract.volume_min = number(record, "volume_min");
    contract.volume_max = number(record, "volume_max");
    contract.volume_step = number(record, "volume_step");
    contract.swap_long = number(record, "swap_long");
    contract.swap_short = number(record, "swap_short");
    contract.stops_level = record.at("stops_level");
    contract.freeze_level = record.value("freeze_level", 0L);
    contract.spread = record.at("spread");
    for (const auto &way : record.at("filling"))
        contract.filling |= way == "fok" ? mql::SYMBOL_FILLING_FOK : way == "ioc" ? mql::SYMBOL_FILLING_IOC : 0;
    return contract;
}

template <class T>
std::vector<T> records(const json &list, T (*one)(const json &)) {
    std::vector<T> out;
    for (const auto &record : list) out.push_back(one(record));
    return out;
}

// The content of the answer that was expected; none where the market answered otherwise, or not at all.
std::optional<json> ask(Link &link, const json &request, const char *expected) {
    std::string line;
    if (link.call(request.dump(), line) != Delivery::Answered) return std::nullopt;
    json answer = json::parse(line, nullptr, false);
    if (!answer.is_object() || !answer.contains(expected)) return std::nullopt;
    return answer[expected];
}

template <class T>
const T *find(const std::vector<T> &list, mql::ulong ticket) {
    const auto found = std::find_if(list.begin(), list.end(), [&](const T &item) { return item.ticket == ticket; });
    return found == list.end() ? nullptr : &*found;
}

}  // namespace

Market &market() {
    static Market market;
    return market;
}

std::int64_t Market::server_ms() const { return unix_ms() + clock_difference_ms + (begun ? 0 : offset_ms()); }

void Market::synchronise() {
    const json request = {{"sync",
                           {{"deals_after", seen.deals.empty() ? 0 : seen.deals.back().ticket},
                            {"orders_skip", seen.history_orders.size()}}}};
    const auto state = ask(link, request, "state");
    connected = state && state->at("connected").get<bool>();
    if (!connected) return;
    const std::vector<Position> positions = std::move(seen.positions);
    const std::vector<Order> orders = std::move(seen.orders);
    const std::size_t deals = seen.deals.size(), history = seen.history_orders.size();
    seen.account = account_of(state->at("account"));
    seen.positions = records(state->at("positions"), position_of);
    seen.orders = records(state->at("orders"), order_of);
    for (Deal &deal : records(state->at("deals"), deal_of)) seen.deals.push_back(std::move(deal));
    for (Order &order : records(state->at("history_orders"), order_of)) seen.history_orders.push_back(std::move(order));
    clock_difference_ms = state->at("at_ms").get<std::int64_t>() + offset_ms() - unix_ms();
    // What was there at the start is no news.
    if (begun && on_change) compare(positions, orders, deals, history);
    begun = true;
}

void Market::tell(mql::ENUM_TRADE_TRANSACTION_TYPE type, const Order *order, const Deal *deal, const Position *position) {
    on_change({type, deal, order, position});
}

void Market::compare(const std::vector<Position> &positions_before, const std::vector<Order> &orders_before,
                     std::size_t deals_before, std::size_t history_before) {
    for (const Order &order : seen.orders) {
        const Order *old = find(orders_before, order.ticket);
        if (old == nullptr)
            tell(mql::TRADE_TRANSACTION_ORDER_ADD, &order, nullptr, nullptr);
        else if (old->price != order.price || old->sl != order.sl || old->tp != order.tp || old->filled != order.filled)
            tell(mql::TRADE_TRANSACTION_ORDER_UPDATE, &order, nullptr, nullptr);
    }
    for (std::size_t i = deals_before; i < seen.deals.size(); i++)
        tell(mql::TRADE_TRANSACTION_DEAL_ADD, nullptr, &seen.deals[i], nullptr);
    for (const Order &order : orders_before)
        if (find(seen.orders, order.ticket) == nullptr)
            tell(mql::TRADE_TRANSACTION_ORDER_DELETE, &order, nullptr, nullptr);
    for (std::size_t i = history_before; i < seen.history_orders.size(); i++)
        tell(mql::TRADE_TRANSACTION_HISTORY_ADD, &seen.history_orders[i], nullptr, nullptr);
    for (const Position &position : seen.positions) {
        const Position *old = find(positions_before, position.ticket);
        if (old != nullptr && (old->sl != position.sl || old->tp != position.tp))
            tell(mql::TRADE_TRANSACTION_POSITION, nullptr, nullptr, &position);
    }
}

const Contract *Market::contract(const std::string &symbol) {
    const auto known = contracts.find(symbol);
    if (known != contracts.end()) return &known->second;
    const auto told = ask(link, {{"symbol", {{"symbol", symbol}}}}, "symbol");
    return told ? &contracts.emplace(symbol, contract_of(*told)).first->second : nullptr;
}

std::optional<Quote> Market::quote(const std::string &symbol) {
    const auto told = connected ? ask(link, {{"tick", {{"symbol", symbol}}}}, "tick") : std::nullopt;
    if (told) {
        const Quote quote{number(*told, "bid"), number(*told, "ask"), told->at("at_ms").get<std::int64_t>() + offset_ms()};
        quotes[symbol] = quote;
        newest_quote_ms = std::max(newest_quote_ms, quote.at_ms);
    }
    const auto known = quotes.find(symbol);
    if (known == quotes.end()) return std::nullopt;
    return known->second;
}

const std::vector<std::string> &Market::names() {
    if (all_names.empty())
        if (const auto told = ask(link, "symbols", "symbols")) all_names = told->get<std::vector<std::string>>();
    return all_names;
}

bool Market::select(const std::string &symbol, bool wanted) {
    if (contract(symbol) == nullptr) return false;
    if (wanted)
        selected.insert(symbol);
    else
        selected.erase(symbol);
    return true;
}

std::optional<double> Market::profit(bool buys, const std::string &symbol, double volume, double open, double close) {
    const json what = {{"symbol", symbol}, {"side", buys ? "buy" : "sell"}, {"volume", volume}, {"open", open}, {"close", close}};
    const auto told = ask(link, {{"calc_profit", what}}, "profit");
    return told ? std::optional(told->get<double>()) : std::nullopt;
}

std::optional<double> Market::margin(bool buys, const std::string &symbol, double volume, double price) {
    const json what = {{"symbol", symbol}, {"side", buys ? "buy" : "sell"}, {"volume", volume}, {"price", price}};
    const auto told = ask(link, {{"calc_margin", what}}, "margin");
    return told ? std::optional(told->get<double>()) : std::nullopt;
}

SentOrder Market::send(const OutgoingOrder &order) {
    json request = {{"action", order.action}, {"magic", order.magic},     {"order", order.order},
                    {"position", order.position}, {"symbol", order.symbol}, {"volume", order.volume},
                    {"type", order.type},     {"price", order.price},     {"sl", order.sl},
                    {"tp", order.tp},         {"deviation", order.deviation}, {"filling", order.filling},
                    {"comment", order.comment}};
    if (order.expiration_ms != 0) request["expiration"] = time_text(order.expiration_ms);
    SentOrder sent;
    std::string line;
    sent.delivery = link.call(json{{"order_send", request}}.dump(), line);
    if (sent.delivery != Delivery::Answered) {
        connected = false;
        return sent;
    }
    const json answer = json::parse(line, nullptr, false);
    if (!answer.is_object() || !answer.contains("trade")) {
        sent.error = line;
        return sent;
    }
    const json &trade = answer["trade"];
    sent.retcode = trade.at("retcode");
    sent.deal = trade.at("deal");
    sent.order = trade.at("order");
    sent.volume = number(trade, "volume");
    sent.price = number(trade, "price");
    sent.bid = number(trade, "bid");
    sent.ask = number(trade, "ask");
    sent.comment = trade.at("comment");
    return sent;
}

}  // namespace runtime
