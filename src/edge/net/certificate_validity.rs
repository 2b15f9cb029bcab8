//! The time in which a certificate is valid, and warnings before and outside of it.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::parse_x509_certificate;

use crate::config::NamedFile;

/// The longest time before its expiry at which a certificate should have been renewed, in seconds: 14 days.
const RENEWAL: i64 = 14 * 86_400;

/// The time in which a certificate, or each one of a chain, is valid. In seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// The validity of all certificates of a chain at once; `None` if none can be read.
    pub fn of_chain(chain: &[CertificateDer<'_>]) -> Option<Validity> {
        chain.iter().filter_map(Validity::of).reduce(|one, other| Validity {
            not_before: one.not_before.max(other.not_before),
            not_after: one.not_after.min(other.not_after),
        })
    }

    fn of(certificate: &CertificateDer<'_>) -> Option<Validity> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        Some(Validity {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// The state of the certificate at `now`, if an operator has to know of it.
    fn trouble(self, now: i64) -> Option<String> {
        let (first, last) = (date(self.not_before), date(self.not_after));
        // A certificate for a few days is renewed in its last third.
        let lifetime = self.not_after.saturating_sub(self.not_before);
        let left = self.not_after.saturating_sub(now);
        if left < 0 {
            Some(format!("expired on {last}, so clients refuse it: renew it"))
        } else if now < self.not_before {
            Some(format!(
                "is not valid before {first}, so clients refuse it: check it and the clock of this machine"
            ))
        } else if left < RENEWAL.min(lifetime / 3) {
            Some(format!("expires on {last}, in {}: renew it", in_words(left)))
        } else {
            None
        }
    }
}

/// Warnings about the certificates that clients get: each one that has expired, expires soon, or is not valid yet.
pub fn of_listeners(file: &NamedFile, chain: &[CertificateDer<'_>], now: i64) -> Vec<String> {
    let warning = |(number, certificate): (usize, &CertificateDer<'_>)| {
        let trouble = Validity::of(certificate)?.trouble(now)?;
        let which = match number {
            0 => "the certificate".to_owned(),
            number => format!("certificate {} of the file", number + 1),
        };
        Some(format!("{}: {}: {which} {trouble}", file.place.key, file.path.display()))
    };
    chain.iter().enumerate().filter_map(warning).collect()
}

/// A warning about a file with the roots for backends: if all of them have expired, since a backend that presents one of them is
/// refused.
pub fn of_roots(file: &NamedFile, now: i64) -> Option<String> {
    let roots = certificates(&file.path);
    let expiries: Option<Vec<i64>> = roots.iter().map(|root| Some(Validity::of(root)?.not_after)).collect();
    let last = expiries?.into_iter().max().filter(|last| *last < now)?;
    let (key, path) = (&file.place.key, file.path.display());
    Some(format!(
        "{key}: {path}: every certificate of the file has expired, the last one on {}: replace it",
        date(last)
    ))
}

/// The certificates of a file that can be read.
fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).map(|all| all.filter_map(Result::ok).collect()).unwrap_or_default()
}

fn date(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| format!("second {seconds}"))
}

fn in_words(seconds: i64) -> String {
    match (seconds / 86_400, seconds / 3600) {
        (0, hours) => format!("{hours} h"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn troubles_are_told_in_time_and_not_before() {
        let year = Validity { not_before: 0, not_after: 365 * DAY };
        assert_eq!(year.trouble(351 * DAY), None);
        let soon = year.trouble(351 * DAY + 1).unwrap();
        assert!(soon.contains("expires on 1971-01-01T00:00:00Z, in 13 days"), "{soon}");
        assert!(year.trouble(365 * DAY).unwrap().contains("in 0 h"));
        assert!(year.trouble(365 * DAY + 1).unwrap().contains("expired on 1971-01-01T00:00:00Z"));
        assert!(year.trouble(-1).unwrap().contains("not valid before 1970-01-01T00:00:00Z"));
        // One for six days is renewed two days before its end.
        let short = Validity { not_before: 0, not_after: 6 * DAY };
        assert_eq!(short.trouble(4 * DAY), None);
        assert!(short.trouble(5 * DAY).unwrap().contains("in 1 day:"));
    }

    #[test]
    fn a_chain_is_valid_while_all_of_it_is() {
        let made = |from: i32, to: i32| {
            let mut wanted = rcgen::CertificateParams::new(vec!["gate.test".to_owned()]).unwrap();
            wanted.not_before = rcgen::date_time_ymd(from, 1, 1);
            wanted.not_after = rcgen::date_time_ymd(to, 1, 1);
            wanted.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let chain = [made(2001, 2011), made(1990, 2005)];
        let begin = |year| rcgen::date_time_ymd(year, 1, 1).unix_timestamp();
        let validity = Validity { not_before: begin(2001), not_after: begin(2005) };
        assert_eq!(Validity::of_chain(&chain), Some(validity));
        assert_eq!(Validity::of_chain(&[CertificateDer::from(vec![1, 2, 3])]), None);
    }
}
