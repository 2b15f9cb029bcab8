//! The scanner of a form: finds the credential anywhere in a body, and masks it while the body passes.

use super::error::FormError;
use super::media_type::MediaType;
use super::multipart::MultipartScanner;
use super::urlencoded::{UrlencodedScanner, open_field};
use crate::wire::credential::PresentedCredential;

/// Scans the body of a form, chunk by chunk: captures `api_user` and `api_key` and overwrites their values in place.
///
/// Every byte of a chunk is final when [`scan`](BodyScanner::scan) returns, so that the chunk can be spooled or forwarded at
/// once. Nothing is held back and lengths never change. In an urlencoded body the raw bytes of the value are overwritten, in a
/// multipart body the content of the part. The split into chunks makes no difference.
///
/// The scanner assumes that a backend reads the form in any way that is in use. If two parsers could read different fields, it
/// reports an error, and the request must not reach a backend. It sees the body as the backend does only if there is exactly
/// one Content-Type header and no Content-Encoding other than `identity`, which the caller ensures.
///
/// Memory: at most 16 KiB for the header of a part and 4 KiB for each of the two values.
pub struct BodyScanner {
    form: FormScanner,
    is_declared: bool,
    failed: Option<FormError>,
}

enum FormScanner {
    Urlencoded(UrlencodedScanner),
    Multipart(Box<MultipartScanner>),
}

impl BodyScanner {
    /// The scanner for a body of this type, which is the value of the Content-Type header, empty if there is none. `None` for
    /// a body that no backend takes for a form.
    ///
    /// # Errors
    /// A form in a character set that is not a superset of ASCII. A form whose type or boundary is missing or can be read in
    /// two ways.
    pub fn for_content_type(content_type: &[u8]) -> Result<Option<BodyScanner>, FormError> {
        let media_type = MediaType::read(content_type)?;
        let is_declared = media_type != MediaType::Text && !content_type.trim_ascii().is_empty();
        let form = match media_type {
            MediaType::Urlencoded if is_declared => FormScanner::Urlencoded(UrlencodedScanner::new()),
            MediaType::Urlencoded | MediaType::Text => FormScanner::Urlencoded(UrlencodedScanner::of_text()),
            MediaType::Multipart { boundary } => {
                FormScanner::Multipart(Box::new(MultipartScanner::new(&boundary)))
            }
            MediaType::Other => return Ok(None),
        };
        Ok(Some(BodyScanner { form, is_declared, failed: None }))
    }

    /// Returns true if the body says that it is a form. Rack reads a body without a type as an urlencoded form, and Bottle reads
    /// `text/plain` so. To others it is arbitrary data, in which only an invalid credential is an error. A name or value with a
    /// blank, an end of line or a quote is text, and no credential.
    pub fn is_declared(&self) -> bool {
        self.is_declared
    }

    /// The start of the field at the end of a text that says nothing, if more of the text decides whether it is a credential. Such a
    /// field has to be scanned in one piece. `begins` says that a field begins where the text does.
    pub fn open_field(text: &[u8], begins: bool) -> Option<usize> {
        open_field(text, begins)
    }

    /// Makes a scanner for a route that requires no credential. It masks everything that could be one, up to the end: repeated,
    /// behind a `;`, or too long, and reports none of that as an error.
    pub fn of_any_credential(mut self) -> BodyScanner {
        match &mut self.form {
            FormScanner::Urlencoded(form) => form.halves.accept_any(),
            FormScanner::Multipart(form) => form.halves.accept_any(),
        }
        self
    }

    /// Scans the next chunk and masks the credential in it.
    ///
    /// # Errors
    /// [`FormError`]; every later call returns the same one.
    pub fn scan(&mut self, chunk: &mut [u8]) -> Result<(), FormError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let outcome = match &mut self.form {
            FormScanner::Urlencoded(form) => form.scan(chunk),
            FormScanner::Multipart(form) => form.scan(chunk),
        };
        self.failed = outcome.err();
        outcome
    }

    /// Returns true if [`finish`](BodyScanner::finish) could find a credential or an error, if it were called now.
    pub fn could_fail_at_the_end(&self) -> bool {
        match &self.form {
            FormScanner::Urlencoded(form) => self.failed.is_some() || form.has_found(),
            FormScanner::Multipart(_) => true,
        }
    }

    /// Masks a whole body, which is in memory. The same as [`scan`](Self::scan) and [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`FormError`]; a part of the body may be masked by then.
    pub fn mask_in_place(mut self, body: &mut [u8]) -> Result<Option<PresentedCredential>, FormError> {
        self.scan(body)?;
        self.finish()
    }

    /// Ends the body. Returns the credential in it, if there is one.
    ///
    /// # Errors
    /// [`FormError`], also if a multipart body ends before its last boundary. An empty body is no error.
    pub fn finish(self) -> Result<Option<PresentedCredential>, FormError> {
        match (self.failed, self.form) {
            (Some(error), _) => Err(error),
            (None, FormScanner::Urlencoded(form)) => form.finish(),
            (None, FormScanner::Multipart(form)) => form.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
