//! Text in XML documents that are declared as ISO-8859-1.

/// The declaration at the start of every document.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n";

/// Appends `text` as character data. Non-ASCII characters become character references, so that the bytes are the same in
/// ISO-8859-1 and in UTF-8. Characters that XML 1.0 can't contain (section 2.2) become U+FFFD.
pub(crate) fn push_text(xml: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            // As a reference, because parsers turn a literal CR into a line feed.
            '\r' => xml.push_str("&#13;"),
            '\t' | '\n' | ' '..='\x7e' => xml.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => xml.push_str("&#65533;"),
            _ => {
                xml.push_str("&#");
                xml.push_str(&u32::from(c).to_string());
                xml.push(';');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut xml = String::new();
        push_text(&mut xml, text);
        xml
    }

    #[test]
    fn characters_that_xml_can_and_cannot_contain() {
        assert_eq!(escaped("a<b>&\"c\"'"), "a&lt;b&gt;&amp;\"c\"'");
        assert_eq!(escaped("\u{fc}\u{20ac}\u{1f600}\u{7f}\u{85}"), "&#252;&#8364;&#128512;&#127;&#133;");
        assert_eq!(escaped("\0\x0b\u{ffff}\t\n\r]]>"), "&#65533;&#65533;&#65533;\t\n&#13;]]&gt;");
    }

    proptest! {
        #[test]
        fn always_ascii_and_without_markup(text: String) {
            let xml = escaped(&text);
            prop_assert!(xml.bytes().all(|b| b.is_ascii_graphic() || b" \t\n".contains(&b)));
            prop_assert!(!xml.contains(['<', '>']));
        }
    }
}
