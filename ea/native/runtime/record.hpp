// The properties of a position, an order and a deal: how MQL5's names are read from the terminal's records.
#pragma once
#include "text.hpp"
#include "view.hpp"

namespace runtime {

long property_of(const Position &position, mql::ENUM_POSITION_PROPERTY_INTEGER property);
double property_of(const Position &position, mql::ENUM_POSITION_PROPERTY_DOUBLE property);
mql::string property_of(const Position &position, mql::ENUM_POSITION_PROPERTY_STRING property);

long property_of(const Order &order, mql::ENUM_ORDER_PROPERTY_INTEGER property);
double property_of(const Order &order, mql::ENUM_ORDER_PROPERTY_DOUBLE property);
mql::string property_of(const Order &order, mql::ENUM_ORDER_PROPERTY_STRING property);

long property_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_INTEGER property);
double property_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_DOUBLE property);
mql::string property_of(const Deal &deal, mql::ENUM_DEAL_PROPERTY_STRING property);

}  // namespace runtime
