// HTTP by libcurl: one handle, so that connections are kept. Redirects are followed, as MQL5 does it.
#include "http.hpp"

#include <curl/curl.h>

#include "market.hpp"
#include "terminal.hpp"

namespace runtime {

namespace {

constexpr long redirects_max = 10;
// A program that is to stop gets this much longer for its last requests.
constexpr std::int64_t stopping_ms_max = 2500;

struct Answer {
    std::string headers;
    std::string body;
};

bool is_allowed(const std::string &url) {
    for (const std::string &allowed : settings().allowed) {
        if (!url.starts_with(allowed)) continue;
        const char next = url.size() == allowed.size() ? '/' : url[allowed.size()];
        if (allowed.ends_with('/') || next == '/' || next == '?' || next == '#') return true;
    }
    return false;
}

std::size_t take_body(char *bytes, std::size_t size, std::size_t count, void *target) {
    static_cast<Answer *>(target)->body.append(bytes, size * count);
    return size * count;
}

// Only those of the last answer, without the status line.
std::size_t take_header(char *bytes, std::size_t size, std::size_t count, void *target) {
    const std::string_view line(bytes, size * count);
    std::string &headers = static_cast<Answer *>(target)->headers;
    if (line.starts_with("HTTP/"))
        headers.clear();
    else if (line != "\r\n")
        headers += line;
    return line.size();
}

int watch_stop(void *, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return stopping_for() > stopping_ms_max; }

int error_of(CURLcode code) {
    switch (code) {
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL: return mql::ERR_WEBREQUEST_INVALID_ADDRESS;
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT: return mql::ERR_WEBREQUEST_CONNECT_FAILED;
        case CURLE_OPERATION_TIMEDOUT: return mql::ERR_WEBREQUEST_TIMEOUT;
        default: return mql::ERR_WEBREQUEST_REQUEST_FAILED;
    }
}

CURL *handle() {
    static CURL *handle = [] {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        return curl_easy_init();
    }();
    return handle;
}

curl_slist *header_list(const std::string &headers) {
    // curl would wait for a "100 Continue" before larger bodies.
    curl_slist *list = curl_slist_append(nullptr, "Expect:");
    for (std::size_t begin = 0; begin < headers.size();) {
        const std::size_t end = std::min(headers.find('\n', begin), headers.size());
        std::string line = headers.substr(begin, end - begin);
        begin = end + 1;
        while (!line.empty() && line.back() == '\r') line.pop_back();
        if (!line.empty()) list = curl_slist_append(list, line.c_str());
    }
    return list;
}

int request(const std::string &method, const std::string &url, const std::string &headers, int timeout,
            const std::string &body, Answer &answer) {
    if (!is_allowed(url)) {
        fail(mql::ERR_FUNCTION_NOT_ALLOWED);
        return -1;
    }
    CURL *curl = handle();
    curl_easy_reset(curl);
    curl_slist *list = header_list(headers);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "MetaTrader 5 Terminal/5.5200 (native)");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, redirects_max);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch_stop);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
    if (method == "POST" || !body.empty()) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method.c_str());
    const CURLcode done = curl_easy_perform(curl);
    curl_slist_free_all(list);
    if (done != CURLE_OK) {
        fail(error_of(done));
        return -1;
    }
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return static_cast<int>(status);
}

}  // namespace

}  // namespace runtime

namespace mql {

int WebRequest(const string &method, const string &url, const string &headers, int timeout, const array<char> &data,
               array<char> &result, string &result_headers) {
    runtime::Answer answer;
    const int status = runtime::request(runtime::utf8(method), runtime::utf8(url), runtime::utf8(headers), timeout,
                                        std::string(data.items.begin(), data.items.end()), answer);
    result.items.assign(answer.body.begin(), answer.body.end());
    result_headers = runtime::text(answer.headers);
    // The world went on meanwhile.
    runtime::market().synchronise();
    return status;
}

int WebRequest(const string &method, const string &url, const string &cookie, const string &referer, int timeout,
               const array<char> &data, int data_size, array<char> &result, string &result_headers) {
    string headers = literal("");
    if (StringLen(cookie) > 0) headers += literal("Cookie: ") + cookie + literal("\r\n");
    if (StringLen(referer) > 0) headers += literal("Referer: ") + referer + literal("\r\n");
    array<char> part;
    ArrayCopy(part, data, 0, 0, data_size);
    return WebRequest(method, url, headers, timeout, part, result, result_headers);
}

}  // namespace mql
