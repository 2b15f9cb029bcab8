//! The query of a list: limit, cursor, prefix and filters.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::cursor::{decode_cursor, encode_cursor};
use super::problem::{FaultPlace, Faults};
use crate::domain::{NamePrefix, PageCursor, Permission, UseState};
use crate::wire::percent;

/// The most credentials of a page, and those of a page without a limit.
pub const LARGEST_PAGE: u32 = 200;
const DEFAULT_PAGE: u32 = 50;

/// The most characters of a parameter's name that are shown.
const SHOWN: usize = 32;

/// The checked query of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The most credentials of the page.
    pub limit: u32,
    /// The start of the page; `None` for the first one.
    pub cursor: Option<PageCursor>,
    /// The start of the names that are listed, in any case.
    pub prefix: Option<NamePrefix>,
    /// The permission that the listed credentials were given.
    pub permission: Option<Permission>,
    /// The state of the listed credentials, by their last use.
    pub state: Option<UseState>,
}

impl ListQuery {
    /// Reads a query without its `?`.
    ///
    /// # Errors
    /// All faults: unknown and repeated parameters, and invalid values.
    pub fn parse(query: &[u8]) -> Result<ListQuery, Faults> {
        let (mut faults, mut seen) = (Faults::default(), Vec::new());
        let mut read =
            ListQuery { limit: DEFAULT_PAGE, cursor: None, prefix: None, permission: None, state: None };
        for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (decoded(&pair[..end]), decoded(pair.get(end + 1..).unwrap_or_default()));
            let name = String::from_utf8_lossy(&name).into_owned();
            let Ok(value) = String::from_utf8(value) else {
                faults.push(place(&name), "must be UTF-8 text");
                continue;
            };
            if seen.contains(&name) {
                faults.push(place(&name), "given more than once");
                continue;
            }
            if let Err(detail) = read.set(&name, &value) {
                faults.push(place(&name), detail);
            }
            seen.push(name);
        }
        if faults.is_empty() { Ok(read) } else { Err(faults) }
    }

    /// Checks the query of an operation without parameters.
    ///
    /// # Errors
    /// A fault for each parameter.
    pub fn refuse_any(query: &[u8]) -> Result<(), Faults> {
        let mut faults = Faults::default();
        for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let name = decoded(pair.split(|byte| *byte == b'=').next().unwrap_or_default());
            faults.push(place(&String::from_utf8_lossy(&name)), "unknown parameter: none is known here");
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "limit" => self.limit = limit(value).ok_or("must be a whole number from 1 to 200")?,
            "cursor" => self.cursor = Some(decode_cursor(value).map_err(|error| error.to_string())?),
            "prefix" => self.prefix = Some(prefix(value)?),
            "permission" => {
                self.permission = Some(Permission::from_name(value).ok_or("must be email, api or web")?);
            }
            "state" => {
                self.state = Some(UseState::of_word(value).ok_or("must be active, unused or never-used")?);
            }
            _ => {
                return Err("unknown parameter: known are limit, cursor, prefix, permission and state".into());
            }
        }
        Ok(())
    }

    /// The query of the page that begins at `cursor`, without `?`.
    pub fn next(&self, cursor: &PageCursor) -> String {
        let mut query = format!("limit={}&cursor={}", self.limit, encode_cursor(cursor));
        if let Some(prefix) = &self.prefix {
            query.push_str(&format!("&prefix={}", utf8_percent_encode(prefix.lower(), NON_ALPHANUMERIC)));
        }
        if let Some(permission) = self.permission {
            query.push_str(&format!("&permission={permission}"));
        }
        if let Some(state) = self.state {
            query.push_str(&format!("&state={}", state.as_str()));
        }
        query
    }
}

fn limit(value: &str) -> Option<u32> {
    let is_plain =
        value.len() <= 3 && value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|limit| is_plain && (1..=LARGEST_PAGE).contains(limit))
}

fn prefix(value: &str) -> Result<NamePrefix, String> {
    let prefix =
        NamePrefix::of(value).filter(|prefix| prefix.lower().len() == value.len() && !value.is_empty());
    prefix.ok_or_else(|| {
        "must be 1 to 64 of the characters of usernames: letters, digits and . _ - + @".to_owned()
    })
}

fn place(name: &str) -> FaultPlace {
    let shown = name.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c });
    FaultPlace::Parameter(shown.collect())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    percent::decode(text, |byte| out.push(byte));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> Result<ListQuery, Vec<(String, String)>> {
        ListQuery::parse(query.as_bytes()).map_err(|faults| {
            let of = |fault: &super::super::problem::Fault| match &fault.place {
                FaultPlace::Parameter(name) => (name.clone(), fault.detail.clone()),
                other => panic!("{other:?}"),
            };
            faults.iter().map(of).collect()
        })
    }

    #[test]
    fn queries() {
        let first = parse("").unwrap();
        assert_eq!((first.limit, first.cursor, first.prefix), (50, None, None));
        let cursor: PageCursor = "gt:john".parse().unwrap();
        let text = format!(
            "limit=200&cursor={}&prefix=j%2Bo&permission=web&state=never-used",
            encode_cursor(&cursor)
        );
        let query = parse(&text).unwrap();
        assert_eq!((query.limit, query.cursor), (200, Some(cursor)));
        assert_eq!(query.prefix.as_ref().map(NamePrefix::lower), Some("j+o"));
        assert_eq!((query.permission, query.state), (Some(Permission::Web), Some(UseState::NeverUsed)));
        assert_eq!(query.next(&cursor), text);
    }

    #[test]
    fn all_faults_are_told_with_their_parameter() {
        let faults =
            parse("limit=0&limit=5&Limit=1&prefix=&prefix&cursor=x&permission=root&state=on&state=%ff")
                .unwrap_err();
        let names: Vec<_> = faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["limit", "limit", "Limit", "prefix", "prefix", "cursor", "permission", "state", "state"]
        );
        for limit in ["0", "201", "1000", "-1", "+1", "01", "1.0", "1e1", "", "x", "\u{663}"] {
            assert!(parse(&format!("limit={limit}")).is_err(), "{limit}");
        }
        for prefix in ["a%20b", "%20a", "a%20", "a%00", "\u{fc}", &"x".repeat(65)] {
            assert!(parse(&format!("prefix={prefix}")).is_err(), "{prefix}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ListQuery::parse(&query);
        }

        #[test]
        fn the_next_page_has_the_same_filters(
            limit in 1..=LARGEST_PAGE, prefix in proptest::option::of("[a-zA-Z0-9._+@-]{1,64}"), state in 0..3usize,
        ) {
            let state = Some(UseState::ALL[state]);
            let prefix = prefix.and_then(|prefix| NamePrefix::of(&prefix));
            let query = ListQuery { limit, cursor: None, prefix, permission: Some(Permission::Api), state };
            let cursor: PageCursor = "gt:john".parse().unwrap();
            let next = ListQuery::parse(query.next(&cursor).as_bytes()).unwrap();
            prop_assert_eq!(next, ListQuery { cursor: Some(cursor), ..query });
        }
    }
}
