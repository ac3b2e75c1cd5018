// The connection to the market: one JSON text a line, out and back, over a Unix socket.
//
// A request is sent once and never again: what became of one that broke on the way is for the Expert Advisor to find.
#pragma once
#include <string>

namespace runtime {

enum class Delivery { Answered, NotSent, Unknown };

class Link {
public:
    Link() = default;
    Link(const Link &) = delete;
    Link &operator=(const Link &) = delete;
    ~Link();

    // Connects first where there is no connection. The answer is without its line end.
    Delivery call(const std::string &request, std::string &answer);

private:
    bool connect();
    void disconnect();
    bool send(const std::string &line);
    bool receive(std::string &line);

    int socket = -1;
    std::string received;
};

}  // namespace runtime
