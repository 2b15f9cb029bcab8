//! Masking: keeps the credential of a request from its backend and from the log, wherever it stands.
//!
//! The rule of masking, for queries and forms: whatever `wire::form` takes for `api_user` or `api_key` is removed from a query and overwritten in
//! a form. With a permission to be checked, a credential that is incomplete or contradicts itself is refused. On a public route nobody
//! has to present one, and whatever could be one is masked, right or wrong.
//!
//! In the log, a request is named by its path alone ([`LoggedPath`]).

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use super::body::error::{BodyError, form_refused};
use super::error::Refusal;
use crate::domain::{Presented, shown};
use crate::wire::{
    BodyScanner, CredentialError, FieldKind, FormError, HeaderFields, PresentedCredential, one_credential,
    path_has_credential, take_credential, without_credential,
};

/// The most bytes of a path in the log.
const PATH_LIMIT: usize = 256;

/// A query without its credential.
pub struct MaskedQuery {
    /// The credential.
    pub held: Option<PresentedCredential>,
    /// The rest; `None` where nothing is left.
    pub rest: Option<Vec<u8>>,
}

impl MaskedQuery {
    /// A query that is read for its credential.
    ///
    /// # Errors
    /// The credential is incomplete or contradicts itself.
    pub fn read(query: Option<&[u8]>) -> Result<MaskedQuery, CredentialError> {
        let taken = query.map(take_credential).transpose()?.flatten();
        Ok(match taken {
            Some(taken) => MaskedQuery {
                held: Some(taken.credential),
                rest: Some(taken.rest).filter(|rest| !rest.is_empty()),
            },
            None => MaskedQuery::untouched(query),
        })
    }

    /// The query of a public route.
    pub fn of_public_route(query: Option<&[u8]>) -> MaskedQuery {
        let rest = query.map(|query| without_credential(query).unwrap_or_else(|| query.to_vec()));
        MaskedQuery { held: None, rest: rest.filter(|rest| !rest.is_empty()) }
    }

    /// A query that isn't read: the entry takes no credential there.
    pub fn untouched(query: Option<&[u8]>) -> MaskedQuery {
        MaskedQuery { held: None, rest: query.map(<[u8]>::to_vec) }
    }
}

/// The kind of a body, by which it is read for the credential. It has to be what the backend takes it for.
pub enum BodyKind {
    /// A body that is no form.
    Other,
    /// A body that says that it is a form: the credential may stand there.
    Form(BodyScanner),
    /// A body of no declared type, so that some backends take it for a form and others for bytes. Nobody is asked to present a credential
    /// there, and so such a body is never read ahead. One that stands there must still not contradict the header. On a public route,
    /// where nothing is compared, it stays as it is.
    Undeclared(BodyScanner),
}

impl BodyKind {
    /// The kind of the body below these fields.
    ///
    /// # Errors
    /// A form that could be read in more ways than one.
    pub fn of(fields: &HeaderFields) -> Result<BodyKind, Refusal> {
        let mut kinds = fields.all(FieldKind::ContentType);
        let kind = kinds.next().map_or(&b""[..], <[u8]>::trim_ascii);
        if kinds.next().is_some() {
            return Err(Refusal::Malformed("More than one Content-Type".into()));
        }
        let scanner =
            BodyScanner::for_content_type(kind).map_err(|e| Refusal::Malformed(e.to_string().into()))?;
        match scanner {
            None => Ok(BodyKind::Other),
            Some(scanner) if !scanner.is_declared() => Ok(BodyKind::Undeclared(scanner)),
            Some(_) if is_encoded(fields) => {
                Err(Refusal::Malformed("Unsupported Content-Encoding: a form must not have one".into()))
            }
            Some(scanner) => Ok(BodyKind::Form(scanner)),
        }
    }

    /// The mask of a body that may only repeat the credential that was decided on.
    pub fn mask(self, decided: Presented<'_>) -> Option<Mask> {
        let (scanner, tail) = match self {
            BodyKind::Other => return None,
            BodyKind::Form(scanner) => (scanner, None),
            BodyKind::Undeclared(scanner) => (scanner, Some(TextTail::default())),
        };
        let decided = Decided::On(PresentedCredential::copy_of(decided));
        Some(Mask { scanner: Some(scanner), tail, decided })
    }

    /// The mask of a body on a public route: whole credentials or halves, one or several.
    pub fn mask_of_public_route(self) -> Option<Mask> {
        match self {
            BodyKind::Other | BodyKind::Undeclared(_) => None,
            BodyKind::Form(scanner) => Some(Mask {
                scanner: Some(scanner.of_any_credential()),
                tail: None,
                decided: Decided::Nothing,
            }),
        }
    }
}

/// Returns true if the body is encoded (RFC 9110 section 8.4). `identity` says that it isn't.
fn is_encoded(fields: &HeaderFields) -> bool {
    fields.elements(FieldKind::ContentEncoding).any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}

/// The credential that one in a form is compared with.
enum Decided {
    /// The credential that was decided on.
    On(PresentedCredential),
    /// Nothing: on a public route any credential is masked.
    Nothing,
}

/// The end of a text that could be the start of a credential, and waits for what follows.
struct TextTail {
    held: Zeroizing<Vec<u8>>,
    /// True if the text that follows begins a field or continues one that is held.
    begins: bool,
}

impl Default for TextTail {
    fn default() -> TextTail {
        TextTail { held: Zeroizing::default(), begins: true }
    }
}

impl TextTail {
    /// Adds a piece. Returns what nothing that follows changes any more.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let mut text = match self.held.is_empty() {
            true => piece,
            false => [&self.held, &*piece].concat().into(),
        };
        let start = BodyScanner::open_field(&text, self.begins);
        self.begins = start.is_some();
        self.held = Zeroizing::new(text.split_off(start.unwrap_or(text.len())).to_vec());
        text
    }
}

/// Masks a form while it is forwarded.
pub struct Mask {
    scanner: Option<BodyScanner>,
    /// The end of what has come of a body that may be text.
    tail: Option<TextTail>,
    decided: Decided,
}

impl Mask {
    /// Returns true if the form can still be refused for its last bytes.
    pub(super) fn could_refuse_at_the_end(&self) -> bool {
        self.scanner.as_ref().is_some_and(BodyScanner::could_fail_at_the_end)
    }

    /// Returns true if the form has been judged as a whole.
    pub(super) fn is_finished(&self) -> bool {
        self.scanner.is_none()
    }

    /// Masks a piece, and adds what can be forwarded to `ready`.
    pub(super) fn pass(&mut self, piece: Bytes, ready: &mut VecDeque<Bytes>) -> Result<(), BodyError> {
        let piece = match &mut self.tail {
            Some(tail) => tail.pass(piece),
            None => piece,
        };
        if piece.is_empty() {
            return Ok(());
        }
        ready.push_back(match &mut self.scanner {
            Some(scanner) => masked(scanner, piece)?,
            None => piece,
        });
        Ok(())
    }

    /// Judges the form as a whole at its end, and adds what was still held to `ready`.
    pub(super) fn finish(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), BodyError> {
        if let Some(tail) = self.tail.take() {
            self.pass(Bytes::copy_from_slice(&tail.held), ready)?;
        }
        let Some(scanner) = self.scanner.take() else { return Ok(()) };
        match (scanner.finish(), &self.decided) {
            // What there is of a credential is masked, and that is all that matters.
            (Err(FormError::Credential(_)), Decided::Nothing) | (Ok(None), _) => Ok(()),
            (Err(error), _) => Err(form_refused(error)),
            (Ok(Some(_)), Decided::Nothing) => Ok(()),
            (Ok(Some(found)), Decided::On(decided)) => {
                one_credential(Some(decided.presented()), Some(found.presented()))
                    .map(|_| ())
                    .map_err(|e| BodyError::Refused(Refusal::Malformed(e.to_string().into())))
            }
        }
    }
}

/// Masks a form that is read to its end for its credential, before it is forwarded.
pub struct FormReader(BodyScanner);

impl FormReader {
    /// A reader of the form that `scanner` knows.
    pub fn new(scanner: BodyScanner) -> FormReader {
        FormReader(scanner)
    }

    /// Masks a piece.
    ///
    /// # Errors
    /// The form can't be read, or can be read in more ways than one.
    pub fn mask(&mut self, piece: Bytes) -> Result<Bytes, BodyError> {
        masked(&mut self.0, piece)
    }

    /// The credential, at the end of the form.
    ///
    /// # Errors
    /// The same, or the credential is incomplete.
    pub fn finish(self) -> Result<Option<PresentedCredential>, BodyError> {
        self.0.finish().map_err(form_refused)
    }
}

fn masked(scanner: &mut BodyScanner, piece: Bytes) -> Result<Bytes, BodyError> {
    let mut piece = BytesMut::from(piece);
    scanner.scan(&mut piece).map_err(form_refused)?;
    Ok(piece.freeze())
}

/// The path of a request's target, for the log: without query and fragment, and without the authority of an absolute target, which may
/// all hold a secret. A path that holds a credential itself is cut in front of it.
pub struct LoggedPath<'a>(pub &'a [u8]);

impl fmt::Display for LoggedPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default();
        let path = match memchr::memmem::find(path, b"://") {
            Some(end) if !path.starts_with(b"/") => {
                path[end + 3..].splitn(2, |b| *b == b'/').nth(1).unwrap_or_default()
            }
            _ => path,
        };
        let path = match path_has_credential(path) {
            true => path.split(|b| matches!(b, b'&' | b';' | b'%')).next().unwrap_or_default(),
            false => path,
        };
        f.write_str(&shown(path, PATH_LIMIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn no_secret_of_a_target_is_logged() {
        for (target, logged) in [
            ("/a/b?api_key=s", "/a/b"),
            ("/a#api_key=s", "/a"),
            ("/a&api_key=s", "/a"),
            ("/a/b%3Fapi_key=s", "/a/b"),
            ("/a&b;c%26", "/a&b;c%26"),
            ("http://joe:secret@host/a?b", "a"),
            ("http://joe:secret@host", ""),
            ("/http://a/b", "/http://a/b"),
            ("/\u{7}\"ü\u{202e}", "/\\u{7}\"ü\\u{202e}"),
        ] {
            assert_eq!(LoggedPath(target.as_bytes()).to_string(), logged, "{target}");
        }
        assert_eq!(LoggedPath(&[b'a'; 1000]).to_string(), format!("{}…", "a".repeat(PATH_LIMIT)));
    }

    #[test]
    fn any_split_of_a_text_gives_the_same() {
        let kind = || BodyKind::Undeclared(BodyScanner::for_content_type(b"text/plain").unwrap().unwrap());
        let whole = |text: &'static str, cut: usize| {
            let decided = PresentedCredential::new(b"joe".to_vec(), Secret::new(b"s".to_vec()));
            let (mut mask, mut ready) = (kind().mask(decided.presented()).unwrap(), VecDeque::new());
            let (start, end) = text.as_bytes().split_at(cut);
            mask.pass(Bytes::from_static(start), &mut ready).unwrap();
            mask.pass(Bytes::from_static(end), &mut ready).unwrap();
            mask.finish(&mut ready).unwrap();
            String::from_utf8(ready.into_iter().flatten().collect()).unwrap()
        };
        for (text, masked) in [
            ("GET /a?x=1&api_key=9 200\nGET /", "GET /a?x=1&api_key=9 200\nGET /"),
            ("a;api_key=9\"&api_user \n", "a;api_key=9\"&api_user \n"),
            ("api_user=joe&a&api_key=s", "api_user=xxx&a&api_key=x"),
            ("{}&api_key=s&api_user=joe&b c", "{}&api_key=x&api_user=xxx&b c"),
        ] {
            (0..=text.len()).for_each(|cut| assert_eq!(whole(text, cut), masked, "{text}, {cut}"));
        }
    }

    #[test]
    fn a_query_without_its_credential() {
        let query = Some(&b"a=1&api_user=joe&api_key=s"[..]);
        let read = MaskedQuery::read(query).unwrap();
        assert!(read.held.is_some() && read.rest.as_deref() == Some(b"a=1"));
        assert_eq!(MaskedQuery::read(Some(b"api_user=joe&api_key=s")).unwrap().rest, None);
        let empty = MaskedQuery::read(Some(b"")).unwrap();
        assert!(empty.held.is_none() && empty.rest.as_deref() == Some(b""));
        assert!(MaskedQuery::read(Some(b"api_key=s")).is_err());
        assert_eq!(MaskedQuery::of_public_route(Some(b"api_key=s")).rest, None);
        assert_eq!(MaskedQuery::of_public_route(query).rest.as_deref(), Some(&b"a=1"[..]));
        assert_eq!(MaskedQuery::untouched(query).rest.as_deref(), query);
    }
}
