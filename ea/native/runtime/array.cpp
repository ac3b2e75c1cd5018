// What arrays have in common, whatever they hold.
#include "array.hpp"

namespace runtime {

void out_of_range(long index, std::size_t size) {
    critical("array out of range: index " + std::to_string(index) + " of " + std::to_string(size));
}

}  // namespace runtime

namespace mql {

int copy_count(std::size_t available, int start, int count) {
    const int size = static_cast<int>(available);
    if (start < 0 || start > size) return -1;
    return count < 0 ? size - start : std::min(count, size - start);
}

int StringSplit(const string &text, ushort separator, array<string> &parts) {
    if (parts.is_fixed) return -1;
    parts.items.clear();
    if (text.units.empty()) return 0;
    for (std::size_t begin = 0; begin != std::u16string::npos;) {
        const auto end = text.units.find(static_cast<char16_t>(separator), begin);
        const auto length = end == std::u16string::npos ? end : end - begin;
        parts.items.push_back(string(text.units.substr(begin, length)));
        begin = end == std::u16string::npos ? end : end + 1;
    }
    return ArraySize(parts);
}

}  // namespace mql
