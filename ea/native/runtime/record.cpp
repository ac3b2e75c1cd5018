// One switch for each kind of property; the compiler tells of one that was forgotten.
#include "record.hpp"

#include "market.hpp"

namespace runtime {

namespace {

// What a position, or an order, would be closed or filled at now.
double current_price(const std::string &symbol, bool asks) {
    const auto quote = market().quote(symbol);
    return !quote ? 0.0 : asks ? quote->ask : quote->bid;
}

}  // namespace

long property_of(const Position &position, mql::ENUM_POSITION_PROPERTY_INTEGER property) {
    switch (property) {
        case mql::POSITION_TICKET:
        case mql::POSITION_IDENTIFIER: return static_cast<long>(position.ticket);
        case mql::POSITION_TIME:
        case mql::POSITION_TIME_UPDATE: return position.opened_ms / 1000;
        case mql::POSITION_TIME_MSC:
        case mql::POSITION_TIME_UPDATE_MSC: return position.opened_ms;
        case mql::POSITION_TYPE: return position.type;
        case mql::POSITION_MAGIC: return position.magic;
        case mql::POSITION_REASON: return position.magic == 0 ? mql::POSITION_REASON_CLIENT : mql::POSITION_REASON_EXPERT;
    }
    return 0;
}

double property_of(const Position &position, mql::ENUM_POSITION_PROPERTY_DOUBLE property) {
    switch (property) {
        case mql::POSITION_VOLUME: return position.volume;
        case mql::POSITION_PRICE_OPEN: return position.price;
        case mql::POSITION_PRICE_CURRENT: return current_price(position.symbol, position.type == mql::POSITION_TYPE_SELL);
        case mql::POSITION_SL: return position.sl;
        case mql::POSITION_TP: return position.tp;
        case mql::POSITION_SWAP: return position.swap;
        case mql::POSITION_PROFIT: return position.profit;
    }
    return 0.0;
}

mql::string property_of(const Position &position, mql::ENUM_POSITION_PROPERTY_STRING property) {
    switch (property) {
        case mql::POSITION_SYMBOL: return text(position.symbol);
        case mql::POSITION_COMMENT: return text(position.comment);
        case mql::POSITION_EXTERNAL_ID: return mql::literal("");
    }
    return mql::literal("");
}

long property_of(const Order &order, mql::ENUM_ORDER_PROPERTY_INTEGER property) {
    switch (property) {
        case mql::ORDER_TICKET: return static_cast<long>(order.ticket);
        case mql::ORDER_TIME_SETUP: return order.placed_ms / 1000;
        case mql::ORDER_TIME_SETUP_MSC: return order.placed_ms;
        case mql::ORDER_TIME_DONE: return order.done_ms / 1000;
        case mql::ORDER_TIME_DONE_MSC: return order.done_ms;
        case mql::ORDER_TIME_EXPIRATION: return order.expiration_ms / 1000;
        case mql::ORDER_TYPE: return order.type;
        case mql::ORDER_TYPE_FILLING: return mql::ORDER_FILLING_RETURN;
        case mql::ORDER_TYPE_TIME: return order.expiration_ms == 0 ? mql::ORDER_TIME_GTC : mql::ORDER_TIME_SPECIFIED;
        case mql::ORDER_STATE: return order.state;
        case mql::ORDER_MAGIC: return order.magic;
        case mql::ORDER_POSITION_ID: return static_cast<long>(order.position);
        case mql::ORDER_POSITION_BY_ID: return 0;
        case mql::ORDER_REASON: return order.magic == 0 ? mql::ORDER_REASON_CLIENT : mql::ORDER_REASON_EXPERT;
    }
    return 0;
}

double property_of(const Order &order, mql::ENUM_ORDER_PROPERTY_DOUBLE property) {
    switch (property) {
        case mql::ORDER_VOLUME_INITIAL: return order.volume;
        case mql::ORDER_VOLUME_CURRENT: return order.volume - order.filled;
        case mql::ORDER_PRICE_OPEN: return order.price;
        case mql::ORDER_PRICE_CURRENT: return current_price(order.symbol, order.type % 2 == mql::ORDER_TYPE_BUY);
        case mql::ORDER_PRICE_STOPLIMIT: return 0.0;
        case mql::ORDER_SL: return order.sl;
        case mql::ORDER_TP: return order.tp;
    }
    return 0.0;
}

mql::string property_of(const Order &order, mql::ENUM_ORDER_PROPERTY_STRING property) {
    switch (property) {
        case mql::ORDER_SYMBOL: return text(order.symbol);
        case mql::ORDER_COMMENT: return text(order.comment);
        case mql::ORDER_EXTERNAL_ID: return mql::literal("");
    }
    return mql::literal("");
}

long property_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_INTEGER property) {
    switch (property) {
        case mql::DEAL_TICKET: return static_cast<long>(deal.ticket);
        case mql::DEAL_ORDER: return static_cast<long>(deal.order);
        case mql::DEAL_TIME: return deal.at_ms / 1000;
        case mql::DEAL_TIME_MSC: return deal.at_ms;
        case mql::DEAL_TYPE: return deal.type;
        case mql::DEAL_ENTRY: return deal.entry;
        case mql::DEAL_MAGIC: return deal.magic;
        case mql::DEAL_REASON: return deal.reason;
        case mql::DEAL_POSITION_ID: return static_cast<long>(deal.position);
    }
    return 0;
}

double property_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_DOUBLE property) {
    switch (property) {
        case mql::DEAL_VOLUME: return deal.volume;
        case mql::DEAL_PRICE: return deal.price;
        case mql::DEAL_COMMISSION: return deal.commission;
        case mql::DEAL_SWAP: return deal.swap;
        case mql::DEAL_PROFIT: return deal.profit;
        case mql::DEAL_FEE: return deal.fee;
        case mql::DEAL_SL:
        case mql::DEAL_TP: return 0.0;
    }
    return 0.0;
}

mql::string property_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_STRING property) {
    switch (property) {
        case mql::DEAL_SYMBOL: return text(deal.symbol);
        case mql::DEAL_COMMENT: return text(deal.comment);
        case mql::DEAL_EXTERNAL_ID: return mql::literal("");
    }
    return mql::literal("");
}

}  // namespace runtime
