//! Whose request it is: the address that limits count by.
//!
//! Invariant: what a sender writes into `X-Forwarded-For` counts only where a trusted proxy passed it on, and then only
//! the part that the proxies themselves wrote.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

use crate::config::Proxies;

/// The other end of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// What limits count by: an IPv4 address, or an IPv6 network of 64 bits, for that is what one customer is given.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The sender of a request that came from this peer: the right-most address that is no trusted proxy's. A proxy appends
/// whom it heard from, so all that is further to the left may be invented. Where that one can't be read it is the proxy.
pub(super) fn sender(peer: IpAddr, headers: &HeaderMap, trusted: &Proxies) -> IpAddr {
    if !trusted.contains(peer) {
        return peer;
    }
    let mut nearest = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    // By the byte: what a sender wrote to the left must not make unreadable what a proxy appended.
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        let Some(address) = str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else { return nearest };
        if !trusted.contains(address) {
            return address;
        }
        nearest = address;
    }
    nearest
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|socket: std::net::SocketAddr| socket.ip()).ok();
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn proxies() -> Proxies {
        "10.0.0.0/8, 192.0.2.7, fd00::/8".parse().unwrap()
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_nobody_else() {
        let cases: [(&str, &[&str], &str); 13] = [
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", &["10.0.0.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["8.8.8.8, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["8.8.8.8, 198.51.100.1, 192.0.2.7"], "198.51.100.1"),
            ("10.0.0.1", &["8.8.8.8", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
            ("10.0.0.1", &["10.1.1.1,10.2.2.2"], "10.1.1.1"),
            ("10.0.0.1", &["8.8.8.8, nonsense, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &["8.8.8.8, "], "10.0.0.1"),
            ("10.0.0.1", &["ä, 198.51.100.1"], "198.51.100.1"),
            ("fd00::1", &["198.51.100.1:1234"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
        ];
        for (peer, lines, expected) in cases {
            assert_eq!(sender(ip(peer), &forwarded(lines), &proxies()), ip(expected), "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_ipv6_customer_is_one_sender() {
        assert_eq!(counted(ip("2001:db8:1:2:3:4:5:6")), counted(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(counted(ip("2001:db8:1:2::1")), counted(ip("2001:db8:1:3::1")));
        assert_eq!(counted(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(counted(ip("192.0.2.1")), counted(ip("192.0.2.2")));
    }

    proptest! {
        /// Goal: a header that an untrusted peer made up changes nothing.
        #[test]
        fn an_untrusted_peer_is_itself_whatever_it_writes(
            peer in any::<[u8; 4]>().prop_map(IpAddr::from),
            line in "[ -~]{0,60}",
        ) {
            prop_assume!(!proxies().contains(peer));
            prop_assert_eq!(sender(peer, &forwarded(&[&line]), &proxies()), peer);
        }

        /// Goal: behind a trusted proxy the sender is whom the proxy heard from, whatever the sender wrote before.
        #[test]
        fn nothing_that_a_sender_writes_hides_it_behind_a_proxy(
            client in any::<[u8; 16]>().prop_map(IpAddr::from),
            line in "[ -~]{0,60}",
        ) {
            prop_assume!(!proxies().contains(client));
            let (appended, own) = (format!("{line}, {client}"), client.to_string());
            prop_assert_eq!(sender(ip("10.0.0.1"), &forwarded(&[&appended]), &proxies()), client);
            prop_assert_eq!(sender(ip("10.0.0.1"), &forwarded(&[&line, &own]), &proxies()), client);
        }
    }
}
