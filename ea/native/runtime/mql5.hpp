// What a translated program sees of the runtime.
#pragma once
#include "account.hpp"
#include "array.hpp"
#include "clock.hpp"
#include "constants.hpp"
#include "event.hpp"
#include "file.hpp"
#include "format.hpp"
#include "global.hpp"
#include "http.hpp"
#include "names.hpp"
#include "number.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "trade.hpp"

// The C library's macro would hide MQL5's constant.
#undef NULL

// Predefined variables that are read anew each time.
#define _Digits Digits()
#define _Point Point()
#define _Period Period()
#define _StopFlag IsStopped()
#define _UninitReason UninitializeReason()
