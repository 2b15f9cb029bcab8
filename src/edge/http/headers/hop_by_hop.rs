//! Fields that are not forwarded because a connection names them (RFC 9110 section 7.6.1).

use crate::wire::{FieldKind, HeaderField, HeaderFields};

/// The most fields that `Connection` may name. Each field of a header is looked for among them.
const MOST_NOMINATED: usize = 64;

/// Returns true if `Connection` is `keep-alive` or `close`, and names no field.
fn is_plain(connection: &[u8]) -> bool {
    connection.eq_ignore_ascii_case(b"keep-alive") || connection.eq_ignore_ascii_case(b"close")
}

/// The fields that `Connection` names, which are not forwarded.
pub struct Nominated<'a> {
    names: Vec<&'a [u8]>,
}

impl<'a> Nominated<'a> {
    /// The fields that a header nominates. No more are read than it takes to see that there are too many.
    pub fn of(fields: &'a HeaderFields) -> Nominated<'a> {
        let mut names = Vec::new();
        for line in fields.all(FieldKind::Connection).filter(|line| !is_plain(line)) {
            let options = line.split(|b| *b == b',').map(<[u8]>::trim_ascii);
            let room = MOST_NOMINATED + 1 - names.len();
            names.extend(options.filter(|option| !option.is_empty()).take(room));
        }
        Nominated { names }
    }

    /// Returns true if there are more than any client has a use for.
    pub fn is_too_much(&self) -> bool {
        self.names.len() > MOST_NOMINATED
    }

    /// Returns true if a field isn't forwarded because it is named.
    pub fn contains(&self, field: &HeaderField<'_>) -> bool {
        // The fields that say where a request goes and how its body is read are forwarded even if they are named, which RFC 9110
        // section 7.6.1 forbids. Otherwise a backend would read another body than the one that was checked.
        let stays = || {
            let start = field.name.get(..8);
            field.kind == FieldKind::Host
                || start.is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
        };
        !self.names.is_empty()
            && self.names.iter().any(|name| name.eq_ignore_ascii_case(field.name))
            && !stays()
    }
}
