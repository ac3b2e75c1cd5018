// What a terminal keeps of the account: plain records, in the units of MQL5. Times are the broker's.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "constants.hpp"

namespace runtime {

struct Account {
    long login = 0;
    std::string currency;
    long digits = 2;
    double balance = 0;
    double equity = 0;
    double margin = 0;
    double free_margin = 0;
    double profit = 0;
    double credit = 0;
    long leverage = 0;
    bool hedging = false;
    bool trade_allowed = false;
};

struct Position {
    mql::ulong ticket = 0;
    std::string symbol;
    mql::ENUM_POSITION_TYPE type{};
    double volume = 0;
    double price = 0;
    double sl = 0;
    double tp = 0;
    double profit = 0;
    double swap = 0;
    long magic = 0;
    std::string comment;
    std::int64_t opened_ms = 0;
};

struct Order {
    mql::ulong ticket = 0;
    std::string symbol;
    mql::ENUM_ORDER_TYPE type{};
    mql::ENUM_ORDER_STATE state{};
    double volume = 0;
    double filled = 0;
    double price = 0;
    double sl = 0;
    double tp = 0;
    long magic = 0;
    mql::ulong position = 0;
    std::string comment;
    std::int64_t expiration_ms = 0;
    std::int64_t placed_ms = 0;
    std::int64_t done_ms = 0;
};

struct Deal {
    mql::ulong ticket = 0;
    mql::ulong order = 0;
    mql::ulong position = 0;
    mql::ENUM_DEAL_TYPE type{};
    mql::ENUM_DEAL_ENTRY entry{};
    mql::ENUM_DEAL_REASON reason{};
    std::string symbol;
    double volume = 0;
    double price = 0;
    double profit = 0;
    double commission = 0;
    double swap = 0;
    double fee = 0;
    long magic = 0;
    std::string comment;
    std::int64_t at_ms = 0;
};

struct Quote {
    double bid = 0;
    double ask = 0;
    std::int64_t at_ms = 0;
};

// The contract of a symbol.
struct Contract {
    std::string name;
    std::string base;
    std::string profit_currency;
    long digits = 0;
    double point = 0;
    double tick_size = 0;
    double contract_size = 0;
    double volume_min = 0;
    double volume_max = 0;
    double volume_step = 0;
    double swap_long = 0;
    double swap_short = 0;
    long stops_level = 0;
    long freeze_level = 0;
    long trade_mode = 0;
    bool instant = false;
    bool expiration = true;
    long spread = 0;
    // A sum of SYMBOL_FILLING_ flags.
    long filling = 0;
};

// The account as a terminal sees it, as of the last synchronisation.
struct View {
    Account account;
    std::vector<Position> positions;
    std::vector<Order> orders;
    // The history only grows, and what is in it stays where it is.
    std::deque<Deal> deals;
    std::deque<Order> history_orders;
};

}  // namespace runtime
