//! Masking of the credential in a form, while the form is forwarded.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::error::{BodyError, form_refused};
use crate::edge::http::error::Refusal;
use crate::wire::{BodyScanner, FormError, PresentedCredential, RequestCredential};

/// Looks at a streamed form on its way through: blots out what it holds of a credential, and compares it with the one
/// that was decided on.
pub struct Mask {
    scanner: Option<BodyScanner>,
    decided: Option<PresentedCredential>,
}

impl Mask {
    /// `decided` is the credential that was decided on.
    pub fn new(scanner: BodyScanner, decided: PresentedCredential) -> Mask {
        Mask { scanner: Some(scanner), decided: Some(decided) }
    }

    /// A mask for a public route: it masks what it finds of credentials, whole or half, one or several.
    pub fn lenient(scanner: BodyScanner) -> Mask {
        Mask { scanner: Some(scanner.of_any_credential()), decided: None }
    }

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
        if piece.is_empty() {
            return Ok(());
        }
        let Some(scanner) = &mut self.scanner else {
            ready.push_back(piece);
            return Ok(());
        };
        let mut piece = BytesMut::from(piece);
        scanner.scan(&mut piece).map_err(form_refused)?;
        ready.push_back(piece.freeze());
        Ok(())
    }

    /// Judges the form as a whole at its end.
    pub(super) fn finish(&mut self) -> Result<(), BodyError> {
        let Some(scanner) = self.scanner.take() else { return Ok(()) };
        let found = match (scanner.finish(), &self.decided) {
            // What is there of a credential is blotted out, and that is all that matters.
            (Err(FormError::Credential(_)), None) => None,
            (found, _) => found.map_err(form_refused)?,
        };
        if let (Some(decided), Some(found)) = (&self.decided, &found) {
            let mut both = RequestCredential::new();
            both.add(decided.presented())
                .and_then(|()| both.add(found.presented()))
                .map_err(|e| BodyError::Refused(Refusal::Malformed(e.to_string().into())))?;
        }
        Ok(())
    }
}
