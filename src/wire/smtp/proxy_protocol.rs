//! The PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt): what a trusted proxy sends about a connection that
//! it forwards, before the first byte of that connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The longest header of version 1 in bytes, CR LF included.
const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is accepted, in bytes: addresses and some extensions, which are ignored.
pub const LONGEST: usize = 16 + 2048;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` if the proxy speaks for itself or doesn't know it.
    pub source: Option<SocketAddr>,
    /// The length of the header in bytes.
    pub len: usize,
}

/// The error for bytes that can't become a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid PROXY protocol header")]
pub struct InvalidProxyHeader;

/// Parses the header at the start of `bytes`; `None` while it is incomplete.
///
/// # Errors
/// The bytes can't become a valid header, or it is too long.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let begins = |signature: &[u8]| {
        let len = bytes.len().min(signature.len());
        bytes[..len] == signature[..len]
    };
    if begins(SIGNATURE) {
        return version_2(bytes);
    }
    if begins(b"PROXY ") {
        return version_1(bytes);
    }
    Err(InvalidProxyHeader)
}

fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LONGEST_V1)]) else {
        return if bytes.len() < LONGEST_V1 { Ok(None) } else { Err(InvalidProxyHeader) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(InvalidProxyHeader)?;
    let line = std::str::from_utf8(line).map_err(|_| InvalidProxyHeader)?;
    let len = end + 1;
    let mut words = line.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Some(ProxyHeader { source: None, len }));
    }
    let source: IpAddr = words.next().and_then(|word| word.parse().ok()).ok_or(InvalidProxyHeader)?;
    let target: IpAddr = words.next().and_then(|word| word.parse().ok()).ok_or(InvalidProxyHeader)?;
    let port = words.next().and_then(port).ok_or(InvalidProxyHeader)?;
    words.next().and_then(self::port).ok_or(InvalidProxyHeader)?;
    let matches = match family {
        "TCP4" => source.is_ipv4() && target.is_ipv4(),
        "TCP6" => source.is_ipv6() && target.is_ipv6(),
        _ => false,
    };
    if !matches || words.next().is_some() {
        return Err(InvalidProxyHeader);
    }
    Ok(Some(ProxyHeader { source: Some(SocketAddr::new(source, port)), len }))
}

fn port(word: &str) -> Option<u16> {
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())?
}

fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let command = bytes.get(12).copied();
    if command.is_some_and(|command| !matches!(command, 0x20 | 0x21)) {
        return Err(InvalidProxyHeader);
    }
    let Some(length) = bytes.get(14..16) else { return Ok(None) };
    let len = 16 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if len > LONGEST {
        return Err(InvalidProxyHeader);
    }
    let Some(addresses) = bytes.get(16..len) else { return Ok(None) };
    let source = match (command, bytes[13]) {
        // LOCAL: a connection of the proxy itself, such as a health check.
        (Some(0x20), _) => None,
        (_, 0x11) => {
            let (address, rest) = addresses.split_first_chunk::<4>().ok_or(InvalidProxyHeader)?;
            Some((IpAddr::V4(Ipv4Addr::from(*address)), rest.get(4..8).ok_or(InvalidProxyHeader)?))
        }
        (_, 0x21) => {
            let (address, rest) = addresses.split_first_chunk::<16>().ok_or(InvalidProxyHeader)?;
            Some((IpAddr::V6(Ipv6Addr::from(*address)), rest.get(16..20).ok_or(InvalidProxyHeader)?))
        }
        // Not TCP over IP: the specification requires to treat it as unknown.
        _ => None,
    };
    let source =
        source.map(|(address, ports)| SocketAddr::new(address, u16::from_be_bytes([ports[0], ports[1]])));
    Ok(Some(ProxyHeader { source, len }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((addresses.len() as u16).to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0x1f, 0x90, 0, 25];
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 1]);
        v6[15] = 7;
        v6[33] = 99;
        let extended = [&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 25\r\n".to_vec(), Some("192.0.2.1:8080")),
            (b"PROXY TCP6 2001:db8::1 ::1 1 25\r\n".to_vec(), Some("[2001:db8::1]:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.1:8080")),
            (v2(0x21, 0x11, &extended), Some("192.0.2.1:8080")),
            (v2(0x21, 0x21, &v6), Some("[2001::7]:99")),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn headers_are_parsed_once_they_are_complete() {
        for (header, source) in good() {
            let source = source.map(|text| text.parse().unwrap());
            let followed = [&header[..], b"EHLO x\r\n"].concat();
            assert_eq!(parse(&followed), Ok(Some(ProxyHeader { source, len: header.len() })));
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(None), "{:?}", header[..cut].escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn invalid_headers() {
        let mut bad: Vec<Vec<u8>> = [
            "EHLO x\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 8080 25\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 8080\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 8080 25 1\r\n",
            "PROXY TCP4 ::1 ::1 8080 25\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 8080 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +80 25\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 80 25\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 80 25\r\n",
            "PROXY \r\n",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
        bad.push([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100]].concat());
        bad.push(v2(0x22, 0x11, &[0; 12]));
        bad.push(v2(0x11, 0x11, &[0; 12]));
        bad.push(v2(0x21, 0x11, &[0; 11]));
        bad.push(v2(0x21, 0x21, &[0; 35]));
        bad.push(v2(0x21, 0x11, &[0; 2049]));
        for bytes in bad {
            assert_eq!(parse(&bytes), Err(InvalidProxyHeader), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), v2 in any::<bool>()) {
            let bytes = if v2 { [SIGNATURE.to_vec(), bytes].concat() } else { [b"PROXY ".to_vec(), bytes].concat() };
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
            }
        }
    }
}
