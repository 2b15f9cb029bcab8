//! The gate of `[web]`: the prefix of its own pages, and the rules for requests by cookie.

use super::AllowedOrigin;
use super::reader::ConfigTable;
use super::wording::told;

/// The longest prefix.
const LONGEST_PREFIX: usize = 64;

/// The settings of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// The path below which all pages are Gatepost's own, such as `/-/gatepost`.
    pub prefix: String,
    /// True if backends may have service workers.
    pub service_workers: bool,
    /// Other origins whose pages may change something by a session's cookie, and open WebSockets.
    pub allowed_origins: Vec<AllowedOrigin>,
}

impl GateSettings {
    pub(super) fn read(table: &ConfigTable<'_>) -> GateSettings {
        GateSettings {
            prefix: table.read("prefix", "/-/gatepost".to_owned(), |v| v.parsed(prefix)),
            service_workers: table.read("service_workers", false, |v| v.flag()),
            allowed_origins: table.read("allowed_origins", Vec::new(), AllowedOrigin::read_list),
        }
    }
}

/// Parses a prefix: a path that no server reads in another way.
fn prefix(text: &str) -> Result<String, String> {
    let is_plain = |segment: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_~.".contains(&b);
        !segment.is_empty() && segment.bytes().all(allowed) && !segment.starts_with('.')
    };
    let is_valid = text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain));
    if !is_valid || text.len() > LONGEST_PREFIX {
        return Err(format!(
            "invalid prefix '{}': expected a path such as /-/gatepost, without a slash at its end, of letters, \
             digits, '-', '_', '.' and '~', and at most {LONGEST_PREFIX} characters",
            told(text)
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for good in ["/-/gatepost", "/_gp", "/a/b/c.d~e"] {
            assert_eq!(prefix(good).as_deref(), Ok(good));
        }
        let long = format!("/{}", "a".repeat(LONGEST_PREFIX));
        for bad in [
            "",
            "/",
            "-/gatepost",
            "/a/",
            "//a",
            "/a//b",
            "/a/../b",
            "/.a",
            "/a%2fb",
            "/a b",
            "/a?b",
            "/ä",
            &long,
        ] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }
}
