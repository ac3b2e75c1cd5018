// Sending orders, and looking at positions, orders and the history.
#pragma once
#include "constants.hpp"
#include "text.hpp"

namespace mql {

struct MqlTradeRequest {
    ENUM_TRADE_REQUEST_ACTIONS action;
    ulong magic;
    ulong order;
    string symbol;
    double volume;
    double price;
    double stoplimit;
    double sl;
    double tp;
    ulong deviation;
    ENUM_ORDER_TYPE type;
    ENUM_ORDER_TYPE_FILLING type_filling;
    ENUM_ORDER_TYPE_TIME type_time;
    datetime expiration;
    string comment;
    ulong position;
    ulong position_by;
};

struct MqlTradeResult {
    uint retcode;
    ulong deal;
    ulong order;
    double volume;
    double price;
    double bid;
    double ask;
    string comment;
    uint request_id;
    int retcode_external;
};

struct MqlTradeCheckResult {
    uint retcode;
    double balance;
    double equity;
    double profit;
    double margin;
    double margin_free;
    double margin_level;
    string comment;
};

struct MqlTradeTransaction {
    ulong deal;
    ulong order;
    string symbol;
    ENUM_TRADE_TRANSACTION_TYPE type;
    ENUM_ORDER_TYPE order_type;
    ENUM_ORDER_STATE order_state;
    ENUM_DEAL_TYPE deal_type;
    ENUM_ORDER_TYPE_TIME time_type;
    datetime time_expiration;
    double price;
    double price_trigger;
    double price_sl;
    double price_tp;
    double volume;
    ulong position;
    ulong position_by;
};

bool OrderSend(const MqlTradeRequest &request, MqlTradeResult &result);
bool OrderCheck(const MqlTradeRequest &request, MqlTradeCheckResult &result);
bool OrderCalcProfit(ENUM_ORDER_TYPE action, const string &symbol, double volume, double open, double close, double &profit);
bool OrderCalcMargin(ENUM_ORDER_TYPE action, const string &symbol, double volume, double price, double &margin);

int PositionsTotal();
ulong PositionGetTicket(int index);
string PositionGetSymbol(int index);
bool PositionSelect(const string &symbol);
bool PositionSelectByTicket(ulong ticket);
long PositionGetInteger(ENUM_POSITION_PROPERTY_INTEGER property);
bool PositionGetInteger(ENUM_POSITION_PROPERTY_INTEGER property, long &value);
double PositionGetDouble(ENUM_POSITION_PROPERTY_DOUBLE property);
bool PositionGetDouble(ENUM_POSITION_PROPERTY_DOUBLE property, double &value);
string PositionGetString(ENUM_POSITION_PROPERTY_STRING property);
bool PositionGetString(ENUM_POSITION_PROPERTY_STRING property, string &value);

int OrdersTotal();
ulong OrderGetTicket(int index);
bool OrderSelect(ulong ticket);
long OrderGetInteger(ENUM_ORDER_PROPERTY_INTEGER property);
bool OrderGetInteger(ENUM_ORDER_PROPERTY_INTEGER property, long &value);
double OrderGetDouble(ENUM_ORDER_PROPERTY_DOUBLE property);
bool OrderGetDouble(ENUM_ORDER_PROPERTY_DOUBLE property, double &value);
string OrderGetString(ENUM_ORDER_PROPERTY_STRING property);
bool OrderGetString(ENUM_ORDER_PROPERTY_STRING property, string &value);

// The history: a list that is chosen first. Selecting one deal or order leaves only that one in its list.
bool HistorySelect(datetime from, datetime to);
bool HistorySelectByPosition(long position);
int HistoryDealsTotal();
ulong HistoryDealGetTicket(int index);
bool HistoryDealSelect(ulong ticket);
long HistoryDealGetInteger(ulong ticket, ENUM_DEAL_PROPERTY_INTEGER property);
bool HistoryDealGetInteger(ulong ticket, ENUM_DEAL_PROPERTY_INTEGER property, long &value);
double HistoryDealGetDouble(ulong ticket, ENUM_DEAL_PROPERTY_DOUBLE property);
bool HistoryDealGetDouble(ulong ticket, ENUM_DEAL_PROPERTY_DOUBLE property, double &value);
string HistoryDealGetString(ulong ticket, ENUM_DEAL_PROPERTY_STRING property);
bool HistoryDealGetString(ulong ticket, ENUM_DEAL_PROPERTY_STRING property, string &value);
int HistoryOrdersTotal();
ulong HistoryOrderGetTicket(int index);
bool HistoryOrderSelect(ulong ticket);
long HistoryOrderGetInteger(ulong ticket, ENUM_ORDER_PROPERTY_INTEGER property);
bool HistoryOrderGetInteger(ulong ticket, ENUM_ORDER_PROPERTY_INTEGER property, long &value);
double HistoryOrderGetDouble(ulong ticket, ENUM_ORDER_PROPERTY_DOUBLE property);
bool HistoryOrderGetDouble(ulong ticket, ENUM_ORDER_PROPERTY_DOUBLE property, double &value);
string HistoryOrderGetString(ulong ticket, ENUM_ORDER_PROPERTY_STRING property);
bool HistoryOrderGetString(ulong ticket, ENUM_ORDER_PROPERTY_STRING property, string &value);

}  // namespace mql
