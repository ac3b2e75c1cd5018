// What is selected: one position, one order, and lists of the history. Selecting copies, so that a later
// synchronisation changes nothing of it.
#include <algorithm>
#include <map>
#include <optional>

#include "market.hpp"
#include "record.hpp"
#include "terminal.hpp"
#include "trade.hpp"

namespace mql {

namespace {

using runtime::Deal;
using runtime::fail;
using runtime::market;
using runtime::Order;
using runtime::Position;

std::optional<Position> position;
std::optional<Order> order;
std::vector<Deal> deals;
std::vector<Order> orders;

template <class T>
std::optional<T> with_ticket(const std::vector<T> &list, ulong ticket, int error) {
    const auto found = std::find_if(list.begin(), list.end(), [&](const T &item) { return item.ticket == ticket; });
    if (found != list.end()) return *found;
    fail(error);
    return std::nullopt;
}

template <class T>
std::optional<T> at(const std::vector<T> &list, int index, int error) {
    if (index >= 0 && static_cast<std::size_t>(index) < list.size()) return list[static_cast<std::size_t>(index)];
    fail(error);
    return std::nullopt;
}

// The two forms of each property function: one returns the value, one says whether there is one.
template <class Record, class Property>
bool integer(const std::optional<Record> &record, Property property, long &value) {
    if (record) value = runtime::integer_of(*record, property);
    return record.has_value();
}
template <class Record, class Property>
bool floating(const std::optional<Record> &record, Property property, double &value) {
    if (record) value = runtime::double_of(*record, property);
    return record.has_value();
}
template <class Record, class Property>
bool words(const std::optional<Record> &record, Property property, string &value) {
    value = record ? runtime::text(runtime::string_of(*record, property)) : literal("");
    return record.has_value();
}

std::optional<Deal> deal_of(ulong ticket) { return with_ticket(deals, ticket, ERR_TRADE_DEAL_NOT_FOUND); }
std::optional<Order> past_order(ulong ticket) { return with_ticket(orders, ticket, ERR_TRADE_ORDER_NOT_FOUND); }

// The history is in order of time; where that is the same, of tickets.
template <class T, class Time>
void sort_by(std::vector<T> &list, Time time) {
    std::stable_sort(list.begin(), list.end(), [&](const T &a, const T &b) { return time(a) < time(b); });
}

}  // namespace

int PositionsTotal() { return static_cast<int>(market().view().positions.size()); }

ulong PositionGetTicket(int index) {
    position = at(market().view().positions, index, ERR_TRADE_POSITION_NOT_FOUND);
    return position ? position->ticket : 0;
}

string PositionGetSymbol(int index) { return PositionGetTicket(index) == 0 ? literal("") : PositionGetString(POSITION_SYMBOL); }

// The position of the symbol with the smallest ticket, as on hedging accounts.
bool PositionSelect(const string &symbol) {
    const auto &all = market().view().positions;
    const auto found = std::find_if(all.begin(), all.end(), [&](const Position &p) { return p.symbol == runtime::utf8(symbol); });
    position = found == all.end() ? std::nullopt : std::optional(*found);
    if (!position) fail(ERR_TRADE_POSITION_NOT_FOUND);
    return position.has_value();
}

bool PositionSelectByTicket(ulong ticket) {
    position = with_ticket(market().view().positions, ticket, ERR_TRADE_POSITION_NOT_FOUND);
    return position.has_value();
}

long PositionGetInteger(ENUM_POSITION_PROPERTY_INTEGER property) {
    long value = 0;
    integer(position, property, value);
    return value;
}
bool PositionGetInteger(ENUM_POSITION_PROPERTY_INTEGER property, long &value) { return integer(position, property, value); }
double PositionGetDouble(ENUM_POSITION_PROPERTY_DOUBLE property) {
    double value = 0;
    floating(position, property, value);
    return value;
}
bool PositionGetDouble(ENUM_POSITION_PROPERTY_DOUBLE property, double &value) { return floating(position, property, value); }
string PositionGetString(ENUM_POSITION_PROPERTY_STRING property) {
    string value;
    words(position, property, value);
    return value;
}
bool PositionGetString(ENUM_POSITION_PROPERTY_STRING property, string &value) { return words(position, property, value); }

int OrdersTotal() { return static_cast<int>(market().view().orders.size()); }

ulong OrderGetTicket(int index) {
    order = at(market().view().orders, index, ERR_TRADE_ORDER_NOT_FOUND);
    return order ? order->ticket : 0;
}

bool OrderSelect(ulong ticket) {
    order = with_ticket(market().view().orders, ticket, ERR_TRADE_ORDER_NOT_FOUND);
    return order.has_value();
}

long OrderGetInteger(ENUM_ORDER_PROPERTY_INTEGER property) {
    long value = 0;
    integer(order, property, value);
    return value;
}
bool OrderGetInteger(ENUM_ORDER_PROPERTY_INTEGER property, long &value) { return integer(order, property, value); }
double OrderGetDouble(ENUM_ORDER_PROPERTY_DOUBLE property) {
    double value = 0;
    floating(order, property, value);
    return value;
}
bool OrderGetDouble(ENUM_ORDER_PROPERTY_DOUBLE property, double &value) { return floating(order, property, value); }
string OrderGetString(ENUM_ORDER_PROPERTY_STRING property) {
    string value;
    words(order, property, value);
    return value;
}
bool OrderGetString(ENUM_ORDER_PROPERTY_STRING property, string &value) { return words(order, property, value); }

// An order belongs to the period in which it was set up or ended.
bool HistorySelect(datetime from, datetime to) {
    const auto within = [&](std::int64_t ms) { return ms / 1000 >= from.seconds && ms / 1000 <= to.seconds; };
    deals.clear();
    orders.clear();
    for (const Deal &deal : market().view().deals)
        if (within(deal.at_ms)) deals.push_back(deal);
    for (const Order &ended : market().view().history_orders)
        if (within(ended.placed_ms) || within(ended.done_ms)) orders.push_back(ended);
    sort_by(deals, [](const Deal &deal) { return deal.at_ms; });
    sort_by(orders, [](const Order &ended) { return ended.done_ms; });
    return true;
}

bool HistorySelectByPosition(long id) {
    deals.clear();
    orders.clear();
    const auto wanted = static_cast<ulong>(id);
    for (const Deal &deal : market().view().deals)
        if (deal.position == wanted && wanted != 0) deals.push_back(deal);
    for (const Order &ended : market().view().history_orders)
        if (ended.position == wanted && wanted != 0) orders.push_back(ended);
    return true;
}

int HistoryDealsTotal() { return static_cast<int>(deals.size()); }

ulong HistoryDealGetTicket(int index) {
    const auto found = at(deals, index, ERR_TRADE_DEAL_NOT_FOUND);
    return found ? found->ticket : 0;
}

bool HistoryDealSelect(ulong ticket) {
    const auto found = with_ticket(market().view().deals, ticket, ERR_TRADE_DEAL_NOT_FOUND);
    if (found) deals = {*found};
    return found.has_value();
}

long HistoryDealGetInteger(ulong ticket, ENUM_DEAL_PROPERTY_INTEGER property) {
    long value = 0;
    integer(deal_of(ticket), property, value);
    return value;
}
bool HistoryDealGetInteger(ulong ticket, ENUM_DEAL_PROPERTY_INTEGER property, long &value) {
    return integer(deal_of(ticket), property, value);
}
double HistoryDealGetDouble(ulong ticket, ENUM_DEAL_PROPERTY_DOUBLE property) {
    double value = 0;
    floating(deal_of(ticket), property, value);
    return value;
}
bool HistoryDealGetDouble(ulong ticket, ENUM_DEAL_PROPERTY_DOUBLE property, double &value) {
    return floating(deal_of(ticket), property, value);
}
string HistoryDealGetString(ulong ticket, ENUM_DEAL_PROPERTY_STRING property) {
    string value;
    words(deal_of(ticket), property, value);
    return value;
}
bool HistoryDealGetString(ulong ticket, ENUM_DEAL_PROPERTY_STRING property, string &value) {
    return words(deal_of(ticket), property, value);
}

int HistoryOrdersTotal() { return static_cast<int>(orders.size()); }

ulong HistoryOrderGetTicket(int index) {
    const auto found = at(orders, index, ERR_TRADE_ORDER_NOT_FOUND);
    return found ? found->ticket : 0;
}

bool HistoryOrderSelect(ulong ticket) {
    const auto found = with_ticket(market().view().history_orders, ticket, ERR_TRADE_ORDER_NOT_FOUND);
    if (found) orders = {*found};
    return found.has_value();
}

long HistoryOrderGetInteger(ulong ticket, ENUM_ORDER_PROPERTY_INTEGER property) {
    long value = 0;
    integer(past_order(ticket), property, value);
    return value;
}
bool HistoryOrderGetInteger(ulong ticket, ENUM_ORDER_PROPERTY_INTEGER property, long &value) {
    return integer(past_order(ticket), property, value);
}
double HistoryOrderGetDouble(ulong ticket, ENUM_ORDER_PROPERTY_DOUBLE property) {
    double value = 0;
    floating(past_order(ticket), property, value);
    return value;
}
bool HistoryOrderGetDouble(ulong ticket, ENUM_ORDER_PROPERTY_DOUBLE property, double &value) {
    return floating(past_order(ticket), property, value);
}
string HistoryOrderGetString(ulong ticket, ENUM_ORDER_PROPERTY_STRING property) {
    string value;
    words(past_order(ticket), property, value);
    return value;
}
bool HistoryOrderGetString(ulong ticket, ENUM_ORDER_PROPERTY_STRING property, string &value) {
    return words(past_order(ticket), property, value);
}

}  // namespace mql
