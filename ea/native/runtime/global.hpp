// The terminal's global variables: numbers that outlive the program, but are on disk only after a clean end or a flush.
#pragma once
#include "text.hpp"

namespace mql {

datetime GlobalVariableSet(const string &name, double value);
double GlobalVariableGet(const string &name);
bool GlobalVariableGet(const string &name, double &value);
bool GlobalVariableCheck(const string &name);
bool GlobalVariableDel(const string &name);
bool GlobalVariableTemp(const string &name);
bool GlobalVariableSetOnCondition(const string &name, double value, double expected);
datetime GlobalVariableTime(const string &name);
string GlobalVariableName(int index);
int GlobalVariablesTotal();
int GlobalVariablesDeleteAll(const string &prefix = NULL, datetime before = 0);
void GlobalVariablesFlush();

}  // namespace mql
