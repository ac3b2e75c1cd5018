// Formatted texts and the log. A specification that does not match its parameter stops the program: MQL5 would print
// rubbish.
#pragma once
#include <vector>

#include "array.hpp"
#include "text.hpp"

namespace runtime {

struct Argument {
    enum class Kind { Integer32, Integer64, Floating, Text };

    Kind kind = Kind::Integer32;
    std::int64_t integer = 0;
    double floating = 0;
    mql::string words;

    Argument(const mql::string &value) : kind(Kind::Text), words(value) {}
    Argument(mql::datetime value) : kind(Kind::Integer64), integer(value.seconds) {}
    template <Scalar T>
    Argument(T value) {
        if constexpr (std::floating_point<T>) {
            kind = Kind::Floating;
            floating = static_cast<double>(value);
        } else {
            kind = sizeof(T) == 8 ? Kind::Integer64 : Kind::Integer32;
            integer = static_cast<std::int64_t>(value);
        }
    }
};

mql::string format(const mql::string &pattern, const std::vector<Argument> &arguments);
mql::string join(const std::vector<mql::string> &parts);
// One line of the Experts log on the standard output.
void log(const mql::string &text);
void show_comment(const mql::string &text);

}  // namespace runtime

namespace mql {

template <class... Values>
string StringFormat(const string &pattern, const Values &...values) {
    return runtime::format(pattern, {runtime::Argument(values)...});
}

template <class... Values>
void PrintFormat(const string &pattern, const Values &...values) {
    runtime::log(runtime::format(pattern, {runtime::Argument(values)...}));
}

template <class... Values>
void Print(const Values &...values) {
    runtime::log(runtime::join({string(values)...}));
}

template <class... Values>
void Alert(const Values &...values) {
    runtime::log(literal("Alert: ") + runtime::join({string(values)...}));
}

// All elements on one line; of doubles so many digits, where a number of them is given.
template <class T>
void ArrayPrint(const array<T> &values, uint digits = 0xFFFFFFFF, const string &separator = literal(" ")) {
    std::vector<string> parts;
    for (const T &value : values.items) {
        if (!parts.empty()) parts.push_back(separator);
        if constexpr (std::floating_point<T>)
            parts.push_back(digits > 16 ? string(value) : DoubleToString(value, static_cast<int>(digits)));
        else
            parts.push_back(string(value));
    }
    runtime::log(runtime::join(parts));
}

// What the chart would show; kept, not logged.
template <class... Values>
void Comment(const Values &...values) {
    runtime::show_comment(runtime::join({string(values)...}));
}

}  // namespace mql
