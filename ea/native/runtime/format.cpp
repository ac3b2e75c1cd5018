// The specifications of StringFormat, and the lines of the log.
#include "format.hpp"

#include <cstdio>
#include <cstring>

#include "clock.hpp"
#include "terminal.hpp"

namespace runtime {

namespace {

struct Specification {
    std::string flags_and_width;
    bool wide = false;
    char kind = 0;
};

// Reads what follows a percent sign; the position is moved behind it.
Specification specification(const std::string &pattern, std::size_t &at) {
    Specification found;
    while (at < pattern.size() && std::strchr("-+ 0#", pattern[at]) != nullptr) found.flags_and_width += pattern[at++];
    while (at < pattern.size() && (std::isdigit(pattern[at]) != 0 || pattern[at] == '.'))
        found.flags_and_width += pattern[at++];
    if (pattern.compare(at, 3, "I64") == 0 || pattern.compare(at, 3, "I32") == 0) {
        found.wide = pattern[at + 1] == '6';
        at += 3;
    } else if (pattern.compare(at, 2, "ll") == 0) {
        found.wide = true;
        at += 2;
    } else if (at < pattern.size() && (pattern[at] == 'h' || pattern[at] == 'l')) {
        at++;
    }
    if (at < pattern.size()) found.kind = pattern[at++];
    return found;
}

template <class T>
std::string printed(const std::string &specification, T value) {
    std::string out(512, '\0');
    const int length = std::snprintf(out.data(), out.size(), specification.c_str(), value);
    if (length >= static_cast<int>(out.size())) {
        out.resize(static_cast<std::size_t>(length) + 1);
        std::snprintf(out.data(), out.size(), specification.c_str(), value);
    }
    out.resize(static_cast<std::size_t>(length));
    return out;
}

class Formatter {
public:
    Formatter(const mql::string &pattern, const std::vector<Argument> &arguments)
        : pattern(utf8(pattern)), arguments(arguments) {}

    std::string run() {
        std::string out;
        for (std::size_t at = 0; at < pattern.size();) {
            if (pattern[at] != '%') {
                out += pattern[at++];
            } else if (pattern.compare(at, 2, "%%") == 0) {
                out += '%';
                at += 2;
            } else {
                out += value(specification(pattern, ++at));
            }
        }
        if (used != arguments.size()) refuse("has fewer specifications than parameters");
        return out;
    }

private:
    std::string value(const Specification &wanted) {
        if (used >= arguments.size()) refuse("has more specifications than parameters");
        const Argument &given = arguments[used++];
        const std::string percent = "%" + wanted.flags_and_width;
        if (wanted.kind != 0 && std::strchr("diuxXoc", wanted.kind) != nullptr) return integer(percent, wanted, given);
        if (wanted.kind != 0 && std::strchr("eEfgGaA", wanted.kind) != nullptr) {
            if (given.kind != Argument::Kind::Floating) refuse("wants a double");
            return printed(percent + wanted.kind, given.floating);
        }
        if (wanted.kind != 's') refuse("has a specification that MQL5 does not know");
        if (given.kind != Argument::Kind::Text) refuse("wants a string");
        return printed(percent + "s", given.words.null ? "(null)" : utf8(given.words).c_str());
    }

    std::string integer(const std::string &percent, const Specification &wanted, const Argument &given) {
        const bool wide = given.kind == Argument::Kind::Integer64;
        if (!wide && given.kind != Argument::Kind::Integer32) refuse("wants an integer");
        if (wide && !wanted.wide) refuse("cuts a 64-bit integer: it needs I64");
        if (!wide && wanted.wide) refuse("wants a 64-bit integer");
        if (wanted.kind == 'c') return utf8(std::u16string(1, static_cast<char16_t>(given.integer)));
        if (wide) return printed(percent + "ll" + wanted.kind, static_cast<long long>(given.integer));
        return printed(percent + wanted.kind, static_cast<int>(given.integer));
    }

    [[noreturn]] void refuse(const std::string &why) const {
        critical("format \"" + pattern + "\", parameter " + std::to_string(used) + ": " + why);
    }

    const std::string pattern;
    const std::vector<Argument> &arguments;
    std::size_t used = 0;
};

std::string last_comment;

}  // namespace

mql::string format(const mql::string &pattern, const std::vector<Argument> &arguments) {
    return text(Formatter(pattern, arguments).run());
}

mql::string join(const std::vector<mql::string> &parts) {
    mql::string out = mql::literal("");
    for (const auto &part : parts) out += part;
    return out;
}

void log(const mql::string &words) {
    const std::int64_t now = unix_ms();
    const std::string time = utf8(mql::TimeToString(mql::TimeLocal(), mql::TIME_DATE | mql::TIME_SECONDS));
    std::printf("%s.%03d\t%s (%s,H1)\t%s\n", time.c_str(), static_cast<int>(now % 1000), program.name,
                settings().symbol.c_str(), utf8(words).c_str());
    std::fflush(stdout);
}

void show_comment(const mql::string &words) { last_comment = utf8(words); }

}  // namespace runtime
