//! Ports for servers that tests start, the bridge's tests too.

/// A port that nobody else is given as long as this process lives: a socket has it and does not listen. Servers that take
/// such a port, as all do here, can listen on it, again and again.
pub(crate) fn free_port() -> u16 {
    let holder = tokio::net::TcpSocket::new_v4().expect("a socket");
    holder.set_reuseaddr(true).expect("an option");
    holder.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = holder.local_addr().expect("an address").port();
    std::mem::forget(holder);
    port
}
