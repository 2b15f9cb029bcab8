//! The service extensions that a mail server offers in its EHLO reply (RFC 5321 section 2.2).

use super::Reply;

/// The service extensions that matter to the submission of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `SIZE` (RFC 1870): the largest message in bytes, 0 for no fixed limit; `None` if it is not offered.
    pub size: Option<u64>,
    /// `PIPELINING` (RFC 2920).
    pub pipelining: bool,
    /// `8BITMIME` (RFC 6152).
    pub eight_bit_mime: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub smtp_utf8: bool,
    /// `CHUNKING` (RFC 3030).
    pub chunking: bool,
    /// `DSN` (RFC 3461).
    pub dsn: bool,
    /// `ENHANCEDSTATUSCODES` (RFC 2034).
    pub enhanced_status_codes: bool,
}

impl Capabilities {
    /// Returns true if a server with these capabilities can take a message that needs `needs`, its size included.
    pub fn cover(self, needs: Capabilities) -> bool {
        let limit = self.size.filter(|limit| *limit > 0);
        let size = needs.size.zip(limit).is_none_or(|(size, limit)| size <= limit);
        let has = |offered: bool, needed: bool| offered || !needed;
        size && has(self.pipelining, needs.pipelining)
            && has(self.eight_bit_mime, needs.eight_bit_mime)
            && has(self.smtp_utf8, needs.smtp_utf8)
            && has(self.chunking, needs.chunking)
            && has(self.dsn, needs.dsn)
            && has(self.enhanced_status_codes, needs.enhanced_status_codes)
    }

    /// The needs of both; the larger size.
    pub fn either(self, other: Capabilities) -> Capabilities {
        Capabilities {
            size: self.size.max(other.size),
            pipelining: self.pipelining || other.pipelining,
            eight_bit_mime: self.eight_bit_mime || other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 || other.smtp_utf8,
            chunking: self.chunking || other.chunking,
            dsn: self.dsn || other.dsn,
            enhanced_status_codes: self.enhanced_status_codes || other.enhanced_status_codes,
        }
    }

    /// The capabilities that both have; the smaller size.
    pub fn both(self, other: Capabilities) -> Capabilities {
        let size = match (self.size, other.size) {
            (Some(0), size) | (size, Some(0)) => size,
            (Some(one), Some(other)) => Some(one.min(other)),
            _ => None,
        };
        Capabilities {
            size,
            pipelining: self.pipelining && other.pipelining,
            eight_bit_mime: self.eight_bit_mime && other.eight_bit_mime,
            smtp_utf8: self.smtp_utf8 && other.smtp_utf8,
            chunking: self.chunking && other.chunking,
            dsn: self.dsn && other.dsn,
            enhanced_status_codes: self.enhanced_status_codes && other.enhanced_status_codes,
        }
    }
}

/// The attributes of XCLIENT that a backend offers (Postfix, XCLIENT_README).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct XclientAttributes {
    /// The client's IP address.
    pub addr: bool,
    /// The client's host name.
    pub name: bool,
    /// `SMTP` or `ESMTP`.
    pub proto: bool,
    /// The name that the client gave in EHLO or HELO.
    pub helo: bool,
    /// The username of the login.
    pub login: bool,
}

/// The extensions in an EHLO reply that matter to Gatepost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ServiceExtensions {
    /// The extensions for messages.
    pub capabilities: Capabilities,
    /// `STARTTLS`.
    pub starttls: bool,
    /// `AUTH PLAIN`.
    pub auth_plain: bool,
    /// `AUTH LOGIN`.
    pub auth_login: bool,
    /// `XCLIENT` with its attributes.
    pub xclient: Option<XclientAttributes>,
}

impl ServiceExtensions {
    /// Parses an EHLO reply. Its first line is the server's name, each further line an extension. An unknown extension is
    /// ignored, and a malformed one counts as not offered.
    pub fn parse(answer: &Reply) -> ServiceExtensions {
        let mut offer = ServiceExtensions::default();
        // If every line began with an enhanced status code, the reply would lack it; no server sends such an EHLO reply.
        for line in answer.lines().skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let mut words = line.split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            offer.note(keyword, words);
        }
        offer
    }

    fn note<'a>(&mut self, keyword: &'a str, mut words: impl Iterator<Item = &'a str>) {
        let capabilities = &mut self.capabilities;
        match keyword {
            "SIZE" => capabilities.size = words.next().map_or(Some(0), |size| size.parse().ok()),
            "PIPELINING" => capabilities.pipelining = true,
            "8BITMIME" => capabilities.eight_bit_mime = true,
            "SMTPUTF8" => capabilities.smtp_utf8 = true,
            "CHUNKING" => capabilities.chunking = true,
            "DSN" => capabilities.dsn = true,
            "ENHANCEDSTATUSCODES" => capabilities.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => words.for_each(|mechanism| self.note_mechanism(mechanism)),
            "XCLIENT" => {
                let xclient = self.xclient.get_or_insert_default();
                for attribute in words {
                    match attribute {
                        "ADDR" => xclient.addr = true,
                        "NAME" => xclient.name = true,
                        "PROTO" => xclient.proto = true,
                        "HELO" => xclient.helo = true,
                        "LOGIN" => xclient.login = true,
                        _ => {}
                    }
                }
            }
            // Old servers also send AUTH=LOGIN PLAIN.
            _ => {
                if let Some(first) = keyword.strip_prefix("AUTH=") {
                    self.note_mechanism(first);
                    words.for_each(|mechanism| self.note_mechanism(mechanism));
                }
            }
        }
    }

    fn note_mechanism(&mut self, mechanism: &str) {
        match mechanism {
            "PLAIN" => self.auth_plain = true,
            "LOGIN" => self.auth_login = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::smtp::reply_parser;

    #[test]
    fn offers_are_read() {
        let text = "250-mail.test at your service\r\n250-PIPELINING\r\n250-size 1000\r\n250-AUTH PLAIN CRAM-MD5\r\n\
                    250-AUTH=LOGIN\r\n250-XCLIENT NAME ADDR LOGIN\r\n250-STARTTLS\r\n250-\r\n250 DSN\r\n";
        let (answer, _) = reply_parser::parse(text.as_bytes()).unwrap().unwrap();
        let offer = ServiceExtensions::parse(&answer);
        let capabilities =
            Capabilities { size: Some(1000), pipelining: true, dsn: true, ..Capabilities::default() };
        let xclient =
            XclientAttributes { name: true, addr: true, login: true, ..XclientAttributes::default() };
        assert_eq!(
            offer,
            ServiceExtensions {
                capabilities,
                starttls: true,
                auth_plain: true,
                auth_login: true,
                xclient: Some(xclient)
            }
        );
    }

    #[test]
    fn a_name_that_looks_like_an_extension_is_a_name() {
        let (answer, _) = reply_parser::parse(b"250-CHUNKING\r\n250 SIZE\r\n").unwrap().unwrap();
        let offer = ServiceExtensions::parse(&answer);
        assert!(!offer.capabilities.chunking);
        assert_eq!(offer.capabilities.size, Some(0));
    }

    #[test]
    fn the_smaller_size_counts_and_none_where_one_has_none() {
        let with = |size| Capabilities { size, chunking: true, ..Capabilities::default() };
        let both = |one, other| with(one).both(with(other)).size;
        assert_eq!(both(Some(10), Some(20)), Some(10));
        assert_eq!(both(Some(0), Some(20)), Some(20));
        assert_eq!(both(Some(10), Some(0)), Some(10));
        assert_eq!(both(Some(0), Some(0)), Some(0));
        assert_eq!(both(None, Some(20)), None);
        assert!(with(None).both(with(None)).chunking);
        assert!(!with(None).both(Capabilities::default()).chunking);
    }
}
