// The table of open files, the sandbox, and the share modes of Windows by locks that end with the process.
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

#include "file.hpp"
#include "terminal.hpp"

namespace fs = std::filesystem;

namespace runtime {

namespace {

// Bytes far behind any content, locked to tell others who reads, who writes and who minds.
constexpr off_t reading_mark = 0x4000'0000'0000'0000;
constexpr off_t writing_mark = reading_mark + 1;
constexpr std::size_t open_files_max = 64;
// Of a file: what is written goes to the system when so much has come together, or when it is flushed.
constexpr std::size_t buffer_bytes = 4096;
// What the C library calls SEEK_SET, SEEK_CUR and SEEK_END: names that MQL5 has too.
constexpr int from_start = 0, from_here = 1, from_end = 2;

struct File {
    int descriptor = -1;
    int flags = 0;
    mql::uint code_page = mql::CP_ACP;
    std::u16string delimiter;
    // Written by the program, not yet by the system: it is lost with the process.
    std::string unwritten;

    ~File() {
        write_out();
        close(descriptor);
    }
    bool write_out() {
        std::size_t written = 0;
        while (written < unwritten.size()) {
            const ssize_t now = write(descriptor, unwritten.data() + written, unwritten.size() - written);
            if (now < 0 && errno == EINTR) continue;
            if (now <= 0) break;
            written += static_cast<std::size_t>(now);
        }
        unwritten.erase(0, written);
        return unwritten.empty();
    }
    bool is_text() const { return (flags & mql::FILE_BIN) == 0; }
    bool is_unicode() const { return (flags & mql::FILE_ANSI) == 0; }
};

std::map<int, std::unique_ptr<File>> &files() {
    static std::map<int, std::unique_ptr<File>> files;
    return files;
}

File *opened(int handle) {
    const auto found = files().find(handle);
    if (found != files().end()) return found->second.get();
    fail(mql::ERR_INVALID_FILEHANDLE);
    return nullptr;
}

// With everything that was written before.
File *find(int handle) {
    File *file = opened(handle);
    if (file != nullptr && !file->write_out()) fail(mql::ERR_FILE_WRITEERROR);
    return file;
}

// The place of a name in the sandbox; empty where the name leads out of it.
std::string path_of(const mql::string &name, bool common) {
    std::string relative = utf8(name);
    for (char &c : relative)
        if (c == '\\') c = '/';
    const fs::path wanted(relative);
    bool outside = relative.empty() || wanted.is_absolute() || relative.find(':') != std::string::npos;
    for (const auto &part : wanted) outside = outside || part == "..";
    if (outside) {
        fail(mql::ERR_WRONG_FILENAME);
        return "";
    }
    return fs::path(settings().files) / (common ? "Common" : "") / wanted;
}

bool lock(int descriptor, short kind, off_t mark) {
    struct flock region {};
    region.l_type = kind;
    region.l_whence = 0;
    region.l_start = mark;
    region.l_len = 1;
    return fcntl(descriptor, F_OFD_SETLK, &region) == 0;
}

// An access that is allowed to others too is a shared mark, one that is denied to them an exclusive one.
bool claim(int descriptor, int flags) {
    const auto mark = [&](int access, int share, off_t place) {
        if ((flags & share) == 0) return lock(descriptor, F_WRLCK, place);
        return (flags & access) == 0 || lock(descriptor, F_RDLCK, place);
    };
    return mark(mql::FILE_READ, mql::FILE_SHARE_READ, reading_mark) &&
           mark(mql::FILE_WRITE, mql::FILE_SHARE_WRITE, writing_mark);
}

// Whether nobody has the file open, which Windows wants before it is moved or deleted.
bool is_free(const std::string &path) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return false;
    const bool free = claim(descriptor, 0);
    close(descriptor);
    return free;
}

int open_file(const std::string &path, int flags) {
    const bool writes = (flags & mql::FILE_WRITE) != 0;
    if (writes) fs::create_directories(fs::path(path).parent_path());
    // Exclusive marks need a descriptor that may write, also for a reader.
    int descriptor = open(path.c_str(), (writes ? O_RDWR | O_CREAT : O_RDWR) | O_CLOEXEC, 0600);
    if (descriptor < 0) {
        fail(errno == ENOENT ? mql::ERR_FILE_NOT_EXIST : mql::ERR_CANNOT_OPEN_FILE);
        return -1;
    }
    const bool emptied = writes && (flags & mql::FILE_READ) == 0;
    if (!claim(descriptor, flags) || (emptied && ftruncate(descriptor, 0) != 0)) {
        close(descriptor);
        fail(mql::ERR_CANNOT_OPEN_FILE);
        return -1;
    }
    return descriptor;
}

// One unit of text; none at the end. In a file of ANSI text a unit is a byte.
bool next_unit(const File &file, char16_t &unit) {
    unsigned char bytes[2] = {0, 0};
    const std::size_t size = file.is_unicode() ? 2 : 1;
    if (read(file.descriptor, bytes, size) != static_cast<ssize_t>(size)) return false;
    unit = static_cast<char16_t>(bytes[0] | bytes[1] << 8);
    return true;
}

bool is_end(const File &file) {
    struct stat status {};
    fstat(file.descriptor, &status);
    return lseek(file.descriptor, 0, from_here) >= status.st_size;
}

std::string in_file(const File &file, const std::u16string &units) {
    if (!file.is_unicode()) return encode(units, file.code_page);
    std::string bytes;
    for (const char16_t unit : units) {
        bytes += static_cast<char>(unit & 0xFF);
        bytes += static_cast<char>(unit >> 8);
    }
    return bytes;
}

// To the end of the line, or of the field in a table; the separators are passed over.
std::u16string read_field(const File &file) {
    std::u16string read;
    std::string bytes;
    char16_t unit = 0;
    const bool table = (file.flags & mql::FILE_CSV) != 0;
    while (next_unit(file, unit) && unit != u'\n') {
        if (table && file.delimiter.find(unit) != std::u16string::npos) break;
        if (unit == u'\r') continue;
        if (file.is_unicode())
            read += unit;
        else
            bytes += static_cast<char>(unit);
    }
    return file.is_unicode() ? read : decode(bytes, file.code_page);
}

}  // namespace

mql::uint write_bytes(int handle, const void *bytes, std::size_t count) {
    File *file = opened(handle);
    if (file == nullptr) return 0;
    if ((file->flags & mql::FILE_WRITE) == 0) {
        fail(mql::ERR_FILE_NOTTOWRITE);
        return 0;
    }
    file->unwritten.append(static_cast<const char *>(bytes), count);
    if (file->unwritten.size() > buffer_bytes && !file->write_out()) {
        fail(mql::ERR_FILE_WRITEERROR);
        return 0;
    }
    return static_cast<mql::uint>(count);
}

mql::uint read_bytes(int handle, void *bytes, std::size_t count) {
    const File *file = find(handle);
    if (file == nullptr) return 0;
    const ssize_t got = read(file->descriptor, bytes, count);
    return got < 0 ? 0 : static_cast<mql::uint>(got);
}

std::size_t bytes_left(int handle) {
    const File *file = find(handle);
    if (file == nullptr) return 0;
    struct stat status {};
    fstat(file->descriptor, &status);
    return static_cast<std::size_t>(std::max<off_t>(0, status.st_size - lseek(file->descriptor, 0, from_here)));
}

mql::uint write_fields(int handle, const std::vector<mql::string> &fields) {
    const File *file = find(handle);
    if (file == nullptr) return 0;
    std::u16string line;
    for (std::size_t i = 0; i < fields.size(); i++) {
        if (i > 0 && (file->flags & mql::FILE_CSV) != 0) line += file->delimiter;
        line += fields[i].units;
    }
    const std::string bytes = in_file(*file, line + u"\r\n");
    return write_bytes(handle, bytes.data(), bytes.size());
}

}  // namespace runtime

namespace mql {

using runtime::fail;

int FileOpen(const string &name, int flags, const string &delimiter, uint code_page) {
    const std::string path = runtime::path_of(name, (flags & FILE_COMMON) != 0);
    if (path.empty()) return INVALID_HANDLE;
    if (runtime::files().size() >= runtime::open_files_max) {
        fail(ERR_TOO_MANY_FILES);
        return INVALID_HANDLE;
    }
    const int descriptor = runtime::open_file(path, flags);
    if (descriptor < 0) return INVALID_HANDLE;
    auto file = std::make_unique<runtime::File>();
    file->descriptor = descriptor;
    file->flags = flags;
    file->code_page = code_page;
    file->delimiter = delimiter.units;
    int handle = 1;
    while (runtime::files().contains(handle)) handle++;
    const bool marked = file->is_text() && file->is_unicode();
    const bool empty = runtime::is_end(*file);
    runtime::files()[handle] = std::move(file);
    // A file of UTF-16 begins with a mark of its byte order.
    if (marked && empty && (flags & FILE_WRITE) != 0)
        runtime::write_bytes(handle, "\xFF\xFE", 2);
    else if (marked && !empty)
        lseek(descriptor, 2, runtime::from_start);
    return handle;
}

int FileOpen(const string &name, int flags, short delimiter, uint code_page) {
    return FileOpen(name, flags, ShortToString(static_cast<ushort>(delimiter)), code_page);
}

void FileClose(int handle) {
    if (runtime::find(handle) != nullptr) runtime::files().erase(handle);
}

// From here on it outlives the process, not the machine.
void FileFlush(int handle) { runtime::find(handle); }

bool FileIsEnding(int handle) {
    const runtime::File *file = runtime::find(handle);
    return file == nullptr || runtime::is_end(*file);
}

bool FileIsExist(const string &name, int common) {
    const std::string path = runtime::path_of(name, (common & FILE_COMMON) != 0);
    const bool exists = !path.empty() && fs::is_regular_file(path);
    if (!exists) fail(ERR_FILE_NOT_EXIST);
    return exists;
}

bool FileDelete(const string &name, int common) {
    const std::string path = runtime::path_of(name, (common & FILE_COMMON) != 0);
    if (path.empty() || !runtime::is_free(path) || unlink(path.c_str()) != 0) {
        fail(ERR_CANNOT_DELETE_FILE);
        return false;
    }
    return true;
}

bool FileMove(const string &from, int common, const string &to, int mode) {
    const std::string source = runtime::path_of(from, (common & FILE_COMMON) != 0);
    const std::string target = runtime::path_of(to, (mode & FILE_COMMON) != 0);
    if (source.empty() || target.empty()) return false;
    const bool exists = fs::exists(target);
    if (exists && ((mode & FILE_REWRITE) == 0 || !runtime::is_free(target))) {
        fail(ERR_FILE_CANNOT_REWRITE);
        return false;
    }
    if (!runtime::is_free(source)) {
        fail(fs::exists(source) ? ERR_CANNOT_OPEN_FILE : ERR_FILE_NOT_EXIST);
        return false;
    }
    fs::create_directories(fs::path(target).parent_path());
    return rename(source.c_str(), target.c_str()) == 0;
}

bool FileCopy(const string &from, int common, const string &to, int mode) {
    const std::string source = runtime::path_of(from, (common & FILE_COMMON) != 0);
    const std::string target = runtime::path_of(to, (mode & FILE_COMMON) != 0);
    if (source.empty() || target.empty()) return false;
    const auto how = (mode & FILE_REWRITE) != 0 ? fs::copy_options::overwrite_existing : fs::copy_options::none;
    std::error_code error;
    if (fs::copy_file(source, target, how, error)) return true;
    fail(fs::exists(source) ? ERR_FILE_CANNOT_REWRITE : ERR_FILE_NOT_EXIST);
    return false;
}

bool FileSeek(int handle, long offset, ENUM_FILE_POSITION origin) {
    const runtime::File *file = runtime::find(handle);
    const int whence = origin == SEEK_SET ? runtime::from_start : origin == SEEK_CUR ? runtime::from_here : runtime::from_end;
    return file != nullptr && lseek(file->descriptor, offset, whence) >= 0;
}

ulong FileTell(int handle) {
    const runtime::File *file = runtime::find(handle);
    return file == nullptr ? 0 : static_cast<ulong>(lseek(file->descriptor, 0, runtime::from_here));
}

ulong FileSize(int handle) {
    const runtime::File *file = runtime::find(handle);
    struct stat status {};
    if (file != nullptr) fstat(file->descriptor, &status);
    return static_cast<ulong>(status.st_size);
}

bool FolderCreate(const string &name, int common) {
    const std::string path = runtime::path_of(name, (common & FILE_COMMON) != 0);
    std::error_code error;
    if (!path.empty()) fs::create_directories(path, error);
    return !path.empty() && fs::is_directory(path);
}

bool FolderDelete(const string &name, int common) {
    const std::string path = runtime::path_of(name, (common & FILE_COMMON) != 0);
    return !path.empty() && rmdir(path.c_str()) == 0;
}

string FileReadString(int handle, int length) {
    const runtime::File *file = runtime::find(handle);
    if (file == nullptr) return literal("");
    if (file->is_text()) return string(runtime::read_field(*file));
    std::u16string read;
    char16_t unit = 0;
    while (static_cast<int>(read.size()) < length && runtime::next_unit(*file, unit)) read += unit;
    return string(read);
}

uint FileWriteString(int handle, const string &text, int length) {
    const runtime::File *file = runtime::find(handle);
    if (file == nullptr) return 0;
    std::u16string units = text.units;
    if (!file->is_text() && length >= 0) units.resize(static_cast<std::size_t>(length));
    const std::string bytes = runtime::in_file(*file, units);
    return runtime::write_bytes(handle, bytes.data(), bytes.size());
}

}  // namespace mql
