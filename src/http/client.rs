//! Who is at the other end: the peer, or behind a balancer that we trust whoever it says. Anybody may write `X-Forwarded-For`; only
//! what our own balancers added on its right end counts.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The address of the client.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let ours = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !ours(&client) {
        return client;
    }
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for hop in hops {
        // What is no address was not written by a balancer of ours.
        let Some(address) = address(hop.trim()) else {
            break;
        };
        client = address;
        if !ours(&client) {
            break;
        }
    }
    client
}

/// Some balancers add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_what_our_own_balancers_added_is_believed() {
        let ours = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"], &[]), "203.0.113.9");
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"], &ours), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"], &ours), "198.51.100.1");
        assert_eq!(
            seen("10.0.0.1", &["192.0.2.66, 198.51.100.1, 10.0.0.2"], &ours),
            "198.51.100.1",
            "what the client wrote itself stands further left"
        );
        assert_eq!(
            seen("10.0.0.1", &["192.0.2.66", "198.51.100.1:4711"], &ours),
            "198.51.100.1"
        );
        assert_eq!(seen("fd00::1", &["[2001:db8::7]"], &ours), "2001:db8::7");
        assert_eq!(
            seen("::ffff:10.0.0.1", &["198.51.100.1"], &ours),
            "198.51.100.1"
        );
        for nothing in ["", "unknown", "x, y", "10.0.0.7"] {
            let seen = seen("10.0.0.1", &[nothing], &ours);
            assert!(seen.starts_with("10.0.0."), "{nothing}: {seen}");
        }
    }
}
