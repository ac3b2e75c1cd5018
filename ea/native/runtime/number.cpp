// What of the mathematics has a state or a critical error.
#include "number.hpp"

namespace {

unsigned int random_state = 1;

}  // namespace

namespace mql {

double MathMod(double value, double divisor) {
    if (divisor == 0.0) runtime::critical("zero divide");
    return std::fmod(value, divisor);
}

int MathRand() {
    random_state = random_state * 214013u + 2531011u;
    return static_cast<int>(random_state >> 16 & 0x7FFF);
}

void MathSrand(int seed) { random_state = static_cast<unsigned int>(seed); }

}  // namespace mql
