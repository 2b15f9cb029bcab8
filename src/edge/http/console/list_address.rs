//! The address of a page of the list: search, filters, size and place.

use crate::domain::{PageCursor, Permission, UseState};
use crate::wire::PageForm;

/// The numbers of rows that a page may have.
pub const LIMITS: [u32; 3] = [50, 100, 200];

/// The path of the list.
const PATH: &str = "/credentials";

/// The longest text that is searched for.
const LONGEST_SEARCH: usize = 64;

/// The part of the list that an address asks for. Values that it cannot have are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAddress {
    /// The beginning of names, as it was typed.
    pub search: String,
    /// The permission that all rows have.
    pub permission: Option<Permission>,
    /// The state that all rows have.
    pub state: Option<UseState>,
    /// The most rows of a page.
    pub limit: u32,
    /// The place of the page; `None` for the first one.
    pub cursor: Option<PageCursor>,
}

impl ListAddress {
    /// Reads the query of an address.
    pub fn of_query(query: &PageForm) -> ListAddress {
        let text = |name| query.get(name).unwrap_or_default();
        let limit = text("limit").parse().ok().filter(|limit| LIMITS.contains(limit));
        ListAddress {
            search: text("q").trim().chars().take(LONGEST_SEARCH).collect(),
            permission: Permission::from_name(text("permission")),
            state: UseState::ALL.into_iter().find(|state| state_word(*state) == text("state")),
            limit: limit.unwrap_or(LIMITS[0]),
            cursor: text("at").parse().ok(),
        }
    }

    /// Returns the same part of the list from another place.
    pub fn at(&self, cursor: Option<PageCursor>) -> ListAddress {
        ListAddress { cursor, ..self.clone() }
    }

    /// Returns the first page of the list with that many rows a page.
    pub fn with_limit(&self, limit: u32) -> ListAddress {
        ListAddress { limit, ..self.at(None) }
    }

    /// Returns true if only a part of the credentials is searched for.
    pub fn is_narrowed(&self) -> bool {
        !self.search.is_empty() || self.permission.is_some() || self.state.is_some()
    }
}

impl std::fmt::Display for ListAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut query = Vec::new();
        if !self.search.is_empty() {
            query.push(format!("q={}", encoded(&self.search)));
        }
        query.extend(self.permission.map(|permission| format!("permission={permission}")));
        query.extend(self.state.map(|state| format!("state={}", state_word(state))));
        if self.limit != LIMITS[0] {
            query.push(format!("limit={}", self.limit));
        }
        query.extend(self.cursor.map(|cursor| format!("at={}", encoded(&cursor.to_string()))));
        match query.is_empty() {
            true => f.write_str(PATH),
            false => write!(f, "{PATH}?{}", query.join("&")),
        }
    }
}

/// Returns the word of a state in an address.
pub const fn state_word(state: UseState) -> &'static str {
    match state {
        UseState::Active => "active",
        UseState::Unused => "unused",
        UseState::NeverUsed => "never",
    }
}

/// Encodes a value of a query.
pub fn encoded(text: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(query: &str) -> ListAddress {
        ListAddress::of_query(&PageForm::parse(query.as_bytes()).unwrap())
    }

    #[test]
    fn an_address_is_read_and_written() {
        for query in [
            "/credentials",
            "/credentials?q=jo%2Bhn",
            "/credentials?q=%3Cb%3E%26x%3D1&permission=web&state=never&limit=200&at=gt%3Ajohn",
        ] {
            let read = address(query.split_once('?').map_or("", |(_, query)| query));
            assert_eq!(read.to_string(), query);
        }
    }

    #[test]
    fn values_that_it_cannot_have_are_left_out() {
        for query in
            ["limit=7", "limit=-1", "limit=1e9", "permission=root", "state=x", "at=john", "at=", "q=", "q=+"]
        {
            assert_eq!(address(query).to_string(), "/credentials", "{query}");
        }
        assert_eq!(address(&format!("q={}", "ä".repeat(100))).search.chars().count(), LONGEST_SEARCH);
        let narrowed = address("q=a&limit=100&at=gt%3Ajohn");
        assert!(narrowed.is_narrowed());
        assert_eq!(narrowed.with_limit(50).to_string(), "/credentials?q=a");
    }
}
