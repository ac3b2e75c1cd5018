// The command line and the inputs, errors, and what the terminal tells about itself.
#include "terminal.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <unistd.h>

#include "clock.hpp"
#include "format.hpp"
#include "market.hpp"

namespace runtime {

namespace {

// Of builds whose documentation this follows.
constexpr long terminal_build = 5200;

volatile std::sig_atomic_t stop_wanted = 0;
std::int64_t stop_since = 0;
bool removal_wanted = false;
int deinit_reason = mql::REASON_PROGRAM;
std::map<std::string, std::string> *inputs = nullptr;

[[noreturn]] void usage(const std::string &why) {
    std::fprintf(stderr,
                 "%s\nusage: %s [--market SOCKET] [--files DIR] [--inputs FILE.set] [--symbol NAME] [--allow URL]...\n"
                 "  [--no-trading] [--timers N] [--server-hours N]\n",
                 why.c_str(), program.name);
    std::_Exit(2);
}

// MetaTrader writes .set files in UTF-16; a value may carry the optimiser's limits behind "||".
void read_inputs(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) usage("the file of inputs " + path + " can't be read");
    std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (content.starts_with("\xFF\xFE")) {
        std::u16string units;
        for (std::size_t i = 2; i + 1 < content.size(); i += 2)
            units += static_cast<char16_t>(static_cast<unsigned char>(content[i]) |
                                           static_cast<unsigned char>(content[i + 1]) << 8);
        content = utf8(units);
    } else if (content.starts_with("\xEF\xBB\xBF")) {
        content.erase(0, 3);
    }
    for (std::size_t begin = 0; begin < content.size();) {
        const std::size_t end = std::min(content.find('\n', begin), content.size());
        std::string line = content.substr(begin, end - begin);
        begin = end + 1;
        while (!line.empty() && line.back() == '\r') line.pop_back();
        const std::size_t equals = line.find('=');
        if (line.starts_with(';') || equals == std::string::npos) continue;
        (*inputs)[line.substr(0, equals)] = line.substr(equals + 1, line.find("||", equals) - equals - 1);
    }
}

}  // namespace

Settings &settings() {
    static Settings settings;
    return settings;
}

void read_settings(int count, char **arguments) {
    inputs = new std::map<std::string, std::string>;
    Settings &read = settings();
    for (int i = 1; i < count; i++) {
        const std::string name = arguments[i];
        if (name == "--no-trading") {
            read.trading = false;
            continue;
        }
        if (i + 1 == count) usage(name + " wants a value, or is unknown");
        const std::string value = arguments[++i];
        if (name == "--market")
            read.market = value;
        else if (name == "--files")
            read.files = value;
        else if (name == "--inputs")
            read.inputs = value;
        else if (name == "--symbol")
            read.symbol = value;
        else if (name == "--allow")
            read.allowed.push_back(value);
        else if (name == "--timers")
            read.timers = std::atol(value.c_str());
        else if (name == "--server-hours")
            read.server_hours = std::atol(value.c_str());
        else
            usage(name + " is unknown");
    }
    if (!read.inputs.empty()) read_inputs(read.inputs);
}

const std::string *input_text(const char *name) {
    const auto found = inputs->find(name);
    return found == inputs->end() ? nullptr : &found->second;
}

// A date as its text, or as the seconds that MetaTrader writes.
template <>
mql::datetime input(const char *name, mql::datetime by_default) {
    const std::string *given = input_text(name);
    if (given == nullptr) return by_default;
    if (given->find('.') != std::string::npos) return mql::StringToTime(text(*given));
    return std::atol(given->c_str());
}

void fail(int error) { mql::_LastError = error; }

void request_stop() { stop_wanted = 1; }

bool stop_requested() { return stop_wanted != 0; }

std::int64_t stopping_for() {
    if (!stop_requested()) return 0;
    if (stop_since == 0) stop_since = monotonic_ms();
    return monotonic_ms() - stop_since;
}

bool removed() { return removal_wanted; }
void set_reason(int reason) { deinit_reason = reason; }

// Known where the program was built with a sanitizer: the trace names the lines of the source.
extern "C" __attribute__((weak)) void __sanitizer_print_stack_trace();

void critical(const std::string &why) {
    log(text("critical error: " + why));
    if (__sanitizer_print_stack_trace != nullptr) __sanitizer_print_stack_trace();
    std::_Exit(3);
}

}  // namespace runtime

namespace mql {

int _LastError = 0;
// Made before the Expert Advisor's own global variables, which may use it.
const string _Symbol __attribute__((init_priority(102))) = runtime::text(runtime::settings().symbol);

int GetLastError() { return _LastError; }
void ResetLastError() { _LastError = 0; }
void SetUserError(ushort error) { _LastError = ERR_USER_ERROR_FIRST + error; }
bool IsStopped() { return runtime::stop_requested() || runtime::removal_wanted; }
int UninitializeReason() { return runtime::deinit_reason; }
void ExpertRemove() { runtime::removal_wanted = true; }
string Symbol() { return _Symbol; }
ENUM_TIMEFRAMES Period() { return PERIOD_H1; }

// Ends early where the program is to stop.
void Sleep(int milliseconds) {
    constexpr std::int64_t slice = 10;
    const std::int64_t until = runtime::monotonic_ms() + milliseconds;
    for (std::int64_t left = milliseconds; left > 0 && !IsStopped(); left = until - runtime::monotonic_ms())
        usleep(static_cast<useconds_t>(std::min(left, slice) * 1000));
    runtime::market().synchronise();
}

long TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER property) {
    switch (property) {
        case TERMINAL_CONNECTED: return runtime::market().is_connected();
        case TERMINAL_TRADE_ALLOWED: return runtime::settings().trading;
        case TERMINAL_BUILD: return runtime::terminal_build;
        case TERMINAL_X64: return 1;
        case TERMINAL_CPU_CORES: return sysconf(_SC_NPROCESSORS_ONLN);
        default: return 0;
    }
}

double TerminalInfoDouble(ENUM_TERMINAL_INFO_DOUBLE) { return 0.0; }

string TerminalInfoString(ENUM_TERMINAL_INFO_STRING property) {
    switch (property) {
        case TERMINAL_NAME: return literal("Native terminal");
        case TERMINAL_LANGUAGE: return literal("English");
        case TERMINAL_PATH:
        case TERMINAL_DATA_PATH: return runtime::text(runtime::settings().files);
        case TERMINAL_COMMONDATA_PATH: return runtime::text(runtime::settings().files + "/Common");
        default: return literal("");
    }
}

long MQLInfoInteger(ENUM_MQL_INFO_INTEGER property) {
    switch (property) {
        case MQL_TRADE_ALLOWED: return runtime::settings().trading;
        case MQL_PROGRAM_TYPE: return PROGRAM_EXPERT;
        default: return 0;
    }
}

string MQLInfoString(ENUM_MQL_INFO_STRING property) {
    return property == MQL_PROGRAM_NAME ? runtime::text(runtime::program.name) : literal("");
}

}  // namespace mql
