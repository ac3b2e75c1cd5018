// The process around an Expert Advisor: its settings, signals, and what a division by zero is.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "event.hpp"
#include "market.hpp"
#include "terminal.hpp"

namespace {

// glibc hands the command line to constructors. Priority 101 comes before every global variable without one: the
// Expert Advisor's are made from its inputs, and their constructors may use the whole runtime.
__attribute__((constructor(101))) void before_all(int count, char **arguments, char **) {
    runtime::read_settings(count, arguments);
}

// The translated program traps on a division by zero (see the compiler's options).
void on_trap(int) { runtime::critical("zero divide"); }
void on_stop(int) { runtime::request_stop(); }

}  // namespace

// A sanitizer ends the program with the code of a critical error.
extern "C" const char *__asan_default_options() { return "exitcode=3:detect_leaks=0"; }
extern "C" const char *__ubsan_default_options() { return "exitcode=3:print_stacktrace=1"; }

int main() {
    for (const int trap : {SIGILL, SIGFPE, SIGTRAP}) std::signal(trap, on_trap);
    for (const int stop : {SIGTERM, SIGINT}) std::signal(stop, on_stop);
    try {
        return runtime::run();
    } catch (const std::exception &error) {
        // The market said something that makes no sense.
        runtime::critical(error.what());
    }
}
