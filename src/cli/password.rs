//! Passwords from the operator: never on the command line, where every process of the machine could read them.

use std::io::{self, Read};

use clap::Args;

use super::CliError;
use crate::domain::Secret;
use crate::domain::password::LONGEST_BYTES;

/// Where a new password comes from.
#[derive(Clone, Copy, Debug, Args)]
pub struct PasswordSource {
    /// Read the password from standard input (one line) instead of prompting for it.
    #[arg(long)]
    pub password_stdin: bool,
}

impl PasswordSource {
    /// Reads the password, or asks for it twice.
    ///
    /// # Errors
    /// There is none, more than one, or the two differ.
    pub fn read(self) -> Result<Secret, CliError> {
        if self.password_stdin { first_line(io::stdin().lock()) } else { asked_twice() }
    }
}

/// All that `reader` has, less the line's end. What is too long to be a password is refused and not cut.
fn first_line(reader: impl Read) -> Result<Secret, CliError> {
    // Room for all, so that nothing is left behind by growing.
    let mut line = Vec::with_capacity(LONGEST_BYTES + 8);
    let most = LONGEST_BYTES as u64 + 3;
    let read = reader.take(most).read_to_end(&mut line);
    let whole = Secret::new(line);
    read.map_err(CliError::NoPassword)?;
    let text = whole.expose();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        Err(CliError::NoPassword(io::ErrorKind::UnexpectedEof.into()))
    } else if text.len() > LONGEST_BYTES || text.contains(&b'\n') {
        Err(CliError::NotAPassword)
    } else {
        Ok(Secret::new(text.to_vec()))
    }
}

fn asked_twice() -> Result<Secret, CliError> {
    let ask = |prompt| {
        let text = rpassword::prompt_password(prompt).map_err(CliError::NoPassword)?;
        Ok::<_, CliError>(Secret::new(text.into_bytes()))
    };
    let password = ask("Password: ")?;
    if ask("Once more: ")? == password { Ok(password) } else { Err(CliError::PasswordsDiffer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_a_password() {
        for (input, expected) in [
            (&b"passw0rd\n"[..], "passw0rd"),
            (b"passw0rd\r\n", "passw0rd"),
            (b"passw0rd", "passw0rd"),
            (b" pass word 1 \n", " pass word 1 "),
        ] {
            assert_eq!(first_line(input).unwrap().expose(), expected.as_bytes());
        }
    }

    #[test]
    fn what_is_none_or_more_is_refused() {
        assert!(matches!(first_line(&b""[..]), Err(CliError::NoPassword(_))));
        assert!(matches!(first_line(&b"\n"[..]), Err(CliError::NoPassword(_))));
        assert!(matches!(first_line(&b"passw0rd\npassw0rd\n"[..]), Err(CliError::NotAPassword)));
        let long = vec![b'a'; LONGEST_BYTES + 1];
        assert!(matches!(first_line(&long[..]), Err(CliError::NotAPassword)));
    }
}
