//! XCLIENT, a command that tells a backend the client's identity (Postfix, XCLIENT_README).

use std::net::IpAddr;

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
    /// The command line with those attributes that the backend offers.
    pub fn command(&self, taken: XclientAttributes) -> Vec<u8> {
        let mut command = b"XCLIENT".to_vec();
        if taken.name {
            attribute(&mut command, "NAME", UNAVAILABLE);
        }
        if taken.addr {
            let address = match self.address.to_canonical() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("IPV6:{address}"),
            };
            attribute(&mut command, "ADDR", address.as_bytes());
        }
        if taken.proto {
            attribute(&mut command, "PROTO", if self.esmtp { b"ESMTP" } else { b"SMTP" });
        }
        if taken.helo {
            attribute(
                &mut command,
                "HELO",
                if self.helo.is_empty() { UNAVAILABLE } else { self.helo.as_bytes() },
            );
        }
        if taken.login {
            attribute(&mut command, "LOGIN", self.login.as_bytes());
        }
        command.extend_from_slice(b"\r\n");
        command
    }
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
        String::from_utf8(introduced.command(taken)).unwrap()
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

    proptest! {
        #[test]
        fn no_value_breaks_out(login in "\\PC*", helo in "(\\PC|[\r\n\0 =+])*") {
            let introduced = XclientCommand { login: &login, address: [127, 0, 0, 1].into(), helo: &helo, esmtp: true };
            let command = introduced.command(ALL);
            let line = command.strip_suffix(b"\r\n").unwrap();
            prop_assert!(line.iter().all(|b| (b' '..=b'~').contains(b)));
            prop_assert_eq!(line.iter().filter(|b| **b == b' ').count(), 5);
            prop_assert_eq!(line.iter().filter(|b| **b == b'=').count(), 5);
        }
    }
}
