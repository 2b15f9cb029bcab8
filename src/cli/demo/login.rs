//! The logins of the demo: the account's name, and passwords that are easy to paste.

use anyhow::Result;

/// The account of the demo.
pub const ACCOUNT: &str = "demo";

/// Makes a password of 20 letters and digits, without those that look alike.
///
/// # Errors
/// The system has no random numbers.
pub fn generated_password() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    loop {
        let mut random = [0; 20];
        getrandom::fill(&mut random)
            .map_err(|e| anyhow::anyhow!("no random numbers from the system: {e}"))?;
        let password: String = random.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])).collect();
        if password.contains(|c: char| c.is_ascii_digit())
            && password.contains(|c: char| c.is_ascii_alphabetic())
        {
            return Ok(password);
        }
    }
}
