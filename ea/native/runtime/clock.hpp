// The machine's clock and the broker's, as MQL5 shows them: seconds since 1970, without a time zone of their own.
#pragma once
#include "text.hpp"

namespace mql {

struct MqlDateTime {
    int year;
    int mon;
    int day;
    int hour;
    int min;
    int sec;
    int day_of_week;
    int day_of_year;
};

inline constexpr int TIME_DATE = 1;
inline constexpr int TIME_MINUTES = 2;
inline constexpr int TIME_SECONDS = 4;

// What the translator makes of D'2026.11.24 21:00'.
datetime date_literal(const char *text);

// The time of the last quote: it stands still while prices do.
datetime TimeCurrent();
datetime TimeCurrent(MqlDateTime &parts);
// The broker's clock, reckoned on by this machine's.
datetime TimeTradeServer();
datetime TimeTradeServer(MqlDateTime &parts);
datetime TimeLocal();
datetime TimeLocal(MqlDateTime &parts);
datetime TimeGMT();
datetime TimeGMT(MqlDateTime &parts);
int TimeGMTOffset();
int TimeDaylightSavings();
bool TimeToStruct(datetime time, MqlDateTime &parts);
datetime StructToTime(const MqlDateTime &parts);
string TimeToString(datetime time, int mode = TIME_DATE | TIME_MINUTES);
datetime StringToTime(const string &text);
uint GetTickCount();
ulong GetTickCount64();
ulong GetMicrosecondCount();

}  // namespace mql

namespace runtime {

// Milliseconds since 1970 and since the machine's start.
std::int64_t unix_ms();
std::int64_t monotonic_ms();

}  // namespace runtime
