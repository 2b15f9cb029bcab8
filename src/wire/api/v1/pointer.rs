//! JSON pointers (RFC 6901) as fragments of URIs, which is how a problem names a place in a body.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The most characters of a member's name that are shown.
const SHOWN: usize = 64;

/// The characters that a fragment of a URI can't have (RFC 3986 section 3.5).
const NOT_IN_FRAGMENTS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A place in a JSON document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// The whole document.
    pub fn root() -> JsonPointer {
        JsonPointer::default()
    }

    /// The member of that name. A longer name than anybody has is cut.
    pub fn member(&self, name: &str) -> JsonPointer {
        let shown: String = name.chars().take(SHOWN).collect();
        JsonPointer(format!("{}/{}", self.0, shown.replace('~', "~0").replace('/', "~1")))
    }

    /// The pointer as a fragment: `#/permissions/web` (RFC 6901 section 6).
    pub fn to_fragment(&self) -> String {
        format!("#{}", utf8_percent_encode(&self.0, NOT_IN_FRAGMENTS))
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_named_by_their_path() {
        let root = JsonPointer::root();
        assert_eq!(root.to_fragment(), "#");
        assert_eq!(root.member("permissions").member("web").to_fragment(), "#/permissions/web");
        assert_eq!(root.member("a/b~c d\u{fc}").to_fragment(), "#/a~1b~0c%20d%C3%BC");
        assert_eq!(root.member(&"x".repeat(1000)).to_fragment().len(), SHOWN + 2);
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in ".{0,64}") {
            let fragment = JsonPointer::root().member(&name).to_fragment();
            prop_assert!(fragment.is_ascii());
            let text = percent_decode_str(&fragment).decode_utf8().unwrap();
            prop_assert_eq!(text[2..].replace("~1", "/").replace("~0", "~"), name);
        }
    }
}
