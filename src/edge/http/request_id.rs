//! The ID of a request, which its client, its backend and the log get.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of digits of an ID.
const DIGITS: usize = 20;

/// The number of those that are the same for all IDs of a process.
const PREFIX: usize = 8;

/// The ID of a request: 20 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; DIGITS]);

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId([b'0'; DIGITS])
    }
}

impl RequestId {
    /// Its digits.
    pub fn as_str(&self) -> &str {
        // They are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Makes request IDs: a random prefix for the process, then a counter.
#[derive(Debug)]
pub struct RequestIds {
    /// The digits for the process, and zeros.
    process: [u8; DIGITS],
    next: AtomicU64,
}

impl RequestIds {
    /// Chooses the prefix.
    pub(super) fn new() -> RequestIds {
        // Without randomness two processes may use the same IDs, which does no harm.
        let mut process = [b'0'; DIGITS];
        let digits = format!("{:08x}", getrandom::u32().unwrap_or(0));
        process[..digits.len()].copy_from_slice(digits.as_bytes());
        RequestIds { process, next: AtomicU64::new(0) }
    }

    /// Returns the next ID.
    pub fn next(&self) -> RequestId {
        const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";
        let mut count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = self.process;
        for digit in text[PREFIX..].iter_mut().rev() {
            *digit = HEXADECIMAL[count as usize & 15];
            count >>= 4;
        }
        RequestId(text)
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
        assert!(one.as_str().len() == 20 && one.as_bytes().iter().all(u8::is_ascii_hexdigit));
    }
}
