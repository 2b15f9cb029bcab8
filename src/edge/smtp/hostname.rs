//! The host name that Gatepost gives itself in SMTP.

use crate::config::SmtpEntry;

/// The configured name or the system's; `localhost` if that is not a valid host name.
pub fn of(settings: &SmtpEntry) -> String {
    if let Some(name) = &settings.hostname {
        return name.clone();
    }
    let system = rustix::system::uname();
    let name = system.nodename().to_str().unwrap_or_default();
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > 255 || !name.bytes().all(letter) {
        return "localhost".to_owned();
    }
    name.to_owned()
}
