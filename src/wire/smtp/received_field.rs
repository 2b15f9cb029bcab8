//! The `Received` field that Gatepost adds to a message (RFC 5321 section 4.4).

use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::digits::{decimal, two_digits};
use super::host_name;
use crate::domain::MailId;

/// The number of `Received` fields from which on a message counts as looping (RFC 5321 section 6.3).
pub const MAX_HOPS: u32 = 100;

/// The content of a `Received` field.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedField<'a> {
    /// The name that the client gave in EHLO or HELO. Characters that a field may not contain are replaced.
    pub helo: &'a [u8],
    /// True for EHLO, false for HELO.
    pub extended: bool,
    /// The client's IP address.
    pub address: IpAddr,
    /// Gatepost's host name.
    pub host: &'a str,
    /// True if the connection is encrypted.
    pub tls: bool,
    /// True if the session is authenticated.
    pub authenticated: bool,
    /// True if SMTPUTF8 was given (RFC 6531).
    pub utf8: bool,
    /// The ID of the transaction.
    pub id: MailId,
    /// The current time.
    pub now: SystemTime,
}

impl ReceivedField<'_> {
    /// Appends the field without its last CR LF. It contains no secret and no username.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Received: from ");
        out.extend(self.helo.iter().map(|byte| host_name::printable(*byte)));
        match self.address {
            IpAddr::V4(address) => {
                out.extend_from_slice(b" ([");
                for (place, octet) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        out.push(b'.');
                    }
                    decimal(octet.into(), out);
                }
            }
            IpAddr::V6(address) => {
                // Writing to a vector can't fail.
                let _ = write!(out, " ([IPv6:{address}");
            }
        }
        for part in ["])\r\n\tby ", self.host, " with ", self.protocol(), " id "] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(self.id.session.as_bytes());
        out.push(b'.');
        decimal(self.id.transaction.into(), out);
        out.extend_from_slice(b";\r\n\t");
        write_date(self.now, out);
    }

    /// The protocol keyword (RFC 3848, RFC 6531 section 4.3).
    const fn protocol(&self) -> &'static str {
        match (self.extended, self.utf8, self.tls, self.authenticated) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// Appends a date (RFC 5322 section 3.3), in UTC.
fn write_date(now: SystemTime, out: &mut Vec<u8>) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0, so that a leap day is the last day of its year. An era is 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    out.extend_from_slice(DAYS[(days % 7) as usize].as_bytes());
    out.extend_from_slice(b", ");
    decimal(day, out);
    out.push(b' ');
    out.extend_from_slice(MONTHS[month as usize].as_bytes());
    out.push(b' ');
    decimal(year, out);
    for (before, number) in [(b' ', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(before);
        two_digits(number, out);
    }
    out.extend_from_slice(b" +0000");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestId;

    fn date(seconds: u64) -> String {
        let mut text = Vec::new();
        write_date(UNIX_EPOCH + Duration::from_secs(seconds), &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_399), "Mon, 28 Feb 2000 23:59:59 +0000");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 +0000");
        assert_eq!(date(1_735_689_599), "Tue, 31 Dec 2024 23:59:59 +0000");
        assert_eq!(date(4_107_542_400), "Mon, 1 Mar 2100 00:00:00 +0000");
    }

    #[test]
    fn a_trace() {
        let mut trace = ReceivedField {
            helo: b"client.example",
            extended: true,
            address: "192.0.2.1".parse().unwrap(),
            host: "mail.example",
            tls: true,
            authenticated: true,
            utf8: false,
            id: MailId { session: RequestId::from_bits(7), transaction: 1 },
            now: UNIX_EPOCH,
        };
        let written = |trace: &ReceivedField<'_>| {
            let mut out = Vec::new();
            trace.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(&trace),
            "Received: from client.example ([192.0.2.1])\r\n\tby mail.example with ESMTPSA id 0000000000000007.1;\r\n\t\
             Thu, 1 Jan 1970 00:00:00 +0000"
        );
        trace.helo = b"(x)\"\\;\r\n<y>";
        trace.address = "2001:db8::1".parse().unwrap();
        assert!(written(&trace).starts_with("Received: from ?x???????y? ([IPv6:2001:db8::1])\r\n\tby "));
        trace.utf8 = true;
        assert!(written(&trace).contains("with UTF8SMTPSA id"));
        trace.extended = false;
        assert!(written(&trace).contains("with SMTP id"));
    }
}
