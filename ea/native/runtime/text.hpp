// Strings as in MQL5: UTF-16 units, a NULL state that is not the empty string, and conversions from and to numbers.
#pragma once
#include <compare>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#undef NULL

namespace mql {

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using color = uint;
static_assert(sizeof(long) == 8, "MQL5's long has 64 bits");

struct datetime;
class string;

}  // namespace mql

namespace runtime {

// What MQL5 counts as a number: the simple types but string and datetime.
template <class T>
concept Scalar = std::is_arithmetic_v<T> || std::is_enum_v<T>;

std::u16string utf16(std::string_view utf8);
std::string utf8(std::u16string_view utf16);
std::string utf8(const mql::string &text);
mql::string text(std::string_view utf8);

std::string number_text(double value);
double number_of(const std::u16string &text);
std::int64_t integer_of(const std::u16string &text);

// Stops the program as MQL5 does after a critical error: told in the log, OnDeinit is not called, exit code 3.
[[noreturn]] void critical(const std::string &why);

}  // namespace runtime

namespace mql {

// The constant NULL: no string, no date.
struct Null {};
inline constexpr Null NULL{};

// Seconds since 1970. A type of its own, because it is printed as a date.
struct datetime {
    std::int64_t seconds = 0;

    datetime() = default;
    datetime(Null) {}
    template <runtime::Scalar T>
    datetime(T value) : seconds(static_cast<std::int64_t>(value)) {}

    // As a long it goes anywhere; other types want a cast.
    template <std::same_as<long> T>
    operator T() const {
        return seconds;
    }
    template <runtime::Scalar T>
        requires(!std::same_as<T, long>)
    explicit operator T() const {
        return static_cast<T>(seconds);
    }
    datetime &operator+=(long value) {
        seconds += value;
        return *this;
    }
    datetime &operator-=(long value) {
        seconds -= value;
        return *this;
    }
    datetime &operator++() {
        seconds++;
        return *this;
    }

    // Arithmetic is that of a long. Written out, because with a plain conversion `c ? time : 0` would be ambiguous.
    friend bool operator==(datetime, datetime) = default;
    friend auto operator<=>(datetime, datetime) = default;
    template <runtime::Scalar T>
    friend bool operator==(datetime left, T right) {
        return left.seconds == static_cast<std::int64_t>(right);
    }
    template <runtime::Scalar T>
    friend auto operator<=>(datetime left, T right) {
        return left.seconds <=> static_cast<std::int64_t>(right);
    }
    friend long operator-(datetime left, datetime right) { return left.seconds - right.seconds; }
    friend long operator+(datetime left, datetime right) { return left.seconds + right.seconds; }
    template <runtime::Scalar T>
    friend auto operator+(datetime left, T right) {
        return left.seconds + right;
    }
    template <runtime::Scalar T>
    friend auto operator+(T left, datetime right) {
        return left + right.seconds;
    }
    template <runtime::Scalar T>
    friend auto operator-(datetime left, T right) {
        return left.seconds - right;
    }
    template <runtime::Scalar T>
    friend auto operator*(datetime left, T right) {
        return left.seconds * right;
    }
    template <runtime::Scalar T>
    friend auto operator/(datetime left, T right) {
        return left.seconds / right;
    }
    template <runtime::Scalar T>
    friend auto operator%(datetime left, T right) {
        return left.seconds % right;
    }
};

class string {
public:
    string() = default;
    string(Null) {}
    string(datetime value);
    explicit string(std::u16string units) : units(std::move(units)), null(false) {}
    template <runtime::Scalar T>
    string(T value) : null(false) {
        if constexpr (std::same_as<T, bool>)
            units = value ? u"true" : u"false";
        else if constexpr (std::floating_point<T>)
            units = runtime::utf16(runtime::number_text(static_cast<double>(value)));
        else if constexpr (std::is_enum_v<T>)
            units = runtime::utf16(std::to_string(static_cast<std::underlying_type_t<T>>(value)));
        else
            units = runtime::utf16(std::to_string(value));
    }

    template <runtime::Scalar T>
        requires(!std::same_as<T, bool>)
    operator T() const {
        if constexpr (std::floating_point<T>)
            return static_cast<T>(runtime::number_of(units));
        else
            return static_cast<T>(runtime::integer_of(units));
    }
    explicit operator bool() const { return units == u"true" || runtime::integer_of(units) != 0; }

    string &operator+=(const string &other) {
        units += other.units;
        null = false;
        return *this;
    }
    friend string operator+(const string &left, const string &right) { return string(left.units + right.units); }
    template <runtime::Scalar T>
    friend string operator+(const string &left, T right) {
        return left + string(right);
    }
    template <runtime::Scalar T>
    friend string operator+(T left, const string &right) {
        return string(left) + right;
    }
    friend string operator+(const string &left, datetime right) { return left + string(right); }
    friend string operator+(datetime left, const string &right) { return string(left) + right; }

    // NULL and "" differ where they are compared.
    friend bool operator==(const string &left, const string &right) {
        return left.null == right.null && left.units == right.units;
    }
    friend bool operator!=(const string &left, const string &right) { return !(left == right); }
    friend bool operator<(const string &left, const string &right) { return left.units < right.units; }
    friend bool operator>(const string &left, const string &right) { return left.units > right.units; }
    friend bool operator<=(const string &left, const string &right) { return left.units <= right.units; }
    friend bool operator>=(const string &left, const string &right) { return left.units >= right.units; }

    std::u16string units;
    bool null = true;
};

// What the translator makes of literals.
inline string literal(const char *utf8) { return string(runtime::utf16(utf8)); }
constexpr ushort character(char16_t unit) { return unit; }

inline constexpr int CP_ACP = 0;
inline constexpr int CP_OEMCP = 1;
inline constexpr int CP_UTF7 = 65000;
inline constexpr int CP_UTF8 = 65001;
inline constexpr int WHOLE_ARRAY = -1;

int StringLen(const string &text);
int StringFind(const string &text, const string &part, int start = 0);
string StringSubstr(const string &text, int start, int length = -1);
int StringReplace(string &text, const string &old, const string &replacement);
int StringTrimLeft(string &text);
int StringTrimRight(string &text);
bool StringToLower(string &text);
bool StringToUpper(string &text);
ushort StringGetCharacter(const string &text, int position);
bool StringSetCharacter(string &text, int position, ushort unit);
bool StringAdd(string &text, const string &part);
int StringConcatenate(string &text, const string &first, const string &second);
int StringCompare(const string &left, const string &right, bool case_sensitive = true);
bool StringFill(string &text, ushort unit);
bool StringInit(string &text, int length = 0, ushort unit = 0);
int StringBufferLen(const string &text);
string ShortToString(ushort unit);
string CharToString(uchar code);
long StringToInteger(const string &text);
double StringToDouble(const string &text);
string IntegerToString(long value, int width = 0, ushort fill = ' ');
string DoubleToString(double value, int digits = 8);
double NormalizeDouble(double value, int digits);

}  // namespace mql

namespace runtime {

// A text in the bytes of a code page, and back; what the page does not hold becomes a question mark.
std::string encode(const std::u16string &units, mql::uint code_page);
std::u16string decode(std::string_view bytes, mql::uint code_page);

}  // namespace runtime
