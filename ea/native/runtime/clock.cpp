// Clocks, and dates as texts and structures.
#include "clock.hpp"

#include <cstdio>
#include <ctime>

#include "market.hpp"

namespace runtime {

namespace {

std::int64_t nanoseconds(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return now.tv_sec * 1'000'000'000L + now.tv_nsec;
}

const std::int64_t started = nanoseconds(CLOCK_MONOTONIC);

}  // namespace

std::int64_t unix_ms() { return nanoseconds(CLOCK_REALTIME) / 1'000'000; }
std::int64_t monotonic_ms() { return nanoseconds(CLOCK_BOOTTIME) / 1'000'000; }

}  // namespace runtime

namespace mql {

namespace {

std::tm parts_of(datetime time) {
    const std::time_t seconds = time.seconds;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return parts;
}

datetime with_parts(datetime time, MqlDateTime &parts) {
    TimeToStruct(time, parts);
    return time;
}

datetime from_fields(int year, int month, int day, int hour, int minute, int second) {
    std::tm parts{};
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    parts.tm_mday = day;
    parts.tm_hour = hour;
    parts.tm_min = minute;
    parts.tm_sec = second;
    return timegm(&parts);
}

}  // namespace

datetime date_literal(const char *text) { return StringToTime(literal(text)); }

datetime TimeCurrent() { return runtime::market().last_quote_ms() / 1000; }
datetime TimeCurrent(MqlDateTime &parts) { return with_parts(TimeCurrent(), parts); }
datetime TimeTradeServer() { return runtime::market().server_ms() / 1000; }
datetime TimeTradeServer(MqlDateTime &parts) { return with_parts(TimeTradeServer(), parts); }
datetime TimeLocal() { return TimeGMT().seconds - TimeGMTOffset(); }
datetime TimeLocal(MqlDateTime &parts) { return with_parts(TimeLocal(), parts); }
datetime TimeGMT() { return runtime::unix_ms() / 1000; }
datetime TimeGMT(MqlDateTime &parts) { return with_parts(TimeGMT(), parts); }

int TimeGMTOffset() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    return static_cast<int>(-parts.tm_gmtoff);
}

int TimeDaylightSavings() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    return parts.tm_isdst > 0 ? -3600 : 0;
}

bool TimeToStruct(datetime time, MqlDateTime &parts) {
    const std::tm fields = parts_of(time);
    parts = {fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday, fields.tm_hour,
             fields.tm_min,         fields.tm_sec,     fields.tm_wday, fields.tm_yday};
    return true;
}

datetime StructToTime(const MqlDateTime &parts) {
    return from_fields(parts.year, parts.mon, parts.day, parts.hour, parts.min, parts.sec);
}

string TimeToString(datetime time, int mode) {
    const std::tm parts = parts_of(time);
    char buffer[64];
    std::string out;
    if ((mode & TIME_DATE) != 0) {
        std::strftime(buffer, sizeof buffer, "%Y.%m.%d", &parts);
        out = buffer;
    }
    if ((mode & (TIME_MINUTES | TIME_SECONDS)) != 0) {
        std::strftime(buffer, sizeof buffer, (mode & TIME_SECONDS) != 0 ? "%H:%M:%S" : "%H:%M", &parts);
        out += (out.empty() ? "" : " ") + std::string(buffer);
    }
    return runtime::text(out);
}

// "2026.11.24", "2026.11.24 21:00", "2026.11.24 21:00:30" or "21:00" of today; anything else is 0.
datetime StringToTime(const string &text) {
    const std::string plain = runtime::utf8(text);
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
    if (std::sscanf(plain.c_str(), "%d.%d.%d %d:%d:%d", &year, &month, &day, &hour, &minute, &second) >= 3)
        return from_fields(year, month, day, hour, minute, second);
    if (std::sscanf(plain.c_str(), "%d:%d:%d", &hour, &minute, &second) >= 2) {
        const std::int64_t today = TimeLocal().seconds / 86400 * 86400;
        return today + hour * 3600 + minute * 60 + second;
    }
    return 0;
}

uint GetTickCount() { return static_cast<uint>(runtime::monotonic_ms()); }
ulong GetTickCount64() { return static_cast<ulong>(runtime::monotonic_ms()); }
ulong GetMicrosecondCount() {
    return static_cast<ulong>((runtime::nanoseconds(CLOCK_MONOTONIC) - runtime::started) / 1000);
}

}  // namespace mql
