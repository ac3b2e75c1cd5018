// The account and the symbols, as the terminal shows them.
#pragma once
#include "constants.hpp"
#include "text.hpp"

namespace mql {

struct MqlTick {
    datetime time;
    double bid;
    double ask;
    double last;
    ulong volume;
    long time_msc;
    uint flags;
    double volume_real;
};

long AccountInfoInteger(ENUM_ACCOUNT_INFO_INTEGER property);
double AccountInfoDouble(ENUM_ACCOUNT_INFO_DOUBLE property);
string AccountInfoString(ENUM_ACCOUNT_INFO_STRING property);

int SymbolsTotal(bool selected);
string SymbolName(int position, bool selected);
bool SymbolSelect(const string &name, bool select);
bool SymbolExist(const string &name, bool &is_custom);
bool SymbolIsSynchronized(const string &name);
long SymbolInfoInteger(const string &name, ENUM_SYMBOL_INFO_INTEGER property);
bool SymbolInfoInteger(const string &name, ENUM_SYMBOL_INFO_INTEGER property, long &value);
double SymbolInfoDouble(const string &name, ENUM_SYMBOL_INFO_DOUBLE property);
bool SymbolInfoDouble(const string &name, ENUM_SYMBOL_INFO_DOUBLE property, double &value);
string SymbolInfoString(const string &name, ENUM_SYMBOL_INFO_STRING property);
bool SymbolInfoString(const string &name, ENUM_SYMBOL_INFO_STRING property, string &value);
bool SymbolInfoTick(const string &name, MqlTick &tick);
int Digits();
double Point();

}  // namespace mql
