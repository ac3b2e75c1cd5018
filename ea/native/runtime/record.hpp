// The properties of a position, an order and a deal: how MQL5's names are read from the terminal's records.
#pragma once
#include "view.hpp"

namespace runtime {

long integer_of(const Position &position, mql::ENUM_POSITION_PROPERTY_INTEGER property);
double double_of(const Position &position, mql::ENUM_POSITION_PROPERTY_DOUBLE property);
std::string string_of(const Position &position, mql::ENUM_POSITION_PROPERTY_STRING property);

long integer_of(const Order &order, mql::ENUM_ORDER_PROPERTY_INTEGER property);
double double_of(const Order &order, mql::ENUM_ORDER_PROPERTY_DOUBLE property);
std::string string_of(const Order &order, mql::ENUM_ORDER_PROPERTY_STRING property);

long integer_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_INTEGER property);
double double_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_DOUBLE property);
std::string string_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_STRING property);

}  // namespace runtime
