//! Commands that an operator may type, as part of an error: each path and name is one word of the shell.

use std::path::Path;

/// The end of a text for the operator: `; type: COMMAND`. The command gets the path as one word. Empty, if the path has characters that
/// are not printed as they are.
pub fn to_type(path: &Path, command: impl FnOnce(&str) -> String) -> String {
    path_word(path).map(|path| format!("; type: {}", command(&path))).unwrap_or_default()
}

/// A path as one word of a command. It is never taken for an option. `None` if it has characters that are not printed as they are.
pub fn path_word(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    match text.starts_with('-') {
        true => word(&format!("./{text}")),
        false => word(text),
    }
}

/// A text as one word of a command, in quotes if it needs them. `None` if it has characters that are not printed as they are: whoever
/// copies the command from a terminal would type something else.
pub fn word(text: &str) -> Option<String> {
    if text.chars().any(|c| !is_printed(c)) {
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Some(text.to_owned()),
        false => Some(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

fn is_printed(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\') || c.escape_debug().eq([c])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_needs_quotes_gets_them() {
        for (text, expected) in [
            ("/etc/gatepost/tls/key.pem", "/etc/gatepost/tls/key.pem"),
            ("/srv/a b", "'/srv/a b'"),
            ("/srv/a;b", "'/srv/a;b'"),
            ("/srv/joe's", r"'/srv/joe'\''s'"),
            ("~/x", "'~/x'"),
            ("", "''"),
        ] {
            assert_eq!(word(text).as_deref(), Some(expected));
        }
        assert_eq!(path_word(Path::new("-rf")).as_deref(), Some("./-rf"));
        assert_eq!(to_type(Path::new("/a b"), |path| format!("rm {path}.new")), "; type: rm '/a b'.new");
        for text in ["/srv/a\nb", "/srv/a\x1b[2Jb", "/srv/a\u{202e}b", "/srv/a\u{200b}b"] {
            assert_eq!(word(text), None, "{text:?}");
            assert_eq!(to_type(Path::new(text), str::to_owned), "");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_shell_reads_the_same_text(text in r#"[a-z '"$`\\;&|<>*?~#!(){}\[\]=%^é-]{0,20}"#) {
            let script = format!("printf %s {}", word(&text).unwrap());
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
