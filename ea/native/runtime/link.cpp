// The Unix socket behind the market.
#include "link.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "terminal.hpp"

namespace runtime {

namespace {

// A market that answers this late counts as gone.
constexpr time_t answer_seconds_max = 60;
constexpr std::size_t chunk = 1 << 16;

}  // namespace

Link::~Link() { disconnect(); }

bool Link::connect() {
    const std::string &path = settings().market;
    sockaddr_un address{};
    if (path.empty() || path.size() >= sizeof address.sun_path) return false;
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return false;
    const timeval limit{answer_seconds_max, 0};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (::connect(socket, reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0) return true;
    disconnect();
    return false;
}

void Link::disconnect() {
    if (socket >= 0) close(socket);
    socket = -1;
    received.clear();
}

bool Link::send(const std::string &line) {
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t now = ::send(socket, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (now < 0 && errno == EINTR) continue;
        if (now <= 0) return false;
        sent += static_cast<std::size_t>(now);
    }
    return true;
}

bool Link::receive(std::string &line) {
    for (std::size_t seen = 0;;) {
        const std::size_t end = received.find('\n', seen);
        if (end != std::string::npos) {
            line = received.substr(0, end);
            received.erase(0, end + 1);
            return true;
        }
        seen = received.size();
        char bytes[chunk];
        const ssize_t got = recv(socket, bytes, sizeof bytes, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        received.append(bytes, static_cast<std::size_t>(got));
    }
}

Delivery Link::call(const std::string &request, std::string &answer) {
    // What the market closed while nothing was said is noticed before anything is sent.
    char byte = 0;
    if (socket >= 0 && recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) disconnect();
    if (socket < 0 && !connect()) return Delivery::NotSent;
    if (send(request + '\n') && receive(answer)) return Delivery::Answered;
    disconnect();
    return Delivery::Unknown;
}

}  // namespace runtime
