//! The texts for parts of a multipart form that parsers read in different ways: each says what would be right.

use super::error::FormError::{self, Malformed};

pub(super) const LINE: FormError =
    Malformed("write each header line of a part as `name: value`, ended by CR LF and not folded");
pub(super) const CONTROL: FormError = Malformed("the header of a part must not contain control characters");
pub(super) const REPEATED: FormError = Malformed("header given twice in a part");
pub(super) const PARAMETER: FormError = Malformed(
    "Content-Disposition of a part: write each parameter as name=\"value\", without blanks at the =, and `;` between parameters",
);
pub(super) const PARAMETER_NAME: FormError = Malformed(
    "Content-Disposition of a part: the name of a parameter may contain letters, digits and -_.* only",
);
pub(super) const NO_VALUE: FormError = Malformed("Content-Disposition of a part: name has no value");
pub(super) const TWO_NAMES: FormError = Malformed("Content-Disposition of a part: name is given twice");
pub(super) const TWO_FILE_NAMES: FormError =
    Malformed("Content-Disposition of a part: filename is given twice");
pub(super) const CONTINUED: FormError =
    Malformed("Content-Disposition of a part: write name=\"value\" instead of name*0=");
pub(super) const EXTENDED_NAME: FormError = Malformed(
    "Content-Disposition of a part: write name* as utf-8''value, percent-encoded, or name=\"value\" instead",
);
pub(super) const TYPE: FormError =
    Malformed("Content-Disposition of a part must begin with form-data and a `;`");
pub(super) const TAB: FormError = Malformed("the name of a part must not contain a tab");
pub(super) const WORD: FormError =
    Malformed("send the name of a part in UTF-8, or as one encoded word (RFC 2047) in UTF-8");
pub(super) const HIDDEN: FormError = Malformed(
    "Content-Disposition of a part contains api_user or api_key beside its name: leave that and backslashes out",
);
pub(super) const UNUSUAL: FormError = Malformed(
    "send api_user and api_key as plain fields: form-data; name=\"api_key\"; not as a file or encoded",
);
