// MQL5's mathematics. Minimum, maximum and absolute value keep the type of integers.
#pragma once
#include <algorithm>
// The limits of the types, INT_MAX and the like, are the C library's: the same names with the same values.
#include <cfloat>
#include <climits>
#include <cmath>

#include "text.hpp"

namespace mql {

template <class A, class B>
auto MathMax(A left, B right) {
    using Common = std::common_type_t<A, B>;
    return std::max(static_cast<Common>(left), static_cast<Common>(right));
}
template <class A, class B>
auto MathMin(A left, B right) {
    using Common = std::common_type_t<A, B>;
    return std::min(static_cast<Common>(left), static_cast<Common>(right));
}
template <class T>
T MathAbs(T value) {
    return value < 0 ? -value : value;
}
inline double MathFloor(double value) { return std::floor(value); }
inline double MathCeil(double value) { return std::ceil(value); }
inline double MathRound(double value) { return std::round(value); }
inline double MathPow(double base, double exponent) { return std::pow(base, exponent); }
inline double MathSqrt(double value) { return std::sqrt(value); }
inline double MathExp(double value) { return std::exp(value); }
inline double MathLog(double value) { return std::log(value); }
inline double MathLog10(double value) { return std::log10(value); }
double MathMod(double value, double divisor);
inline bool MathIsValidNumber(double value) { return std::isfinite(value); }
// 0 to 32767.
int MathRand();
void MathSrand(int seed);

inline constexpr double EMPTY_VALUE = DBL_MAX;

}  // namespace mql
