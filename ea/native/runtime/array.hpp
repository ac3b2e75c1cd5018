// Arrays as in MQL5: passed by reference only, every index checked, new elements not initialised.
#pragma once
#include <algorithm>
#include <cstring>
#include <deque>
#include <initializer_list>
#include <memory>
#include <vector>

#include "text.hpp"

namespace runtime {

// Fills new elements with a pattern before they are made, so that reading what was never written shows.
template <class T>
struct Patterned : std::allocator<T> {
    template <class U>
    struct rebind {
        using other = Patterned<U>;
    };
    template <class U>
    void construct(U *place) {
        std::memset(static_cast<void *>(place), 0xFE, sizeof(U));
        ::new (static_cast<void *>(place)) U;
    }
    template <class U, class... Arguments>
    void construct(U *place, Arguments &&...arguments) {
        ::new (static_cast<void *>(place)) U(std::forward<Arguments>(arguments)...);
    }
};

[[noreturn]] void out_of_range(long index, std::size_t size);

}  // namespace runtime

namespace mql {

template <class T>
class array {
public:
    // A vector of bool would have no elements that can be referred to.
    using Items = std::conditional_t<std::same_as<T, bool>, std::deque<T>, std::vector<T, runtime::Patterned<T>>>;

    array() = default;
    array(std::initializer_list<T> list) : items(list) {}
    array(const array &) = delete;
    array &operator=(const array &) = delete;

    // An array of a declared size, which cannot be changed; what the list leaves out is zero.
    static array fixed(std::size_t size) { return array(Items(size)); }
    static array fixed(std::size_t size, std::initializer_list<T> list) {
        Items items(size, T());
        if (list.size() > size) runtime::out_of_range(static_cast<long>(size), size);
        std::copy(list.begin(), list.end(), items.begin());
        return array(std::move(items));
    }

    template <class I>
    T &operator[](I index) {
        return items[checked(static_cast<long>(index))];
    }
    template <class I>
    const T &operator[](I index) const {
        return items[checked(static_cast<long>(index))];
    }

    Items items;
    bool is_fixed = false;

protected:
    explicit array(Items items) : items(std::move(items)), is_fixed(true) {}
    array(Items items, bool is_fixed) : items(std::move(items)), is_fixed(is_fixed) {}

private:
    std::size_t checked(long index) const {
        if (index < 0 || static_cast<std::size_t>(index) >= items.size()) runtime::out_of_range(index, items.size());
        return static_cast<std::size_t>(index);
    }
};

// The array in a struct or class, which is copied with it.
template <class T>
class member_array : public array<T> {
public:
    member_array() = default;
    member_array(std::initializer_list<T> list) : array<T>(list) {}
    member_array(const member_array &other) : array<T>(other.items, other.is_fixed) {}
    member_array &operator=(const member_array &other) {
        this->items = other.items;
        this->is_fixed = other.is_fixed;
        return *this;
    }
    static member_array fixed(std::size_t size) { return member_array(typename array<T>::Items(size)); }

private:
    explicit member_array(typename array<T>::Items items) : array<T>(std::move(items)) {}
};

template <class T>
int ArraySize(const array<T> &values) {
    return static_cast<int>(values.items.size());
}

template <class T>
bool ArrayIsDynamic(const array<T> &values) {
    return !values.is_fixed;
}

template <class T>
int ArrayResize(array<T> &values, int size, int reserve = 0) {
    if (size < 0 || (values.is_fixed && static_cast<std::size_t>(size) != values.items.size())) return -1;
    if constexpr (!std::same_as<T, bool>)
        if (reserve > 0 && static_cast<std::size_t>(size) > values.items.capacity())
            values.items.reserve(static_cast<std::size_t>(size) + static_cast<std::size_t>(reserve));
    values.items.resize(static_cast<std::size_t>(size));
    return size;
}

template <class T>
void ArrayFree(array<T> &values) {
    if (!values.is_fixed) values.items.clear();
}

// How many of a source are meant, and the room they need; -1: none can be copied.
int copy_count(std::size_t available, int start, int count);

template <class T, class S>
int ArrayCopy(array<T> &target, const array<S> &source, int target_start = 0, int source_start = 0,
              int count = WHOLE_ARRAY) {
    int copied = copy_count(source.items.size(), source_start, count);
    if (copied < 0 || target_start < 0) return 0;
    const std::size_t needed = static_cast<std::size_t>(target_start + copied);
    if (needed > target.items.size()) {
        if (target.is_fixed)
            copied = std::max(0, static_cast<int>(target.items.size()) - target_start);
        else
            target.items.resize(needed);
    }
    // Through a copy of the part, for target and source may be the same array.
    const std::vector<S> part(source.items.begin() + source_start, source.items.begin() + source_start + copied);
    for (int i = 0; i < copied; i++) target.items[static_cast<std::size_t>(target_start + i)] = static_cast<T>(part[static_cast<std::size_t>(i)]);
    return copied;
}

template <class T>
bool ArrayRemove(array<T> &values, uint start, uint count = static_cast<uint>(WHOLE_ARRAY)) {
    if (values.is_fixed || start >= values.items.size()) return false;
    const std::size_t removed = std::min<std::size_t>(count, values.items.size() - start);
    values.items.erase(values.items.begin() + start, values.items.begin() + static_cast<long>(start + removed));
    return true;
}

template <class T>
bool ArrayInsert(array<T> &target, const array<T> &source, uint target_start, uint source_start = 0,
                 uint count = static_cast<uint>(WHOLE_ARRAY)) {
    if (target.is_fixed || target_start > target.items.size() || source_start > source.items.size()) return false;
    const auto inserted = static_cast<long>(std::min<std::size_t>(count, source.items.size() - source_start));
    const std::vector<T> part(source.items.begin() + source_start, source.items.begin() + source_start + inserted);
    target.items.insert(target.items.begin() + target_start, part.begin(), part.end());
    return true;
}

template <class T>
bool ArrayReverse(array<T> &values) {
    std::reverse(values.items.begin(), values.items.end());
    return true;
}

template <class T>
bool ArraySort(array<T> &values) {
    std::sort(values.items.begin(), values.items.end());
    return true;
}

// The index of the value in a sorted array, or of the nearest below it where it is not there.
template <class T>
int ArrayBsearch(const array<T> &values, T value) {
    if (values.items.empty()) return -1;
    const auto found = std::lower_bound(values.items.begin(), values.items.end(), value);
    if (found != values.items.end() && !(value < *found)) return static_cast<int>(found - values.items.begin());
    return std::max(0, static_cast<int>(found - values.items.begin()) - 1);
}

template <class T, class V>
int ArrayInitialize(array<T> &values, V value) {
    std::fill(values.items.begin(), values.items.end(), static_cast<T>(value));
    return ArraySize(values);
}

template <class T, class V>
void ArrayFill(array<T> &values, int start, int count, V value) {
    for (int i = 0; i < count; i++) values[start + i] = static_cast<T>(value);
}

template <class T>
int ArrayMaximum(const array<T> &values) {
    if (values.items.empty()) return -1;
    return static_cast<int>(std::max_element(values.items.begin(), values.items.end()) - values.items.begin());
}

template <class T>
int ArrayMinimum(const array<T> &values) {
    if (values.items.empty()) return -1;
    return static_cast<int>(std::min_element(values.items.begin(), values.items.end()) - values.items.begin());
}

template <class T>
void ZeroMemory(T &value) {
    value = T{};
}

template <class T>
void ZeroMemory(array<T> &values) {
    std::fill(values.items.begin(), values.items.end(), T{});
}

int StringSplit(const string &text, ushort separator, array<string> &parts);

// The terminating zero is copied too, unless a count is given.
template <class T>
    requires(sizeof(T) == 1)
int StringToCharArray(const string &text, array<T> &bytes, int start = 0, int count = -1, uint code_page = CP_ACP) {
    const std::string encoded = runtime::encode(text.units, code_page);
    const std::size_t wanted = count < 0 ? encoded.size() + 1 : std::min(encoded.size(), static_cast<std::size_t>(count));
    if (start < 0) return 0;
    const std::size_t needed = static_cast<std::size_t>(start) + wanted;
    if (needed > bytes.items.size() && !bytes.is_fixed) bytes.items.resize(needed);
    const std::size_t room = bytes.items.size() - std::min(bytes.items.size(), static_cast<std::size_t>(start));
    const std::size_t copied = std::min(wanted, room);
    for (std::size_t i = 0; i < copied; i++)
        bytes.items[static_cast<std::size_t>(start) + i] = static_cast<T>(i < encoded.size() ? encoded[i] : 0);
    return static_cast<int>(copied);
}

// Up to the first zero.
template <class T>
    requires(sizeof(T) == 1)
string CharArrayToString(const array<T> &bytes, int start = 0, int count = -1, uint code_page = CP_ACP) {
    std::string plain;
    for (std::size_t i = static_cast<std::size_t>(std::max(0, start)); i < bytes.items.size(); i++) {
        if (bytes.items[i] == 0 || (count >= 0 && plain.size() >= static_cast<std::size_t>(count))) break;
        plain += static_cast<char>(bytes.items[i]);
    }
    return string(runtime::decode(plain, code_page));
}

}  // namespace mql
