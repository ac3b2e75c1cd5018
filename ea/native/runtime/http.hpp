// WebRequest: synchronous, for addresses on the terminal's list only.
#pragma once
#include "array.hpp"

namespace mql {

int WebRequest(const string &method, const string &url, const string &headers, int timeout, const array<char> &data,
               array<char> &result, string &result_headers);
int WebRequest(const string &method, const string &url, const string &cookie, const string &referer, int timeout,
               const array<char> &data, int data_size, array<char> &result, string &result_headers);

}  // namespace mql
