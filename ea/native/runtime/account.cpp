// Properties of the account and of symbols. What the market does not know has the value of an ordinary broker.
#include "account.hpp"

#include <cmath>

#include "market.hpp"
#include "terminal.hpp"

namespace mql {

namespace {

using runtime::market;

// NULL is the chart's symbol.
std::string symbol_of(const string &name) { return name.null ? runtime::settings().symbol : runtime::utf8(name); }

const runtime::Contract *contract(const string &name) {
    const runtime::Contract *found = market().contract(symbol_of(name));
    if (found == nullptr) runtime::fail(ERR_MARKET_UNKNOWN_SYMBOL);
    return found;
}

// What one tick of one lot is worth in the account's currency.
double tick_value(const runtime::Contract &symbol) {
    const auto quote = market().quote(symbol.name);
    if (!quote) return 0.0;
    return market().profit(true, symbol.name, 1.0, quote->bid, quote->bid + symbol.point).value_or(0.0);
}

bool integer_of(const runtime::Contract &symbol, ENUM_SYMBOL_INFO_INTEGER property, long &value) {
    switch (property) {
        case SYMBOL_EXIST: value = 1; return true;
        case SYMBOL_SELECT:
        case SYMBOL_VISIBLE: value = market().is_selected(symbol.name); return true;
        case SYMBOL_DIGITS: value = symbol.digits; return true;
        case SYMBOL_SPREAD: value = symbol.spread; return true;
        case SYMBOL_SPREAD_FLOAT: value = 0; return true;
        case SYMBOL_TRADE_MODE: value = symbol.trade_mode; return true;
        case SYMBOL_TRADE_STOPS_LEVEL: value = symbol.stops_level; return true;
        case SYMBOL_TRADE_FREEZE_LEVEL: value = symbol.freeze_level; return true;
        case SYMBOL_TRADE_EXEMODE: value = symbol.instant ? SYMBOL_TRADE_EXECUTION_INSTANT : SYMBOL_TRADE_EXECUTION_MARKET; return true;
        case SYMBOL_SWAP_MODE: value = SYMBOL_SWAP_MODE_POINTS; return true;
        case SYMBOL_SWAP_ROLLOVER3DAYS: value = 3; return true;
        case SYMBOL_FILLING_MODE: value = symbol.filling; return true;
        case SYMBOL_EXPIRATION_MODE: value = SYMBOL_EXPIRATION_GTC | (symbol.expiration ? SYMBOL_EXPIRATION_SPECIFIED : 0); return true;
        case SYMBOL_ORDER_MODE:
            value = SYMBOL_ORDER_MARKET | SYMBOL_ORDER_LIMIT | SYMBOL_ORDER_STOP | SYMBOL_ORDER_SL | SYMBOL_ORDER_TP;
            return true;
        case SYMBOL_ORDER_GTC_MODE: value = 0; return true;
        case SYMBOL_TIME:
        case SYMBOL_TIME_MSC: {
            const auto quote = market().quote(symbol.name);
            value = !quote ? 0 : property == SYMBOL_TIME ? quote->at_ms / 1000 : quote->at_ms;
            return true;
        }
    }
    return false;
}

bool double_of(const runtime::Contract &symbol, ENUM_SYMBOL_INFO_DOUBLE property, double &value) {
    switch (property) {
        case SYMBOL_BID:
        case SYMBOL_ASK: {
            const auto quote = market().quote(symbol.name);
            value = !quote ? 0.0 : property == SYMBOL_BID ? quote->bid : quote->ask;
            return true;
        }
        case SYMBOL_LAST:
        case SYMBOL_VOLUME_LIMIT: value = 0.0; return true;
        case SYMBOL_POINT: value = symbol.point; return true;
        case SYMBOL_TRADE_TICK_SIZE: value = symbol.tick_size; return true;
        case SYMBOL_TRADE_TICK_VALUE: value = tick_value(symbol); return true;
        case SYMBOL_TRADE_CONTRACT_SIZE: value = symbol.contract_size; return true;
        case SYMBOL_VOLUME_MIN: value = symbol.volume_min; return true;
        case SYMBOL_VOLUME_MAX: value = symbol.volume_max; return true;
        case SYMBOL_VOLUME_STEP: value = symbol.volume_step; return true;
        case SYMBOL_SWAP_LONG: value = symbol.swap_long; return true;
        case SYMBOL_SWAP_SHORT: value = symbol.swap_short; return true;
    }
    return false;
}

bool string_of(const runtime::Contract &symbol, ENUM_SYMBOL_INFO_STRING property, string &value) {
    switch (property) {
        case SYMBOL_DESCRIPTION: value = runtime::text(symbol.base + " against " + symbol.profit_currency); return true;
        case SYMBOL_PATH: value = runtime::text("Market\\" + symbol.name); return true;
        case SYMBOL_CURRENCY_BASE:
        case SYMBOL_CURRENCY_MARGIN: value = runtime::text(symbol.base); return true;
        case SYMBOL_CURRENCY_PROFIT: value = runtime::text(symbol.profit_currency); return true;
    }
    return false;
}

// A property of a symbol, as one of the functions above reads it.
template <class Property, class Value>
bool property_of(const string &name, Property property, Value &value,
                 bool (*read)(const runtime::Contract &, Property, Value &)) {
    const runtime::Contract *symbol = contract(name);
    if (symbol == nullptr) return false;
    if (read(*symbol, property, value)) return true;
    runtime::fail(ERR_MARKET_WRONG_PROPERTY);
    return false;
}

}  // namespace

long AccountInfoInteger(ENUM_ACCOUNT_INFO_INTEGER property) {
    const runtime::Account &account = market().view().account;
    switch (property) {
        case ACCOUNT_LOGIN: return account.login;
        case ACCOUNT_TRADE_MODE: return ACCOUNT_TRADE_MODE_DEMO;
        case ACCOUNT_TRADE_ALLOWED: return account.trade_allowed;
        case ACCOUNT_TRADE_EXPERT: return account.login != 0;
        case ACCOUNT_LEVERAGE: return account.leverage;
        case ACCOUNT_MARGIN_MODE:
            return account.hedging ? ACCOUNT_MARGIN_MODE_RETAIL_HEDGING : ACCOUNT_MARGIN_MODE_RETAIL_NETTING;
        case ACCOUNT_CURRENCY_DIGITS: return account.digits;
        case ACCOUNT_HEDGE_ALLOWED: return account.hedging;
        case ACCOUNT_MARGIN_SO_MODE: return ACCOUNT_STOPOUT_MODE_PERCENT;
        case ACCOUNT_LIMIT_ORDERS:
        case ACCOUNT_FIFO_CLOSE: return 0;
    }
    runtime::fail(ERR_ACCOUNT_WRONG_PROPERTY);
    return 0;
}

double AccountInfoDouble(ENUM_ACCOUNT_INFO_DOUBLE property) {
    const runtime::Account &account = market().view().account;
    switch (property) {
        case ACCOUNT_BALANCE: return account.balance;
        case ACCOUNT_CREDIT: return account.credit;
        case ACCOUNT_PROFIT: return account.profit;
        case ACCOUNT_EQUITY: return account.equity;
        case ACCOUNT_MARGIN: return account.margin;
        case ACCOUNT_MARGIN_FREE: return account.free_margin;
        case ACCOUNT_MARGIN_LEVEL: return account.margin > 0 ? account.equity / account.margin * 100 : 0.0;
        case ACCOUNT_MARGIN_SO_CALL: return 100.0;
        case ACCOUNT_MARGIN_SO_SO: return 50.0;
    }
    runtime::fail(ERR_ACCOUNT_WRONG_PROPERTY);
    return 0.0;
}

string AccountInfoString(ENUM_ACCOUNT_INFO_STRING property) {
    switch (property) {
        case ACCOUNT_CURRENCY: return runtime::text(market().view().account.currency);
        case ACCOUNT_NAME: return literal("Community");
        case ACCOUNT_SERVER: return literal("Simulated-Market");
        case ACCOUNT_COMPANY: return literal("Simulated market");
    }
    runtime::fail(ERR_ACCOUNT_WRONG_PROPERTY);
    return literal("");
}

int SymbolsTotal(bool selected) {
    return static_cast<int>(selected ? market().selection().size() : market().names().size());
}

string SymbolName(int position, bool selected) {
    if (position < 0 || position >= SymbolsTotal(selected)) return literal("");
    if (selected) return runtime::text(*std::next(market().selection().begin(), position));
    return runtime::text(market().names()[static_cast<std::size_t>(position)]);
}

bool SymbolSelect(const string &name, bool select) {
    const bool done = market().select(symbol_of(name), select);
    if (!done) runtime::fail(ERR_MARKET_UNKNOWN_SYMBOL);
    return done;
}

bool SymbolExist(const string &name, bool &is_custom) {
    is_custom = false;
    return market().contract(symbol_of(name)) != nullptr;
}

bool SymbolIsSynchronized(const string &name) {
    return market().is_connected() && market().is_selected(symbol_of(name));
}

long SymbolInfoInteger(const string &name, ENUM_SYMBOL_INFO_INTEGER property) {
    // Whether there is such a symbol is no error to ask.
    if (property == SYMBOL_EXIST) return market().contract(symbol_of(name)) != nullptr;
    long value = 0;
    SymbolInfoInteger(name, property, value);
    return value;
}

bool SymbolInfoInteger(const string &name, ENUM_SYMBOL_INFO_INTEGER property, long &value) {
    return property_of(name, property, value, integer_of);
}

double SymbolInfoDouble(const string &name, ENUM_SYMBOL_INFO_DOUBLE property) {
    double value = 0.0;
    SymbolInfoDouble(name, property, value);
    return value;
}

bool SymbolInfoDouble(const string &name, ENUM_SYMBOL_INFO_DOUBLE property, double &value) {
    return property_of(name, property, value, double_of);
}

string SymbolInfoString(const string &name, ENUM_SYMBOL_INFO_STRING property) {
    string value = literal("");
    SymbolInfoString(name, property, value);
    return value;
}

bool SymbolInfoString(const string &name, ENUM_SYMBOL_INFO_STRING property, string &value) {
    return property_of(name, property, value, string_of);
}

bool SymbolInfoTick(const string &name, MqlTick &tick) {
    const std::string symbol = symbol_of(name);
    const bool selected = market().is_selected(symbol);
    const auto quote = selected ? market().quote(symbol) : std::nullopt;
    if (!quote) {
        runtime::fail(selected ? ERR_MARKET_LASTTIME_UNKNOWN : ERR_MARKET_NOT_SELECTED);
        return false;
    }
    tick = MqlTick{};
    tick.time = quote->at_ms / 1000;
    tick.bid = quote->bid;
    tick.ask = quote->ask;
    tick.time_msc = quote->at_ms;
    return true;
}

int Digits() { return static_cast<int>(SymbolInfoInteger(NULL, SYMBOL_DIGITS)); }
double Point() { return SymbolInfoDouble(NULL, SYMBOL_POINT); }

}  // namespace mql
