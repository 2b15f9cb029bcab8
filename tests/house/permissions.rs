//! `permissions` against a reference that reads the text as a JSON value.

use gatepost::domain::{Permission, PermissionEdit, Permissions};
use proptest::prelude::*;
use serde_json::Value;

/// What the text means, found the slow way; `None` where it has to be refused. Knows nothing of a key given twice, since
/// a JSON value doesn't.
fn reference(text: &str) -> Option<(Permissions, Permissions)> {
    let Value::Object(object) = serde_json::from_str(text).ok()? else { return None };
    let (mut named, mut granted) = (Permissions::NONE, Permissions::NONE);
    for (key, value) in object {
        let bit = Permissions::only(Permission::from_name(&key)?);
        named = named.or(bit);
        match value.to_string().as_str() {
            "0" => {}
            "1" => granted = granted.or(bit),
            _ => return None,
        }
    }
    Some((named, granted))
}

fn keys_in(text: &str) -> usize {
    text.matches(':').count()
}

proptest! {
    #[test]
    fn read_as_the_reference_does(words in proptest::collection::vec(prop::sample::select(vec![
        "{", "}", "\"email\"", "\"api\"", "\"web\"", "\"e\\u006dail\"", "\"Email\"", ":", ",", "0", "1", "2", "-", ".0", "e0",
        "true", "null", "[", "]", "\"1\"", " ", "\n", "{\"api\":1", ",\"web\":0", "\"email\":1,", "\"email\":0",
    ]), 0..10)) {
        let text = words.concat();
        let read = PermissionEdit::from_json(&text).ok().map(|edit| (edit.named(), edit.granted()));
        let expected = reference(&text);
        let twice = expected.is_some_and(|(named, _)| named.iter().count() != keys_in(&text));
        prop_assert_eq!(read, expected.filter(|_| !twice), "{}", text);
    }

    #[test]
    fn any_object_of_the_three_is_read(bits in proptest::collection::vec(0..3u8, 3), space in "[ \n\t]{0,2}") {
        let pairs: Vec<String> = Permission::ALL
            .iter()
            .zip(&bits)
            .filter(|(_, bit)| **bit < 2)
            .map(|(p, bit)| format!("{space}\"{p}\"{space}:{space}{bit}{space}"))
            .collect();
        let text = format!("{space}{{{}}}{space}", pairs.join(","));
        let edit = PermissionEdit::from_json(&text).unwrap();
        prop_assert_eq!(Some((edit.named(), edit.granted())), reference(&text));
    }
}
