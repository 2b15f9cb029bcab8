//! The pages of one entry, as its configuration describes them: made anew by a reload.

use super::files::PageFiles;
use super::origin::PageOrigin;
use super::views::Site;
use crate::config::{AllowedOrigin, ConfigError, OwnPages};
use crate::edge::http::peer::HttpPeer;
use crate::wire::RequestHead;

/// The pages of one entry.
#[derive(Debug)]
pub struct PageSite {
    /// The title and the addresses of the files, for views.
    pub view: Site,
    /// The files that the pages use.
    pub files: PageFiles,
    /// The configuration: times of a session, host, origin.
    pub settings: OwnPages,
}

impl PageSite {
    /// The pages, with their files at addresses below `base`.
    ///
    /// # Errors
    /// The logo can't be used.
    pub fn new(base: &str, settings: &OwnPages) -> Result<PageSite, ConfigError> {
        let files = PageFiles::new(&format!("{base}/files"), settings)?;
        let view = Site {
            title: settings.title.clone(),
            logo: files.logo.address.clone(),
            icon: files.icon.address.clone(),
            stylesheet: files.stylesheet.address.clone(),
            accent: files.accent.address.clone(),
            script: files.script.address.clone(),
        };
        Ok(PageSite { view, files, settings: settings.clone() })
    }

    /// The origin that a request is for, as its browser sees it.
    pub fn origin<'a>(
        &'a self,
        request: &'a RequestHead,
        client: &HttpPeer,
        is_trusted: bool,
    ) -> PageOrigin<'a> {
        PageOrigin::of(request, client, is_trusted, self.configured_origin())
    }

    /// The configured origin.
    pub fn configured_origin(&self) -> Option<&AllowedOrigin> {
        self.settings.public_origin.as_ref()
    }

    /// Returns true if the host of a request is the configured one, or any is allowed.
    pub fn answers_to(&self, authority: &[u8]) -> bool {
        self.settings.host.as_ref().is_none_or(|host| {
            let bytes = host.as_bytes();
            let start = authority.get(..bytes.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(bytes))
                && matches!(authority.get(bytes.len()), None | Some(b':'))
        })
    }
}
