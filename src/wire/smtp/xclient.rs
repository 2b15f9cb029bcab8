//! XCLIENT, a command that tells a backend the client's identity (Postfix, XCLIENT_README).

use std::net::IpAddr;

use super::Reply;
use super::extensions::XclientAttributes;

/// The value of an attribute that is not known.
const UNAVAILABLE: &[u8] = b"[UNAVAILABLE]";

/// The identity of a client.
#[derive(Clone, Copy, Debug)]
pub struct XclientCommand<'a> {
    /// The username of the login.
    pub login: &'a str,
    /// The client's IP address.
    pub address: IpAddr,
    /// The name that the client gave in EHLO or HELO.
    pub helo: &'a str,
    /// True for EHLO, false for HELO.
    pub esmtp: bool,
}

impl XclientCommand<'_> {
    /// The command line with those attributes that the backend offers. Of those that are `withheld`, it says that address and
    /// HELO are not known, and nothing of name and protocol.
    pub fn command(&self, taken: XclientAttributes, withheld: XclientAttributes) -> Vec<u8> {
        let mut command = b"XCLIENT".to_vec();
        if taken.name && !withheld.name {
            attribute(&mut command, "NAME", UNAVAILABLE);
        }
        if taken.addr {
            let address = match self.address.to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("IPV6:{address}"),
            };
            let address = if withheld.addr { UNAVAILABLE } else { address.as_bytes() };
            attribute(&mut command, "ADDR", address);
        }
        if taken.proto && !withheld.proto {
            attribute(&mut command, "PROTO", if self.esmtp { b"ESMTP" } else { b"SMTP" });
        }
        if taken.helo {
            let unknown = withheld.helo || self.helo.is_empty();
            attribute(&mut command, "HELO", if unknown { UNAVAILABLE } else { self.helo.as_bytes() });
        }
        if taken.login {
            attribute(&mut command, "LOGIN", self.login.as_bytes());
        }
        command.extend_from_slice(b"\r\n");
        command
    }
}

/// The attributes to withhold after a backend refused the command without those that are `withheld` by now. A backend may refuse
/// a value as invalid, such as an IPv6 address where it uses IPv4 only (Postfix, `inet_protocols`). The attribute that its
/// reply names first is withheld next, as the refused value may follow and look like another name; otherwise the one that is refused most often. The login is never withheld. `None` if the
/// reply does not refuse a value, or if nothing is left to withhold.
pub fn withhold_next(
    reply: &Reply,
    offered: XclientAttributes,
    withheld: XclientAttributes,
) -> Option<XclientAttributes> {
    if !matches!(reply.code(), 501 | 504) {
        return None;
    }
    let with = |attribute: &str| match attribute {
        "ADDR" => (offered.addr && !withheld.addr).then_some(XclientAttributes { addr: true, ..withheld }),
        "HELO" => (offered.helo && !withheld.helo).then_some(XclientAttributes { helo: true, ..withheld }),
        "PROTO" => {
            (offered.proto && !withheld.proto).then_some(XclientAttributes { proto: true, ..withheld })
        }
        "NAME" => (offered.name && !withheld.name).then_some(XclientAttributes { name: true, ..withheld }),
        _ => None,
    };
    const ORDER: [&str; 4] = ["ADDR", "HELO", "PROTO", "NAME"];
    let name = |word: &[u8]| {
        let names = |attribute: &&str| word.eq_ignore_ascii_case(attribute.as_bytes());
        ORDER.into_iter().chain(["LOGIN"]).find(names)
    };
    match reply.lines().flat_map(words).find_map(name) {
        Some("LOGIN") => None,
        named => named.and_then(with).or_else(|| ORDER.into_iter().find_map(with)),
    }
}

/// The words of a line, without the punctuation around them. What is within a host name or an address is no word.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b'=')).map(|word| {
        let begin = word.iter().position(u8::is_ascii_alphanumeric).unwrap_or(word.len());
        let end = word.iter().rposition(u8::is_ascii_alphanumeric).map_or(begin, |last| last + 1);
        &word[begin..end]
    })
}

/// Appends an attribute in xtext (RFC 3461 section 4), in which no value can end the attribute or the command.
fn attribute(command: &mut Vec<u8>, name: &str, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    command.push(b' ');
    command.extend_from_slice(name.as_bytes());
    command.push(b'=');
    for byte in value {
        match byte {
            b'+' | b'=' => command.extend([b'+', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            b'!'..=b'~' => command.push(*byte),
            _ => command.extend([b'+', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: XclientAttributes =
        XclientAttributes { addr: true, name: true, proto: true, helo: true, login: true };

    fn command(introduced: XclientCommand<'_>, taken: XclientAttributes) -> String {
        String::from_utf8(introduced.command(taken, XclientAttributes::default())).unwrap()
    }

    #[test]
    fn only_offered_attributes_are_sent() {
        let address = "::ffff:192.0.2.7".parse().unwrap();
        let mut john = XclientCommand { login: "john+a@x.test", address, helo: "me here", esmtp: true };
        let all =
            "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PROTO=ESMTP HELO=me+20here LOGIN=john+2Ba@x.test\r\n";
        assert_eq!(command(john, ALL), all);
        assert_eq!(
            command(john, XclientAttributes { proto: true, ..XclientAttributes::default() }),
            "XCLIENT PROTO=ESMTP\r\n"
        );
        (john.esmtp, john.helo, john.address) = (false, "", "2001:db8::1".parse().unwrap());
        let taken = XclientAttributes { name: false, login: false, ..ALL };
        assert_eq!(command(john, taken), "XCLIENT ADDR=IPV6:2001:db8::1 PROTO=SMTP HELO=[UNAVAILABLE]\r\n");
    }

    // Case D2: what a backend refuses is withheld, and never the login
    #[test]
    fn a_refused_attribute_is_withheld() {
        let withhold = |code: u16, text: &str, withheld: XclientAttributes| {
            withhold_next(&Reply::received(code, [text.as_bytes()]), ALL, withheld)
        };
        let none = XclientAttributes::default();
        let addr = XclientAttributes { addr: true, ..none };
        let both = XclientAttributes { helo: true, ..addr };
        assert_eq!(withhold(501, "5.5.4 Bad ADDR syntax: IPV6:::1", none), Some(addr));
        assert_eq!(withhold(501, "Syntax error", none), Some(addr));
        assert_eq!(withhold(501, "Syntax error", addr), Some(both));
        assert_eq!(withhold(501, "Bad HELO syntax", none), Some(XclientAttributes { helo: true, ..none }));
        let helo = XclientAttributes { helo: true, ..none };
        for value in ["addr", "login", "addr.test", "login.example.net", "[IPv6:name]"] {
            assert_eq!(
                withhold(501, &format!("5.5.4 Bad HELO syntax: {value}"), none),
                Some(helo),
                "{value}"
            );
            assert_eq!(withhold(501, &format!("Bad syntax: HELO={value}"), none), Some(helo), "{value}");
            assert_eq!(withhold(501, &format!("Bad LOGIN syntax: {value}"), none), None, "{value}");
        }
        assert_eq!(withhold(501, "no login.example.net as 'helo'.", none), Some(helo));
        assert_eq!(withhold(504, "bad proto", addr), Some(XclientAttributes { proto: true, ..addr }));
        assert_eq!(withhold(501, "Bad NAME syntax", both), Some(XclientAttributes { name: true, ..both }));
        assert_eq!(withhold(501, "no", XclientAttributes { login: false, ..ALL }), None);
        for (code, text) in
            [(501, "Bad LOGIN syntax"), (550, "5.7.0 insufficient authorization"), (421, "ADDR")]
        {
            assert_eq!(withhold(code, text, none), None, "{text}");
        }
        let john = XclientCommand { login: "john", address: [127, 0, 0, 1].into(), helo: "me", esmtp: true };
        let text = |withheld| String::from_utf8(john.command(ALL, withheld)).unwrap();
        assert_eq!(
            text(both),
            "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PROTO=ESMTP HELO=[UNAVAILABLE] LOGIN=john\r\n"
        );
        assert_eq!(
            text(XclientAttributes { name: true, proto: true, ..addr }),
            "XCLIENT ADDR=[UNAVAILABLE] HELO=me LOGIN=john\r\n"
        );
    }

    proptest! {
        #[test]
        fn no_value_breaks_out(login in "\\PC*", helo in "(\\PC|[\r\n\0 =+])*") {
            let introduced = XclientCommand { login: &login, address: [127, 0, 0, 1].into(), helo: &helo, esmtp: true };
            let command = introduced.command(ALL, XclientAttributes::default());
            let line = command.strip_suffix(b"\r\n").unwrap();
            prop_assert!(line.iter().all(|b| (b' '..=b'~').contains(b)));
            prop_assert_eq!(line.iter().filter(|b| **b == b' ').count(), 5);
            prop_assert_eq!(line.iter().filter(|b| **b == b'=').count(), 5);
        }
    }
}
