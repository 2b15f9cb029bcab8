//! A JSON body, read without losing anything that a caller may have got wrong: repeated members stay, and numbers are no text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A value of a JSON body. Texts are wiped when dropped, since one may be a password.
#[derive(Debug)]
pub enum StrictJson {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, of which no body needs any.
    Number,
    /// A text.
    Text(Zeroizing<String>),
    /// A list, of which no body needs any.
    List,
    /// An object with its members in their order. A name may be there twice.
    Object(Vec<(String, StrictJson)>),
}

impl StrictJson {
    /// Parses a whole body.
    ///
    /// # Errors
    /// Anything else than one JSON text (RFC 8259), in words without any of its content.
    pub fn parse(body: &[u8]) -> Result<StrictJson, String> {
        serde_json::from_slice(body).map_err(|error| match body.is_empty() {
            true => "the body is empty".to_owned(),
            false => error.to_string(),
        })
    }

    /// The kind of the value, with an article.
    pub const fn kind(&self) -> &'static str {
        match self {
            StrictJson::Null => "null",
            StrictJson::Bool(_) => "a boolean",
            StrictJson::Number => "a number",
            StrictJson::Text(_) => "a string",
            StrictJson::List => "an array",
            StrictJson::Object(_) => "an object",
        }
    }
}

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StrictJson, D::Error> {
        deserializer.deserialize_any(StrictJsonVisitor)
    }
}

struct StrictJsonVisitor;

impl<'de> Visitor<'de> for StrictJsonVisitor {
    type Value = StrictJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<StrictJson, E> {
        Ok(StrictJson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<StrictJson, E> {
        Ok(StrictJson::Bool(value))
    }

    fn visit_u64<E>(self, _: u64) -> Result<StrictJson, E> {
        Ok(StrictJson::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<StrictJson, E> {
        Ok(StrictJson::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<StrictJson, E> {
        Ok(StrictJson::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<StrictJson, E> {
        Ok(StrictJson::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StrictJson, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(StrictJson::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<StrictJson, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(StrictJson::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(text: &str) -> &'static str {
        StrictJson::parse(text.as_bytes()).unwrap().kind()
    }

    #[test]
    fn values_have_kinds() {
        for (text, expected) in [
            ("null", "null"),
            (" true\n", "a boolean"),
            ("1", "a number"),
            ("-1", "a number"),
            ("1e3", "a number"),
            ("18446744073709551616", "a number"),
            (r#""a""#, "a string"),
            ("[1, [2]]", "an array"),
            ("{}", "an object"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn repeated_members_stay() {
        let StrictJson::Object(members) = StrictJson::parse(br#"{"a":1,"a":{"b":null},"c":[]}"#).unwrap()
        else {
            panic!("it is an object")
        };
        let names: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value.kind())).collect();
        assert_eq!(names, [("a", "a number"), ("a", "an object"), ("c", "an array")]);
    }

    #[test]
    fn other_texts_are_refused_without_their_content() {
        for text in
            ["", "secret", "{\"a\":\"secret\"", "{} {}", "{a:1}", "[1,]", "\"\\ud800\"", "1e999", "NaN"]
        {
            let error = StrictJson::parse(text.as_bytes()).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(StrictJson::parse(b"\"\xff\"").is_err());
        let deep = "[".repeat(100_000);
        assert!(StrictJson::parse(deep.as_bytes()).is_err());
        let deep = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
        assert!(StrictJson::parse(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let ours = StrictJson::parse(&body).is_ok();
            prop_assert_eq!(ours, serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }
}
