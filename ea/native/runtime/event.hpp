// The events of an Expert Advisor, delivered one after the other.
#pragma once
#include "text.hpp"

namespace mql {

bool EventSetTimer(int seconds);
bool EventSetMillisecondTimer(int milliseconds);
void EventKillTimer();

}  // namespace mql

namespace runtime {

// From OnInit to OnDeinit; the process's exit code.
int run();

}  // namespace runtime
