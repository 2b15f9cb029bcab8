//! The ID of a request or of a mail session, which its client, its backend and the log get.

use std::fmt;

/// The number of digits of an ID.
const DIGITS: usize = 16;

/// The digits, 5 bits each: those of Crockford's base 32 in lower case, of which none is taken for another one.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The ID of a request or of a mail session: 16 digits and letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; DIGITS]);

impl RequestId {
    /// The ID with the lowest 80 of these bits.
    pub fn from_bits(bits: u128) -> RequestId {
        let mut digits = [b'0'; DIGITS];
        let mut bits = bits;
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        RequestId(digits)
    }

    /// The digits of the ID.
    pub fn as_str(&self) -> &str {
        // They are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId::from_bits(0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The ID of a mail session, or of one transaction in it: then the number of its MAIL command follows a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailId {
    /// The ID of the session.
    pub session: RequestId,
    /// The number of the transaction, from 1; 0 outside of one.
    pub transaction: u32,
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.session.as_str())?;
        match self.transaction {
            0 => Ok(()),
            number => write!(f, ".{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_16_digits() {
        for (bits, expected) in
            [(0, "0000000000000000"), (33, "0000000000000011"), (u128::MAX, "zzzzzzzzzzzzzzzz")]
        {
            assert_eq!(RequestId::from_bits(bits).to_string(), expected);
        }
    }

    #[test]
    fn a_transaction_has_a_number() {
        let session = RequestId::from_bits(7);
        assert_eq!(MailId { session, transaction: 0 }.to_string(), "0000000000000007");
        assert_eq!(MailId { session, transaction: 12 }.to_string(), "0000000000000007.12");
    }
}
