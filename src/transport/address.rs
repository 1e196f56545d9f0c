use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where an actor listens.
///
/// As text it is a multiaddr: `/ip4/127.0.0.1/tcp/1616`, `/ip6/::1/tcp/1616`, or
/// `/unix/run/user/1000/tractor/feed.sock`, where the path follows as it is.
///
/// ```
/// use tractor::Address;
///
/// let address: Address = "/ip4/127.0.0.1/tcp/1616".parse()?;
/// assert_eq!(address, Address::Tcp("127.0.0.1:1616".parse()?));
/// assert_eq!(Address::Unix("/tmp/feed.sock".into()).to_string(), "/unix/tmp/feed.sock");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A port of an address of this host, or another one. To listen on port 0 is to take any
    /// that is free.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => {
                let family = if address.is_ipv4() { "ip4" } else { "ip6" };
                write!(f, "/{family}/{}/tcp/{}", address.ip(), address.port())
            }
            Self::Unix(path) => {
                let path = path.to_string_lossy();
                write!(f, "/unix/{}", path.strip_prefix('/').unwrap_or(&path))
            }
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        parse(text).ok_or_else(|| InvalidAddress { text: text.into() })
    }
}

fn parse(text: &str) -> Option<Address> {
    let rest = text.strip_prefix('/')?;
    if let Some(path) = rest.strip_prefix("unix/") {
        let is_file = !path.is_empty() && !path.ends_with('/') && !path.contains('\0');
        return is_file.then(|| Address::Unix(format!("/{path}").into()));
    }
    let parts: Vec<_> = rest.split('/').collect();
    let &[family, host, "tcp", port] = parts.as_slice() else {
        return None;
    };
    let host = match family {
        "ip4" => IpAddr::V4(host.parse().ok()?),
        "ip6" => IpAddr::V6(host.parse().ok()?),
        _ => return None,
    };
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| port.parse().ok())??;
    Some(Address::Tcp((host, port).into()))
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// A text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidAddress {
    /// The text.
    pub text: String,
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no address: /ip4/HOST/tcp/PORT, /ip6/HOST/tcp/PORT or /unix/PATH is one",
            self.text
        )
    }
}

impl Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    // discovery/test_multiaddr.py::test_mk_maddr_tcp_ipv4
    // discovery/test_multiaddr.py::test_mk_maddr_tcp_ipv6
    // discovery/test_multiaddr.py::test_mk_maddr_uds
    // discovery/test_multiaddr.py::test_mk_maddr_roundtrip[tcp-ipv4]
    // discovery/test_multiaddr.py::test_mk_maddr_roundtrip[uds]
    // discovery/test_multiaddr.py::test_parse_maddr_tcp_ipv4
    // discovery/test_multiaddr.py::test_parse_maddr_tcp_ipv6
    // discovery/test_multiaddr.py::test_parse_maddr_uds
    // discovery/test_multiaddr.py::test_parse_maddr_roundtrip[tcp-ipv4]
    // discovery/test_multiaddr.py::test_parse_maddr_roundtrip[uds]
    #[test]
    fn texts_and_addresses_are_the_same() {
        let tcp = |text: &str| Address::Tcp(text.parse().expect("a socket address"));
        for (text, address) in [
            ("/ip4/127.0.0.1/tcp/1234", tcp("127.0.0.1:1234")),
            ("/ip6/::1/tcp/5678", tcp("[::1]:5678")),
            (
                "/unix/tmp/tractor_test/test_sock.sock",
                Address::Unix("/tmp/tractor_test/test_sock.sock".into()),
            ),
        ] {
            assert_eq!(address.to_string(), text);
            assert_eq!(text.parse(), Ok(address));
        }
    }

    // discovery/test_multiaddr.py::test_parse_maddr_unsupported
    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "/",
            "/unix/",
            "/unix/tmp/",
            "127.0.0.1:1616",
            "/ip4/127.0.0.1/udp/1616",
            "/ip4/::1/tcp/1616",
            "/ip6/127.0.0.1/tcp/1616",
            "/ip4/localhost/tcp/1616",
            "/ip4/127.0.0.1/tcp/65536",
            "/ip4/127.0.0.1/tcp/+1",
            "/ip4/127.0.0.1/tcp/",
            "/ip4/127.0.0.1/tcp/1/x",
            "ip4/127.0.0.1/tcp/1",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert_eq!(error.text, text);
        }
    }
}
