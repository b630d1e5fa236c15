//! Which addresses a desk may make us call: those of the public internet, and those that the operator allows.
//!
//! An address inside our own network would let a desk reach what is not meant for it. Addresses are judged when a webhook is made and
//! again each time one is dialled, because a name may point elsewhere by then. The ranges are those of the IANA registries of
//! special-purpose addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 ranges that are nobody's public address: this network, private, shared by providers (CGNAT), loopback, link-local with the
/// metadata of clouds, protocol assignments, documentation, 6to4 relays, benchmarks, multicast, reserved; and a cloud's metadata
/// behind a public address.
const CLOSED_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v4([168, 63, 129, 16], 32),
];
/// Public IPv6 addresses are all in here.
const OPEN_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);
/// Ranges in it that are not: protocol assignments with Teredo, documentation, 6to4.
const CLOSED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23),
    v6([0x2001, 0x0db8, 0, 0], 32),
    v6([0x2002, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0], 20),
];

const fn v4(address: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(start: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = start;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// What may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Networks {
    /// Everything: for addresses that the operator named.
    Every,
    /// The public internet and these.
    PublicAnd(Vec<IpNet>),
}

impl Networks {
    /// Whether this address may be called. One that carries an IPv4 address inside is judged by that.
    pub fn allow(&self, address: IpAddr) -> bool {
        let Self::PublicAnd(allowed) = self else {
            return true;
        };
        let address = address.to_canonical();
        if allowed.iter().any(|network| network.contains(&address)) {
            return true;
        }
        match address {
            IpAddr::V4(address) => CLOSED_V4.iter().all(|net| !net.contains(&address)),
            IpAddr::V6(address) => {
                OPEN_V6.contains(&address) && CLOSED_V6.iter().all(|net| !net.contains(&address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_called_unless_more_is_allowed() {
        let public = Networks::PublicAnd(Vec::new());
        for open in [
            "8.8.8.8",
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(public.allow(open.parse().unwrap()), "{open}");
        }
        for closed in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.192",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!public.allow(closed.parse().unwrap()), "{closed}");
        }
        let more = Networks::PublicAnd(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(more.allow("127.0.0.1".parse().unwrap()));
        assert!(more.allow("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!more.allow("10.0.0.1".parse().unwrap()));
        assert!(Networks::Every.allow("10.0.0.1".parse().unwrap()));
    }
}
