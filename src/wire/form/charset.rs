//! The character sets of forms: those in which a form means the same to a backend that decodes it before it splits it.

/// Returns true for a set that is known to some backend, and in which ASCII may be spelled in other ways.
pub(crate) fn spells_ascii_differently(name: &[u8]) -> bool {
    const FAMILIES: [&str; 13] =
        ["utf", "ucs", "unicode", "iso", "ibm", "cp", "ebcdic", "hz", "cs", "windows", "ms", "johab", "x-"];
    let start = String::from_utf8_lossy(&name[..name.len().min(10)]).to_ascii_lowercase();
    FAMILIES.iter().any(|family| start.starts_with(family)) && !is_superset_of_ascii(name)
}

/// Returns true for a set in which each byte below 0x80 that separates, escapes or names a field is that character.
///
/// Some sets have characters of two bytes whose second one is below 0x80: in Shift_JIS, Big5 and GBK it is 0x40 or above, in
/// GB 18030 also a digit. It is never one of `&`, `=`, `%`, `+`, `;`, and no such character is a letter of ASCII. So a form splits
/// at the same bytes, and a name that is ASCII is spelled with the same bytes. Johab has `=` as a second byte; UTF-7, HZ,
/// ISO-2022, UTF-16 and EBCDIC spell ASCII in other ways. The code page 864 has no `%`.
pub(crate) fn is_superset_of_ascii(name: &[u8]) -> bool {
    // As Python and ICU compare names: without case and punctuation.
    let is_empty = name.is_empty();
    let name: String =
        name.iter().filter(|b| b.is_ascii_alphanumeric()).map(|b| b.to_ascii_lowercase() as char).collect();
    let (name, is_own) = match name.strip_prefix('x').or_else(|| name.strip_prefix("cs")) {
        Some(own) => (own, true),
        None => (&*name, false),
    };
    if name.is_empty() {
        return is_empty;
    }
    if NAMES.contains(&name) || is_own && OWN_NAMES.contains(&name) {
        return true;
    }
    FAMILIES
        .iter()
        .any(|(family, members)| name.strip_prefix(family).is_some_and(|member| members.contains(&member)))
        || name.starts_with("iso8859")
        // As Java writes them.
        || name.starts_with("8859")
}

const NAMES: [&str; 40] = [
    "utf8",
    "utf8mb3",
    "utf8mb4",
    "unicode11utf8",
    "usascii",
    "ascii",
    "ansix341968",
    "ansix341986",
    "iso646us",
    "iso88591",
    "l1",
    "l2",
    "binary",
    "macintosh",
    "mac",
    "macroman",
    "maccyrillic",
    "koi8",
    "tis620",
    "viscii",
    "eucjp",
    "ujis",
    "euckr",
    "ksc5601",
    "ksc56011987",
    "ksc56011989",
    "uhc",
    "euccn",
    "euctw",
    "gb2312",
    "gb231280",
    "gbk",
    "gb18030",
    "big5",
    "big5hkscs",
    "shiftjis",
    "sjis",
    "shiftjisx0213",
    "shiftjis2004",
    "mskanji",
];

/// Names that have a meaning with `x-` in front only.
const OWN_NAMES: [&str; 1] = ["userdefined"];

/// The start of a name, and the ends that are known to be supersets of ASCII.
const FAMILIES: [(&str, &[&str]); 8] = [
    ("latin", &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]),
    ("koi8", &["r", "u", "ru", "t"]),
    ("windows", PAGES),
    ("cp", PAGES),
    ("ibm", PAGES),
    ("ms", PAGES),
    ("dos", PAGES),
    ("", PAGES),
];

/// The code pages of Windows and DOS.
const PAGES: &[&str] = &[
    "1250", "1251", "1252", "1253", "1254", "1255", "1256", "1257", "1258", "874", "932", "31j", "936",
    "949", "950", "437", "720", "737", "775", "850", "852", "855", "857", "858", "860", "861", "862", "863",
    "865", "866", "869", "65001",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supersets_of_ascii() {
        for name in [
            "",
            "UTF-8",
            "utf8",
            "us-ascii",
            "ISO-8859-1",
            "iso_8859-1:1987",
            "ISO8859-15",
            "8859_1",
            "latin1",
            "Windows-1252",
            "cp1251",
            "koi8-r",
            "KOI8-U",
            "euc-kr",
            "EUC-JP",
            "x-euc-jp",
            "gb2312",
            "GBK",
            "gb18030",
            "Big5",
            "big5-hkscs",
            "Shift_JIS",
            "x-sjis",
            "csShiftJIS",
            "windows-31j",
            "cp932",
            "windows-874",
            "tis-620",
            "ks_c_5601-1987",
            "macintosh",
            "x-mac-cyrillic",
            "IBM437",
            "cp866",
        ] {
            assert!(is_superset_of_ascii(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn other_sets() {
        for name in [
            "utf-7",
            "unicode-1-1-utf-7",
            "utf-16",
            "UTF-16LE",
            "utf-32",
            "ucs-2",
            "ibm037",
            "cp037",
            "IBM1047",
            "cp500",
            "cp1140",
            "cp1026",
            "iso-2022-jp",
            "iso-2022-kr",
            "csISO2022JP",
            "hz-gb-2312",
            "hz",
            "johab",
            "cp1361",
            "cp864",
            "ibm864",
            "rot13",
            "punycode",
            "idna",
            "unicode_escape",
            "base64",
            "quopri",
            "?",
            "none",
            "user-defined",
        ] {
            assert!(!is_superset_of_ascii(name.as_bytes()), "{name}");
        }
        for name in ["utf-7", "UTF-16", "ibm037", "cp037", "cp1140", "x-utf-7", "iso-2022-jp", "hz", "johab"]
        {
            assert!(spells_ascii_differently(name.as_bytes()), "{name}");
        }
        for name in ["", "x", "utf-8", "none", "koi8-r", "x-sjis", "iso-8859-5"] {
            assert!(!spells_ascii_differently(name.as_bytes()), "{name}");
        }
    }
}
