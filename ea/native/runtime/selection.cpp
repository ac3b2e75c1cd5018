// What is selected: copies of one position and of one order, so that a later synchronisation changes nothing of them,
// and parts of the history, whose records neither change nor move.
#include <algorithm>
#include <optional>

#include "market.hpp"
#include "record.hpp"
#include "terminal.hpp"
#include "trade.hpp"

namespace mql {

namespace {

using runtime::Deal;
using runtime::market;
using runtime::Order;
using runtime::Position;

// Mostly they are in order already. What is equal stays as it came.
template <class Record, class Key>
void sort_by(std::vector<const Record *> &records, Key Record::*key) {
    const auto before = [&](const Record *a, const Record *b) { return a->*key < b->*key; };
    if (!std::is_sorted(records.begin(), records.end(), before)) std::stable_sort(records.begin(), records.end(), before);
}

// A part of the history.
template <class Record>
struct Part {
    // In their order.
    std::vector<const Record *> records;
    // The same by their tickets; made when it is first asked for.
    std::vector<const Record *> by_ticket;

    template <class Wanted>
    void choose(const std::deque<Record> &all, Wanted wanted) {
        records.clear();
        by_ticket.clear();
        for (const Record &record : all)
            if (wanted(record)) records.push_back(&record);
    }
    const Record *with_ticket(ulong ticket) {
        if (by_ticket.empty()) {
            by_ticket = records;
            sort_by(by_ticket, &Record::ticket);
        }
        const auto is_below = [&](const Record *record, ulong wanted) { return record->ticket < wanted; };
        const auto place = std::lower_bound(by_ticket.begin(), by_ticket.end(), ticket, is_below);
        return place != by_ticket.end() && (*place)->ticket == ticket ? *place : nullptr;
    }
};

std::optional<Position> position;
std::optional<Order> order;
Part<Deal> deals;
Part<Order> orders;

template <class Record>
constexpr int not_found = ERR_TRADE_ORDER_NOT_FOUND;
template <>
constexpr int not_found<Deal> = ERR_TRADE_DEAL_NOT_FOUND;
template <>
constexpr int not_found<Position> = ERR_TRADE_POSITION_NOT_FOUND;

// What was looked for; where there is no such record, that is the last error.
template <class Record>
const Record *found(const Record *record) {
    if (record == nullptr) runtime::fail(not_found<Record>);
    return record;
}

template <class List, class Wanted>
const typename List::value_type *first(const List &list, Wanted wanted) {
    const auto place = std::find_if(list.begin(), list.end(), wanted);
    return place == list.end() ? nullptr : &*place;
}

template <class List>
const typename List::value_type *with_ticket(const List &list, ulong ticket) {
    return first(list, [&](const auto &record) { return record.ticket == ticket; });
}

template <class T>
const T *at(const std::vector<T> &list, int index) {
    return index >= 0 && static_cast<std::size_t>(index) < list.size() ? list.data() + index : nullptr;
}

template <class Record>
ulong ticket_of(const Record *record) {
    return record == nullptr ? 0 : record->ticket;
}

// Selects a copy.
template <class Record>
const Record *take(std::optional<Record> &selected, const Record *record) {
    selected = record == nullptr ? std::nullopt : std::optional(*record);
    return found(record);
}

template <class Record>
ulong ticket_at(const Part<Record> &part, int index) {
    const Record *const *record = at(part.records, index);
    return ticket_of(found(record == nullptr ? nullptr : *record));
}

// Selects this record alone.
template <class Record>
bool take(Part<Record> &part, const Record *record) {
    if (found(record) == nullptr) return false;
    part = {{record}, {}};
    return true;
}

template <class Record>
const Record *pointer(const std::optional<Record> &selected) {
    return selected ? &*selected : nullptr;
}

template <class Record, class Property, class Value>
bool read(const Record *record, Property property, Value &value) {
    if (record != nullptr) value = runtime::property_of(*record, property);
    return record != nullptr;
}

}  // namespace

int PositionsTotal() { return static_cast<int>(market().view().positions.size()); }

ulong PositionGetTicket(int index) { return ticket_of(take(position, at(market().view().positions, index))); }

string PositionGetSymbol(int index) { return PositionGetTicket(index) == 0 ? literal("") : PositionGetString(POSITION_SYMBOL); }

// The position of the symbol with the smallest ticket, as on hedging accounts.
bool PositionSelect(const string &symbol) {
    const auto is_of = [&](const Position &one) { return one.symbol == runtime::utf8(symbol); };
    return take(position, first(market().view().positions, is_of)) != nullptr;
}

bool PositionSelectByTicket(ulong ticket) { return take(position, with_ticket(market().view().positions, ticket)) != nullptr; }

int OrdersTotal() { return static_cast<int>(market().view().orders.size()); }

ulong OrderGetTicket(int index) { return ticket_of(take(order, at(market().view().orders, index))); }

bool OrderSelect(ulong ticket) { return take(order, with_ticket(market().view().orders, ticket)) != nullptr; }

// In order of time. An order belongs to the period in which it was set up or ended.
bool HistorySelect(datetime from, datetime to) {
    const auto within = [&](std::int64_t ms) { return ms / 1000 >= from.seconds && ms / 1000 <= to.seconds; };
    deals.choose(market().view().deals, [&](const Deal &deal) { return within(deal.at_ms); });
    orders.choose(market().view().history_orders,
                  [&](const Order &ended) { return within(ended.placed_ms) || within(ended.done_ms); });
    sort_by(deals.records, &Deal::at_ms);
    sort_by(orders.records, &Order::done_ms);
    return true;
}

bool HistorySelectByPosition(long id) {
    const auto is_of = [&](const auto &record) { return id != 0 && record.position == static_cast<ulong>(id); };
    deals.choose(market().view().deals, is_of);
    orders.choose(market().view().history_orders, is_of);
    return true;
}

int HistoryDealsTotal() { return static_cast<int>(deals.records.size()); }
int HistoryOrdersTotal() { return static_cast<int>(orders.records.size()); }

ulong HistoryDealGetTicket(int index) { return ticket_at(deals, index); }
ulong HistoryOrderGetTicket(int index) { return ticket_at(orders, index); }

bool HistoryDealSelect(ulong ticket) { return take(deals, with_ticket(market().view().deals, ticket)); }
bool HistoryOrderSelect(ulong ticket) { return take(orders, with_ticket(market().view().history_orders, ticket)); }

// The two forms of a property function: one returns the value, one says whether there is one.
#define GETTER(NAME, TYPE, PROPERTY, NOTHING, RECORD, ...)                                 \
    TYPE NAME(__VA_ARGS__ __VA_OPT__(, ) PROPERTY property) {                              \
        TYPE value = NOTHING;                                                              \
        read(RECORD, property, value);                                                     \
        return value;                                                                      \
    }                                                                                      \
    bool NAME(__VA_ARGS__ __VA_OPT__(, ) PROPERTY property, TYPE &value) {                 \
        return read(RECORD, property, value);                                              \
    }
#define GETTERS(OF, KIND, ...)                                                             \
    GETTER(OF##GetInteger, long, ENUM_##KIND##_PROPERTY_INTEGER, 0, __VA_ARGS__)           \
    GETTER(OF##GetDouble, double, ENUM_##KIND##_PROPERTY_DOUBLE, 0.0, __VA_ARGS__)         \
    GETTER(OF##GetString, string, ENUM_##KIND##_PROPERTY_STRING, literal(""), __VA_ARGS__)

GETTERS(Position, POSITION, pointer(position))
GETTERS(Order, ORDER, pointer(order))
GETTERS(HistoryDeal, DEAL, found(deals.with_ticket(ticket)), ulong ticket)
GETTERS(HistoryOrder, ORDER, found(orders.with_ticket(ticket)), ulong ticket)

}  // namespace mql
