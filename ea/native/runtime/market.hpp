// The terminal's side of the market: its view of the account, which the functions of MQL5 read, and live quotes.
//
// The view is as of the last synchronisation. While there is no connection the last one stays.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "link.hpp"
#include "view.hpp"

namespace runtime {

// What changed in the view, for OnTradeTransaction.
struct Change {
    mql::ENUM_TRADE_TRANSACTION_TYPE type{};
    const Deal *deal = nullptr;
    const Order *order = nullptr;
    const Position *position = nullptr;
};

struct SentOrder {
    Delivery delivery = Delivery::NotSent;
    // The market's own words where it answered with something else than a result.
    std::string error;
    mql::uint retcode = 0;
    mql::ulong deal = 0;
    mql::ulong order = 0;
    double volume = 0;
    double price = 0;
    double bid = 0;
    double ask = 0;
    std::string comment;
};

// An order on its way out, still in the market's words.
struct OutgoingOrder {
    std::string action;
    std::string type;
    std::string filling;
    std::string symbol;
    std::string comment;
    long magic = 0;
    mql::ulong order = 0;
    mql::ulong position = 0;
    mql::ulong deviation = 0;
    double volume = 0;
    double price = 0;
    double sl = 0;
    double tp = 0;
    std::int64_t expiration_ms = 0;
};

class Market {
public:
    void synchronise();
    bool is_connected() const { return connected; }
    const View &view() const { return seen; }
    // The broker's clock, reckoned on from the last synchronisation.
    std::int64_t server_ms() const;
    std::int64_t last_quote_ms() const { return newest_quote_ms; }

    const Contract *contract(const std::string &symbol);
    // The last quote that was ever seen, asked for anew where there is a connection.
    std::optional<Quote> quote(const std::string &symbol);
    const std::vector<std::string> &names();
    bool select(const std::string &symbol, bool wanted);
    bool is_selected(const std::string &symbol) const { return selected.contains(symbol); }
    const std::set<std::string> &selection() const { return selected; }

    std::optional<double> profit(bool buys, const std::string &symbol, double volume, double open, double close);
    std::optional<double> margin(bool buys, const std::string &symbol, double volume, double price);
    SentOrder send(const OutgoingOrder &order);

    // Called for every change from now on, those during a handler included.
    std::function<void(const Change &)> on_change;

private:
    void tell(mql::ENUM_TRADE_TRANSACTION_TYPE type, const Order *order, const Deal *deal, const Position *position);
    void compare(const std::vector<Position> &positions_before, const std::vector<Order> &orders_before,
                 std::size_t deals_before, std::size_t history_before);

    Link link;
    View seen;
    bool connected = false;
    bool begun = false;
    std::int64_t clock_difference_ms = 0;
    std::int64_t newest_quote_ms = 0;
    std::map<std::string, Contract> contracts;
    std::map<std::string, Quote> quotes;
    std::set<std::string> selected;
    std::vector<std::string> all_names;
};

Market &market();

}  // namespace runtime
