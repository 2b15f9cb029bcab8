//! The fields of a form that one of Gatepost's own pages posts, or of a query of such a page.

use thiserror::Error;

use super::fields;
use crate::domain::Secret;

/// The most fields: a page of 200 credentials with a box each, and some more.
const MOST_FIELDS: usize = 256;

/// The fields of one form, all of them text. The values are wiped when dropped.
#[derive(Debug, Default)]
pub struct PageForm {
    fields: Vec<(String, Secret)>,
}

/// A form that none of the pages sends.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PageFormError {
    /// More fields than allowed.
    #[error("more than {MOST_FIELDS} fields")]
    TooManyFields,
    /// A name or a value is not UTF-8, or has a NUL.
    #[error("a field is not text")]
    NotText,
}

impl PageForm {
    /// Parses an urlencoded body, or a query without its `?`.
    ///
    /// # Errors
    /// [`PageFormError`]
    pub fn parse(text: &[u8]) -> Result<PageForm, PageFormError> {
        let mut form = PageForm::default();
        fields::urlencoded(text, |field| {
            let value = Secret::new(field.value);
            if form.fields.len() == MOST_FIELDS {
                return Err(PageFormError::TooManyFields);
            }
            let name = String::from_utf8(field.name).map_err(|_| PageFormError::NotText)?;
            let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0);
            if !is_text(value.expose()) || !is_text(name.as_bytes()) {
                return Err(PageFormError::NotText);
            }
            form.fields.push((name, value));
            Ok(())
        })?;
        Ok(form)
    }

    /// The first value of a field; `None` if there is none.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of a field, in their order.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        let with_name = self.fields.iter().filter(move |(of, _)| of == name);
        with_name.map(|(_, value)| std::str::from_utf8(value.expose()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form = PageForm::parse(b"a=1&b=%C3%A4+x&a=2&&c&=d").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("1"), Some("ä x"), Some("")));
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((form.get("d"), form.get("")), (None, Some("d")));
    }

    #[test]
    fn what_no_page_sends_is_refused() {
        assert_eq!(PageForm::parse(b"a=%ff").unwrap_err(), PageFormError::NotText);
        assert_eq!(PageForm::parse(b"%ff=a").unwrap_err(), PageFormError::NotText);
        assert_eq!(PageForm::parse(b"a=%00").unwrap_err(), PageFormError::NotText);
        let many = "a=1&".repeat(MOST_FIELDS);
        assert!(PageForm::parse(many.as_bytes()).is_ok());
        assert_eq!(PageForm::parse((many + "a=1").as_bytes()).unwrap_err(), PageFormError::TooManyFields);
    }
}
