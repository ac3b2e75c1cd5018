// Files in the terminal's sandbox. Sharing is as on Windows: a file opened without a share flag is open for one only.
#pragma once
#include "array.hpp"
#include "constants.hpp"
#include "text.hpp"

namespace mql {

int FileOpen(const string &name, int flags, const string &delimiter, uint code_page = CP_ACP);
int FileOpen(const string &name, int flags, short delimiter = '\t', uint code_page = CP_ACP);
void FileClose(int handle);
void FileFlush(int handle);
bool FileIsEnding(int handle);
bool FileIsExist(const string &name, int common = 0);
bool FileDelete(const string &name, int common = 0);
bool FileMove(const string &from, int common, const string &to, int mode);
bool FileCopy(const string &from, int common, const string &to, int mode);
bool FileSeek(int handle, long offset, ENUM_FILE_POSITION origin);
ulong FileTell(int handle);
ulong FileSize(int handle);
bool FolderCreate(const string &name, int common = 0);
bool FolderDelete(const string &name, int common = 0);
string FileReadString(int handle, int length = -1);
uint FileWriteString(int handle, const string &text, int length = -1);

}  // namespace mql

namespace runtime {

mql::uint write_fields(int handle, const std::vector<mql::string> &fields);
mql::uint write_bytes(int handle, const void *bytes, std::size_t count);
mql::uint read_bytes(int handle, void *bytes, std::size_t count);
// Bytes from the position to the end of the file.
std::size_t bytes_left(int handle);

}  // namespace runtime

namespace mql {

template <class... Values>
uint FileWrite(int handle, const Values &...values) {
    return runtime::write_fields(handle, {string(values)...});
}

template <class T>
    requires std::is_trivially_copyable_v<T>
uint FileWriteArray(int handle, const array<T> &values, int start = 0, int count = WHOLE_ARRAY) {
    const int copied = copy_count(values.items.size(), start, count);
    return copied <= 0 ? 0 : runtime::write_bytes(handle, values.items.data() + start, static_cast<std::size_t>(copied) * sizeof(T)) / static_cast<uint>(sizeof(T));
}

template <class T>
    requires std::is_trivially_copyable_v<T>
uint FileReadArray(int handle, array<T> &values, int start = 0, int count = WHOLE_ARRAY) {
    const std::size_t there = runtime::bytes_left(handle) / sizeof(T);
    const std::size_t wanted = count < 0 ? there : std::min(there, static_cast<std::size_t>(count));
    const std::size_t needed = static_cast<std::size_t>(start) + wanted;
    if (needed > values.items.size() && !values.is_fixed) values.items.resize(needed);
    const std::size_t room = std::min(wanted, values.items.size() - static_cast<std::size_t>(start));
    return runtime::read_bytes(handle, values.items.data() + start, room * sizeof(T)) / static_cast<uint>(sizeof(T));
}

}  // namespace mql
