// UTF-16 and UTF-8, numbers in texts, and MQL5's string functions.
#include "text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "array.hpp"
#include "clock.hpp"

namespace runtime {

namespace {

constexpr char32_t unknown = 0xFFFD;

// One code point of UTF-8 at a position, which is moved on; malformed bytes become U+FFFD one by one.
char32_t next_point(std::string_view bytes, std::size_t &at) {
    const auto lead = static_cast<unsigned char>(bytes[at++]);
    if (lead < 0x80) return lead;
    const int more = lead >= 0xF0 && lead < 0xF8 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC2 && lead < 0xE0 ? 1 : -1;
    if (more < 0 || lead >= 0xF8 || at + static_cast<std::size_t>(more) > bytes.size()) return unknown;
    char32_t point = lead & (0x3F >> more);
    for (int i = 0; i < more; i++) {
        const auto byte = static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
        if ((byte & 0xC0) != 0x80) return unknown;
        point = point << 6 | (byte & 0x3F);
    }
    at += static_cast<std::size_t>(more);
    return point;
}

void append_utf8(std::string &out, char32_t point) {
    if (point < 0x80) {
        out += static_cast<char>(point);
        return;
    }
    const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    const unsigned lead = more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0;
    out += static_cast<char>(lead | point >> (6 * more));
    for (int i = more - 1; i >= 0; i--) out += static_cast<char>(0x80 | (point >> (6 * i) & 0x3F));
}

}  // namespace

std::u16string utf16(std::string_view bytes) {
    std::u16string out;
    out.reserve(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) {
        char32_t point = next_point(bytes, at);
        if (point < 0x10000) {
            out += static_cast<char16_t>(point);
        } else {
            point -= 0x10000;
            out += static_cast<char16_t>(0xD800 + (point >> 10));
            out += static_cast<char16_t>(0xDC00 + (point & 0x3FF));
        }
    }
    return out;
}

std::string utf8(std::u16string_view units) {
    std::string out;
    out.reserve(units.size());
    for (std::size_t i = 0; i < units.size(); i++) {
        char32_t point = units[i];
        const bool high = point >= 0xD800 && point < 0xDC00;
        if (high && i + 1 < units.size() && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000)
            point = 0x10000 + ((point - 0xD800) << 10) + (units[++i] - 0xDC00u);
        else if (point >= 0xD800 && point < 0xE000)
            point = unknown;
        append_utf8(out, point);
    }
    return out;
}

std::string utf8(const mql::string &text) { return utf8(text.units); }
mql::string text(std::string_view bytes) { return mql::string(utf16(bytes)); }

std::string encode(const std::u16string &units, mql::uint code_page) {
    if (code_page == mql::CP_UTF8) return utf8(units);
    std::string out;
    for (const char16_t unit : units) out += unit < 0x100 ? static_cast<char>(unit) : '?';
    return out;
}

std::u16string decode(std::string_view bytes, mql::uint code_page) {
    if (code_page == mql::CP_UTF8) return utf16(bytes);
    std::u16string out;
    for (const char byte : bytes) out += static_cast<unsigned char>(byte);
    return out;
}

std::string number_text(double value) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.16g", value);
    return buffer;
}

double number_of(const std::u16string &text) { return std::strtod(utf8(text).c_str(), nullptr); }
std::int64_t integer_of(const std::u16string &text) { return std::strtoll(utf8(text).c_str(), nullptr, 10); }

}  // namespace runtime

namespace mql {

namespace {

bool is_blank(char16_t unit) { return unit <= u' '; }
char16_t lower(char16_t unit) { return unit < 0x80 ? static_cast<char16_t>(std::tolower(unit)) : unit; }
char16_t upper(char16_t unit) { return unit < 0x80 ? static_cast<char16_t>(std::toupper(unit)) : unit; }

}  // namespace

string::string(datetime value) : string(TimeToString(value, TIME_DATE | TIME_SECONDS)) {}

int StringLen(const string &text) { return static_cast<int>(text.units.size()); }

int StringFind(const string &text, const string &part, int start) {
    if (start < 0) return -1;
    const auto found = text.units.find(part.units, static_cast<std::size_t>(start));
    return found == std::u16string::npos ? -1 : static_cast<int>(found);
}

string StringSubstr(const string &text, int start, int length) {
    if (start < 0 || start >= StringLen(text) || length == 0) return literal("");
    const auto count = length < 0 ? std::u16string::npos : static_cast<std::size_t>(length);
    return string(text.units.substr(static_cast<std::size_t>(start), count));
}

int StringReplace(string &text, const string &old, const string &replacement) {
    if (old.units.empty()) return -1;
    int count = 0;
    for (auto at = text.units.find(old.units); at != std::u16string::npos; count++) {
        text.units.replace(at, old.units.size(), replacement.units);
        at = text.units.find(old.units, at + replacement.units.size());
    }
    return count;
}

int StringTrimLeft(string &text) {
    const auto first = std::find_if_not(text.units.begin(), text.units.end(), is_blank);
    const auto count = static_cast<int>(first - text.units.begin());
    text.units.erase(text.units.begin(), first);
    return count;
}

int StringTrimRight(string &text) {
    const auto last = std::find_if_not(text.units.rbegin(), text.units.rend(), is_blank).base();
    const auto count = static_cast<int>(text.units.end() - last);
    text.units.erase(last, text.units.end());
    return count;
}

bool StringToLower(string &text) {
    std::transform(text.units.begin(), text.units.end(), text.units.begin(), lower);
    return true;
}

bool StringToUpper(string &text) {
    std::transform(text.units.begin(), text.units.end(), text.units.begin(), upper);
    return true;
}

ushort StringGetCharacter(const string &text, int position) {
    return position < 0 || position >= StringLen(text) ? 0 : text.units[static_cast<std::size_t>(position)];
}

bool StringSetCharacter(string &text, int position, ushort unit) {
    if (position < 0 || position > StringLen(text)) return false;
    if (unit == 0)
        text.units.resize(static_cast<std::size_t>(position));
    else if (position == StringLen(text))
        text.units += static_cast<char16_t>(unit);
    else
        text.units[static_cast<std::size_t>(position)] = unit;
    text.null = false;
    return true;
}

bool StringAdd(string &text, const string &part) {
    text += part;
    return true;
}

int StringConcatenate(string &text, const string &first, const string &second) {
    text = first + second;
    return StringLen(text);
}

int StringCompare(const string &left, const string &right, bool case_sensitive) {
    string a = left, b = right;
    if (!case_sensitive) {
        StringToLower(a);
        StringToLower(b);
    }
    return a.units == b.units ? 0 : a.units < b.units ? -1 : 1;
}

bool StringFill(string &text, ushort unit) {
    std::fill(text.units.begin(), text.units.end(), static_cast<char16_t>(unit));
    return true;
}

bool StringInit(string &text, int length, ushort unit) {
    if (length < 0) return false;
    text = string(unit == 0 ? std::u16string() : std::u16string(static_cast<std::size_t>(length), unit));
    return true;
}

int StringBufferLen(const string &text) { return text.null ? 0 : StringLen(text) + 1; }

string ShortToString(ushort unit) { return string(std::u16string(1, static_cast<char16_t>(unit))); }
string CharToString(uchar code) { return string(std::u16string(1, static_cast<char16_t>(code))); }
long StringToInteger(const string &text) { return runtime::integer_of(text.units); }
double StringToDouble(const string &text) { return runtime::number_of(text.units); }

string IntegerToString(long value, int width, ushort fill) {
    auto digits = runtime::utf16(std::to_string(value));
    if (static_cast<int>(digits.size()) < width)
        digits.insert(0, static_cast<std::size_t>(width) - digits.size(), static_cast<char16_t>(fill));
    return string(digits);
}

// Negative digits: scientific notation, as MQL5 has it.
string DoubleToString(double value, int digits) {
    char buffer[512];
    if (digits < 0)
        std::snprintf(buffer, sizeof buffer, "%.*e", std::min(-digits, 16), value);
    else
        std::snprintf(buffer, sizeof buffer, "%.*f", std::min(digits, 16), value);
    return literal(buffer);
}

double NormalizeDouble(double value, int digits) {
    const double scale = std::pow(10.0, std::clamp(digits, 0, 8));
    const double scaled = std::round(value * scale);
    return std::isfinite(scaled) ? scaled / scale : value;
}

}  // namespace mql
