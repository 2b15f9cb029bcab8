//! The files that pages use: stylesheets, script, logo and icon. Their addresses contain a digest, so that browsers keep them for
//! good, and fetch them anew once they have changed.

use std::io::Read;

use bytes::Bytes;

use crate::config::{AccentColor, ConfigError, ImageKind, NamedFile, OwnPages};
use crate::state::file_access::{self, FileUse};

/// The largest logo.
const LARGEST_LOGO: u64 = 256 * 1024;

/// A file.
#[derive(Clone, Debug)]
pub struct PageFile {
    /// The address: the whole path.
    pub address: String,
    /// The media type.
    pub content_type: &'static str,
    /// The content.
    pub content: Bytes,
}

impl PageFile {
    fn new(
        base: &str,
        name: &str,
        extension: &str,
        content_type: &'static str,
        content: impl Into<Bytes>,
    ) -> PageFile {
        let content = content.into();
        let digest = blake3::hash(&content).to_hex();
        PageFile { address: format!("{base}/{name}-{}.{extension}", &digest[..16]), content_type, content }
    }
}

/// The files of one entry.
#[derive(Clone, Debug)]
pub struct PageFiles {
    /// The stylesheet.
    pub stylesheet: PageFile,
    /// The generated stylesheet with the accent color.
    pub accent: PageFile,
    /// The script.
    pub script: PageFile,
    /// The configured logo, or Gatepost's own.
    pub logo: PageFile,
    /// The icon.
    pub icon: PageFile,
}

impl PageFiles {
    /// The files of these pages, with addresses below `base`.
    ///
    /// # Errors
    /// The logo can't be used.
    pub fn new(base: &str, pages: &OwnPages) -> Result<PageFiles, ConfigError> {
        let svg = |name, content: &'static str| PageFile::new(base, name, "svg", "image/svg+xml", content);
        let logo = match &pages.logo {
            None => svg("logo", include_str!("templates/logo.svg")),
            Some(file) => {
                let read = read_logo(file);
                let (kind, content) = read.map_err(|reason| {
                    ConfigError::at(&file.place, format!("{}: {reason}", file.path.display()))
                })?;
                PageFile::new(base, "logo", kind.extension(), kind.content_type(), content)
            }
        };
        let css = "text/css; charset=utf-8";
        let script = include_str!("templates/gatepost.js");
        Ok(PageFiles {
            stylesheet: PageFile::new(base, "gatepost", "css", css, include_str!("templates/gatepost.css")),
            accent: PageFile::new(base, "accent", "css", css, accent(pages.color)),
            script: PageFile::new(base, "gatepost", "js", "text/javascript; charset=utf-8", script),
            logo,
            icon: svg("icon", include_str!("templates/icon.svg")),
        })
    }

    /// The file at that path.
    pub fn find(&self, path: &str) -> Option<&PageFile> {
        [&self.stylesheet, &self.accent, &self.script, &self.logo, &self.icon]
            .into_iter()
            .find(|file| file.address == path)
    }
}

/// The variables of the accent color in both schemes.
fn accent(color: AccentColor) -> String {
    let (dark, text) = (color.in_dark(), AccentColor::dark_text());
    format!(
        ":root{{--accent:{color};--on-accent:#ffffff}}\n\
         @media (prefers-color-scheme:dark){{:root{{--accent:{dark};--on-accent:{text}}}}}\n"
    )
}

/// Reads a logo, and checks that it is what its name says.
fn read_logo(file: &NamedFile) -> Result<(ImageKind, Vec<u8>), String> {
    let explain = |error| file_access::explain(&file.path, FileUse::Read, &error);
    let kind = ImageKind::of(file).ok_or("unknown kind of image")?;
    let mut content = Vec::new();
    let opened = file_access::open_regular(&file.path).map_err(explain)?;
    opened.take(LARGEST_LOGO + 1).read_to_end(&mut content).map_err(explain)?;
    if content.len() as u64 > LARGEST_LOGO {
        return Err("larger than 256 KiB".to_owned());
    }
    let is_it = match kind {
        ImageKind::Svg => memchr::memmem::find(&content, b"<svg").is_some(),
        ImageKind::Png => content.starts_with(b"\x89PNG\r\n\x1a\n"),
        ImageKind::Jpeg => content.starts_with(b"\xff\xd8\xff"),
        ImageKind::Webp => content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP"),
    };
    if is_it { Ok((kind, content)) } else { Err(format!("not a file of the type {}", kind.content_type())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn pages(keys: &str) -> OwnPages {
        let text = format!("[console]\nlisten = ['127.0.0.1:0']\n{keys}");
        Config::parse(&text, "test.toml").unwrap().console.unwrap().http.pages.unwrap()
    }

    #[test]
    fn addresses_change_with_the_content() {
        let one = PageFiles::new("/-/gatepost", &pages("")).unwrap();
        let other = PageFiles::new("/-/gatepost", &pages("color = '#8a1020'")).unwrap();
        assert_eq!(one.stylesheet.address, other.stylesheet.address);
        assert_ne!(one.accent.address, other.accent.address);
        let found = other.find(&other.accent.address).unwrap();
        assert!(found.address.starts_with("/-/gatepost/accent-") && found.address.ends_with(".css"));
        let text = String::from_utf8(found.content.to_vec()).unwrap();
        assert!(text.contains("--accent:#8a1020;--on-accent:#ffffff"), "{text}");
        assert!(other.find("/-/gatepost/accent.css").is_none() && other.find("").is_none());
    }

    #[test]
    fn a_logo_is_what_its_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let large = [&b"<svg"[..], &vec![b' '; 256 * 1024]].concat();
        for (name, content, wrong) in [
            ("a.svg", &b"<?xml version='1.0'?><svg/>"[..], ""),
            ("a.PNG", b"\x89PNG\r\n\x1a\n...", ""),
            ("a.jpeg", b"\xff\xd8\xff\xe0", ""),
            ("a.webp", b"RIFF....WEBPVP8 ", ""),
            ("b.svg", b"\x89PNG\r\n\x1a\n...", "not a file of the type image/svg+xml"),
            ("b.png", b"<svg/>", "not a file of the type image/png"),
            ("b.webp", b"RIFF", "not a file of the type image/webp"),
            ("c.svg", &large, "larger than 256 KiB"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let made = PageFiles::new("", &pages(&format!("logo = '{}'", path.display())));
            match made {
                Ok(files) => assert!(wrong.is_empty() && files.logo.content == content, "{name}"),
                Err(error) => {
                    assert_eq!(error.key, "console.logo");
                    assert!(!wrong.is_empty() && error.reason.contains(wrong), "{name}: {error}");
                }
            }
        }
        let missing = folder.path().join("no.svg");
        assert!(PageFiles::new("", &pages(&format!("logo = '{}'", missing.display()))).is_err());
    }
}
