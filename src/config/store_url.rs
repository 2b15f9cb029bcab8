//! The URL of the store: `sqlite://PATH` or `postgres://USER@HOST:PORT/DATABASE`.

use std::fmt;
use std::path::PathBuf;

use super::postgres_url::PostgresUrl;

/// The kind and place of the database, from `store.url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH`: a file; a path without a leading slash is relative to the working directory.
    Sqlite(PathBuf),
    /// `postgres://USER@HOST:PORT/DATABASE`: a server, or several of which one is the primary.
    Postgres(PostgresUrl),
}

impl fmt::Display for StoreUrl {
    /// Shows the path of the file, or the URL without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Sqlite(path) => path.display().fmt(f),
            StoreUrl::Postgres(url) => url.fmt(f),
        }
    }
}

impl StoreUrl {
    /// Parses the URL. No error repeats it: it may contain a password.
    pub(super) fn parse(text: &str) -> Result<StoreUrl, String> {
        if PostgresUrl::is_meant(text) {
            return PostgresUrl::parse(text).map(StoreUrl::Postgres);
        }
        let path = text
            .strip_prefix("sqlite://")
            .ok_or("invalid URL: expected sqlite://PATH or postgres://USER@HOST:PORT/DATABASE")?;
        if path.is_empty() {
            Err("missing path of the database: expected sqlite://PATH".to_owned())
        } else if path.contains(":memory:") {
            Err("a database in memory is lost at exit: expected sqlite://PATH".to_owned())
        } else if path.contains("${") || path.starts_with(['~', '$']) {
            Err("~ and variables are not expanded: write the whole path of the database".to_owned())
        } else if path.contains(['?', '#']) || path.contains(char::is_control) {
            Err("the path of the database must not contain parameters, '?', '#' or control characters"
                .to_owned())
        } else if path.ends_with('/') {
            Err("the path of the database is a directory: expected a file".to_owned())
        } else {
            Ok(StoreUrl::Sqlite(path.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_password_is_not_echoed() {
        for text in ["postgres://me:hunter22@x", "mysql://me:hunter22@x/db", "postgresql://hunter22@x/"] {
            assert!(!StoreUrl::parse(text).unwrap_err().contains("hunter22"));
        }
    }

    #[test]
    fn files() {
        assert_eq!(StoreUrl::parse("sqlite://data/x.db"), Ok(StoreUrl::Sqlite("data/x.db".into())));
        assert_eq!(StoreUrl::parse("sqlite:///var/x.db"), Ok(StoreUrl::Sqlite("/var/x.db".into())));
        for text in [
            "",
            "data/x.db",
            "sqlite:",
            "sqlite://",
            "sqlite://:memory:",
            "sqlite://x?mode=ro",
            "sqlite://x/",
        ] {
            assert!(StoreUrl::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", tail in "\\PC*") {
            let _ = (StoreUrl::parse(&text), StoreUrl::parse(&format!("sqlite://{tail}")));
        }
    }
}
