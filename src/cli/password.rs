//! Passwords from the operator. They are never arguments, which all processes of the machine can read.

use std::io::{self, Read};
use std::path::Path;

use clap::Args;

use super::CommandError;
use crate::domain::Secret;
use crate::domain::password::LONGEST_BYTES;
use crate::state::file_access::{self, FileUse};

/// The source of a new password.
#[derive(Clone, Copy, Debug, Args)]
pub struct PasswordSource {
    /// Read the password from standard input (one line) instead of prompting for it.
    #[arg(long)]
    pub password_stdin: bool,
}

impl PasswordSource {
    /// Reads the password from standard input, or prompts for it twice.
    ///
    /// # Errors
    /// There is no password, more than one line, or the two typed ones differ.
    pub fn read(self) -> Result<Secret, CommandError> {
        if self.password_stdin { first_line(io::stdin().lock()) } else { prompted_twice() }
    }
}

/// Reads a password from a file of one line.
///
/// # Errors
/// The reason, in words without any of its content.
pub fn read_file(path: &Path) -> Result<Secret, String> {
    let explain = |error: &io::Error| file_access::explain(path, FileUse::Read, error);
    let file = file_access::open_regular(path).map_err(|error| explain(&error))?;
    first_line(file).map_err(|error| match error {
        CommandError::NoPassword(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it is empty".to_owned()
        }
        CommandError::NoPassword(error) => explain(&error),
        _ => "it has more than one line, or is too long for a password".to_owned(),
    })
}

/// Reads everything from `reader`, without the line end. A text that is too long for a password is refused, not cut.
fn first_line(reader: impl Read) -> Result<Secret, CommandError> {
    // The whole capacity at once, so that growing leaves no copy behind.
    let mut line = Vec::with_capacity(LONGEST_BYTES + 8);
    let most = LONGEST_BYTES as u64 + 3;
    let read = reader.take(most).read_to_end(&mut line);
    let whole = Secret::new(line);
    read.map_err(CommandError::NoPassword)?;
    let text = whole.expose();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        Err(CommandError::NoPassword(io::ErrorKind::UnexpectedEof.into()))
    } else if text.len() > LONGEST_BYTES || text.contains(&b'\n') {
        Err(CommandError::NotAPassword)
    } else {
        Ok(Secret::new(text.to_vec()))
    }
}

fn prompted_twice() -> Result<Secret, CommandError> {
    let ask = |prompt| {
        let text = rpassword::prompt_password(prompt).map_err(CommandError::NoPassword)?;
        Ok::<_, CommandError>(Secret::new(text.into_bytes()))
    };
    let password = ask("Password: ")?;
    if ask("Repeat password: ")? == password { Ok(password) } else { Err(CommandError::PasswordsDiffer) }
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
        assert!(matches!(first_line(&b""[..]), Err(CommandError::NoPassword(_))));
        assert!(matches!(first_line(&b"\n"[..]), Err(CommandError::NoPassword(_))));
        assert!(matches!(first_line(&b"passw0rd\npassw0rd\n"[..]), Err(CommandError::NotAPassword)));
        let long = vec![b'a'; LONGEST_BYTES + 1];
        assert!(matches!(first_line(&long[..]), Err(CommandError::NotAPassword)));
    }
}
