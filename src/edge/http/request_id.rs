//! The ID of a request, which its client, its backend and the log get.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderName, HeaderValue};

/// The field that carries the ID in responses and towards backends.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes request IDs: a random prefix for the process, then a counter.
#[derive(Debug)]
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Chooses the prefix.
    pub(super) fn new() -> RequestIds {
        // Without randomness two processes may use the same IDs, which does no harm.
        RequestIds { process: getrandom::u32().unwrap_or(0), next: AtomicU64::new(0) }
    }

    /// Returns the next ID: 20 hexadecimal digits.
    pub fn next(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let number = (u128::from(self.process) << 48) | u128::from(count & 0xffff_ffff_ffff);
        let mut text = [0; 20];
        for (place, digit) in text.iter_mut().rev().enumerate() {
            *digit = DIGITS[(number >> (4 * place)) as usize & 15];
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_20_digits() {
        let ids = RequestIds::new();
        let (one, two) = (ids.next(), ids.next());
        assert_ne!(one, two);
        assert!(one.as_bytes().len() == 20 && one.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }
}
