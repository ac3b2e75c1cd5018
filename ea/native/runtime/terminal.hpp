// The program's surroundings: the command line, the terminal's state, the last error, the end.
#pragma once
#include <string>
#include <vector>

#include "constants.hpp"
#include "text.hpp"

namespace mql {

struct MqlTradeTransaction;
struct MqlTradeRequest;
struct MqlTradeResult;

}  // namespace mql

namespace runtime {

// The translated Expert Advisor: its name, and those of its event handlers that it has.
struct Program {
    const char *name;
    int (*init)();
    void (*deinit)(int reason);
    void (*timer)();
    void (*tick)();
    void (*transaction)(const mql::MqlTradeTransaction &, const mql::MqlTradeRequest &, const mql::MqlTradeResult &);
};
extern const Program program;

// What OnInit returned; one that returns nothing has succeeded.
template <class Init>
int init_code(Init init) {
    if constexpr (std::same_as<decltype(init()), void>) {
        init();
        return 0;
    } else {
        return static_cast<int>(init());
    }
}

// The command line. It is read before the Expert Advisor's global variables are made, for these may use it.
struct Settings {
    std::string market;
    std::string files = ".";
    std::string inputs;
    std::string symbol = "EURUSD";
    std::vector<std::string> allowed;
    bool trading = true;
    long timers = -1;
    // The broker's clock minus UTC.
    long server_hours = 0;
};
Settings &settings();
void read_settings(int count, char **arguments);

// The text of an input in the file of --inputs; none: the default of the source holds.
const std::string *input_text(const char *name);

template <class T>
T input(const char *name, T by_default) {
    const std::string *given = input_text(name);
    if (given == nullptr) return by_default;
    if constexpr (std::same_as<T, mql::string>)
        return text(*given);
    else if constexpr (std::same_as<T, bool>)
        return *given == "true" || *given == "1";
    else
        return static_cast<T>(mql::string(text(*given)));
}
template <>
mql::datetime input(const char *name, mql::datetime by_default);

// Sets what GetLastError tells.
void fail(int error);
void request_stop();
bool stop_requested();
// Since when a stop has been wanted, in milliseconds.
std::int64_t stopping_for();
// Whether the Expert Advisor asked for its own removal.
bool removed();
void set_reason(int reason);

}  // namespace runtime

namespace mql {

extern int _LastError;
extern const string _Symbol;

int GetLastError();
void ResetLastError();
void SetUserError(ushort error);
bool IsStopped();
int UninitializeReason();
void ExpertRemove();
void Sleep(int milliseconds);
long TerminalInfoInteger(ENUM_TERMINAL_INFO_INTEGER property);
double TerminalInfoDouble(ENUM_TERMINAL_INFO_DOUBLE property);
string TerminalInfoString(ENUM_TERMINAL_INFO_STRING property);
long MQLInfoInteger(ENUM_MQL_INFO_INTEGER property);
string MQLInfoString(ENUM_MQL_INFO_STRING property);
string Symbol();
ENUM_TIMEFRAMES Period();

}  // namespace mql
