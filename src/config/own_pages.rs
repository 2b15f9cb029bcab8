//! Settings of Gatepost's own pages, which the gate of `[web]` and the console share: origin, sessions and look.

use std::time::Duration;

use super::quantity::LONGEST_SESSION;
use super::reader::{ConfigTable, ConfigValue};
use super::wording::told;
use super::{AccentColor, AllowedOrigin, NamedFile};

/// The shortest time of a session.
const SHORTEST_SESSION: Duration = Duration::from_secs(1);
/// The default times after which an unused session ends, and every one: those of the gate, and those of the console.
const OF_GATE: [Duration; 2] = [Duration::from_secs(12 * 3600), Duration::from_secs(7 * 24 * 3600)];
const OF_CONSOLE: [Duration; 2] = [Duration::from_secs(3600), Duration::from_secs(12 * 3600)];
/// The most characters of a title.
const LONGEST_TITLE: usize = 60;

/// The settings of Gatepost's own pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPages {
    /// The only host name that is answered, in lower case; `None` for any. On `[console]` only.
    pub host: Option<String>,
    /// The origin that browsers see; `None` if it is that of the request and its connection.
    pub public_origin: Option<AllowedOrigin>,
    /// The time after which an unused session ends.
    pub session_idle: Duration,
    /// The time after which every session ends; at least `session_idle`.
    pub session_lifetime: Duration,
    /// The name in the head of each page.
    pub title: String,
    /// The image beside it, a file of at most 256 KiB.
    pub logo: Option<NamedFile>,
    /// The color of buttons and links.
    pub color: AccentColor,
}

impl OwnPages {
    pub(super) fn read_of_gate(table: &ConfigTable<'_>) -> OwnPages {
        OwnPages::read(table, OF_GATE)
    }

    pub(super) fn read_of_console(table: &ConfigTable<'_>) -> OwnPages {
        OwnPages::read(table, OF_CONSOLE)
    }

    /// Reads the keys, with these defaults for the two times of a session.
    fn read(table: &ConfigTable<'_>, [idle, lifetime]: [Duration; 2]) -> OwnPages {
        let time = |key, default| {
            table.read(key, default, |v: &ConfigValue<'_>| v.duration(SHORTEST_SESSION..=LONGEST_SESSION))
        };
        let pages = OwnPages {
            host: None,
            public_origin: table.optional("public_origin", |v| v.parsed(public_origin)),
            session_idle: time("session_idle", idle),
            session_lifetime: time("session_lifetime", lifetime),
            title: table.read("title", "Gatepost".to_owned(), |v| v.parsed(title)),
            logo: table.optional("logo", logo),
            color: table.read("color", AccentColor::default(), |v| v.parsed(AccentColor::parse)),
        };
        if pages.session_idle > pages.session_lifetime {
            table.refuse("session_idle", "longer than session_lifetime, which ends every session");
        }
        pages
    }
}

/// Parses the origin of the pages. Browsers send the cookie of a session over TLS only, except to the same machine.
fn public_origin(text: &str) -> Result<AllowedOrigin, String> {
    let origin = AllowedOrigin::parse(text)?;
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(format!("invalid origin '{}': expected https://HOST or https://HOST:PORT", told(text)));
    }
    if origin.is_exposed() {
        return Err(format!("'{}' is not encrypted: expected https://", told(text)));
    }
    Ok(origin)
}

fn title(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim() != text || text.chars().any(char::is_control) || !(1..=LONGEST_TITLE).contains(&length) {
        return Err(format!(
            "invalid title: expected 1 to {LONGEST_TITLE} characters on one line, without blanks around them"
        ));
    }
    Ok(text.to_owned())
}

/// Reads the name of an image. Its ending tells its type.
fn logo(value: &ConfigValue<'_>) -> Option<NamedFile> {
    let file = value.file()?;
    if ImageKind::of(&file).is_none() {
        value.refuse("unknown kind of image: expected a file whose name ends with .svg, .png, .jpg or .webp");
    }
    Some(file)
}

/// The kind of an image, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ImageKind {
    Svg,
    Png,
    Jpeg,
    Webp,
}

impl ImageKind {
    /// The kind of a file; `None` if it is none of these.
    pub fn of(file: &NamedFile) -> Option<ImageKind> {
        match file.path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "svg" => Some(ImageKind::Svg),
            "png" => Some(ImageKind::Png),
            "jpg" | "jpeg" => Some(ImageKind::Jpeg),
            "webp" => Some(ImageKind::Webp),
            _ => None,
        }
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            ImageKind::Svg => "image/svg+xml",
            ImageKind::Png => "image/png",
            ImageKind::Jpeg => "image/jpeg",
            ImageKind::Webp => "image/webp",
        }
    }

    /// The usual ending of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            ImageKind::Svg => "svg",
            ImageKind::Png => "png",
            ImageKind::Jpeg => "jpg",
            ImageKind::Webp => "webp",
        }
    }
}
