use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::WireAddr;

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

impl Address {
    /// Where registrars are by custom, and where programs in Python look for theirs unless they
    /// are told another place: port 1616 of this host.
    pub const REGISTRY: Self =
        Self::Tcp(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1616)));

    /// As it travels; `None` for a path that is no text.
    pub(crate) fn to_wire(&self) -> Option<WireAddr> {
        match self {
            Self::Tcp(address) => Some(WireAddr::Tcp(address.ip().to_string(), address.port())),
            Self::Unix(path) => Some(WireAddr::Uds(
                path.parent()?.to_str()?.into(),
                path.file_name()?.to_str()?.into(),
            )),
        }
    }

    /// `None` if the host is a name, or the path no absolute one.
    pub(crate) fn from_wire(address: &WireAddr) -> Option<Self> {
        match address {
            WireAddr::Tcp(host, port) => {
                Some(Self::Tcp((host.parse::<IpAddr>().ok()?, *port).into()))
            }
            WireAddr::Uds(directory, name) => {
                let path = Path::new(directory).join(name);
                let is_file = path.is_absolute() && !name.is_empty() && !name.contains(['/', '\0']);
                is_file.then_some(Self::Unix(path))
            }
        }
    }

    /// Whether only processes of this host are reached.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
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

/// As text.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text, or from a pair of a host and a port, or of a directory and a name: in a file of
/// settings, say.
impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse().map_err(D::Error::custom),
            Form::Pair(pair) => Self::from_wire(&pair)
                .ok_or_else(|| D::Error::custom(format_args!("{pair:?} is no address"))),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Pair(WireAddr),
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
    use std::collections::BTreeMap;

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

    // discovery/test_multiaddr.py::test_tpt_proto_to_maddr_mapping
    // discovery/test_multiaddr.py::test_maddr_to_tpt_proto_mapping
    #[test]
    fn each_kind_of_address_has_its_protocol() {
        for (address, protocol) in [
            (Address::REGISTRY, "tcp"),
            (Address::Unix("/run/a.sock".into()), "unix"),
        ] {
            let text = address.to_string();
            let found = match text.parse() {
                Ok(Address::Tcp(_)) => "tcp",
                Ok(Address::Unix(_)) => "unix",
                Err(error) => panic!("{error}"),
            };
            assert_eq!(found, protocol);
            assert!(text.split('/').any(|part| part == protocol), "{text}");
        }
    }

    type Settings = BTreeMap<String, Vec<Address>>;

    // discovery/test_multiaddr.py::test_wrap_address_maddr_str
    // discovery/test_multiaddr.py::test_parse_endpoints_tcp_only
    // discovery/test_multiaddr.py::test_parse_endpoints_mixed_tpts
    // discovery/test_multiaddr.py::test_parse_endpoints_unwrapped_tuples
    // discovery/test_multiaddr.py::test_parse_endpoints_mixed_str_and_tuple
    // discovery/test_multiaddr.py::test_parse_endpoints_empty_table
    // discovery/test_multiaddr.py::test_parse_endpoints_empty_actor_list
    #[test]
    fn settings_name_addresses_by_text_or_by_pair() {
        let tcp = |text: &str| Address::Tcp(text.parse().expect("a socket address"));
        let unix = |path: &str| Address::Unix(path.into());
        for (text, expected) in [
            ("{}", vec![]),
            (r#"{"a": []}"#, vec![("a", vec![])]),
            (
                r#"{"a": ["/ip4/127.0.0.1/tcp/1"], "b": ["/ip6/::1/tcp/2"]}"#,
                vec![("a", vec![tcp("127.0.0.1:1")]), ("b", vec![tcp("[::1]:2")])],
            ),
            (
                r#"{"a": ["/ip4/127.0.0.1/tcp/1", "/unix/run/a.sock"]}"#,
                vec![("a", vec![tcp("127.0.0.1:1"), unix("/run/a.sock")])],
            ),
            (
                r#"{"a": [["127.0.0.1", 1], ["/run", "a.sock"]]}"#,
                vec![("a", vec![tcp("127.0.0.1:1"), unix("/run/a.sock")])],
            ),
            (
                r#"{"a": [["::1", 1], "/unix/run/a.sock", ["127.0.0.1", 2]]}"#,
                vec![(
                    "a",
                    vec![tcp("[::1]:1"), unix("/run/a.sock"), tcp("127.0.0.1:2")],
                )],
            ),
        ] {
            let expected = expected.into_iter().map(|(name, at)| (name.to_owned(), at));
            let expected: Settings = expected.collect();
            let settings: Settings = serde_json::from_str(text).expect(text);
            assert_eq!(settings, expected);
            let again = serde_json::to_string(&settings).expect("addresses are text");
            assert_eq!(
                serde_json::from_str::<Settings>(&again).expect(&again),
                expected
            );
        }
    }

    // discovery/test_multiaddr.py::test_parse_endpoints_unsupported_proto
    #[test]
    fn settings_with_other_addresses_are_refused() {
        for text in [
            r#"{"a": ["/ip4/127.0.0.1/udp/1"]}"#,
            r#"{"a": [["localhost", 1]]}"#,
            r#"{"a": [["127.0.0.1", 65536]]}"#,
            r#"{"a": [1]}"#,
        ] {
            assert!(serde_json::from_str::<Settings>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_travel_as_pairs() {
        for (text, wire) in [
            (
                "/ip4/127.0.0.1/tcp/1616",
                WireAddr::Tcp("127.0.0.1".into(), 1616),
            ),
            ("/ip6/::1/tcp/1616", WireAddr::Tcp("::1".into(), 1616)),
            (
                "/unix/run/tractor/registry@1616.sock",
                WireAddr::Uds("/run/tractor".into(), "registry@1616.sock".into()),
            ),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_wire().as_ref(), Some(&wire));
            assert_eq!(Address::from_wire(&wire), Some(address));
        }
        for wire in [
            WireAddr::Tcp("localhost".into(), 1616),
            WireAddr::Uds("run".into(), "x.sock".into()),
            WireAddr::Uds("/run".into(), "".into()),
            WireAddr::Uds("/run".into(), "../x.sock".into()),
        ] {
            assert_eq!(Address::from_wire(&wire), None);
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
