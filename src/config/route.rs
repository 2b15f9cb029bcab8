//! Routes: the permission and the backends of a request, by its path and method.

use http::Method;

use super::pattern::pattern;
use super::reader::ConfigTable;
use super::wording::{nearest, shown};
use super::{CredentialPlaces, GroupSettings};
use crate::domain::{Entry, PathPattern, Permission};

/// A `[[api.route]]` or `[[web.route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// The paths that it matches.
    pub path: PathPattern,
    /// The methods that it matches; `None` for all.
    pub methods: Option<Vec<Method>>,
    /// The permission that a request needs, or none.
    pub need: Need,
    /// The group of backends, as an index into [`HttpEntry::groups`](super::HttpEntry::groups).
    pub group: usize,
    /// The places where a request may have its credential: the route's own, or those of its group.
    pub credentials: CredentialPlaces,
}

/// The permission that a request needs to be forwarded, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// The request is forwarded without a credential.
    Public,
    /// The credential must hold this permission.
    Permission(Permission),
}

impl Need {
    /// All needs, in the order in which they are shown.
    pub const ALL: [Need; 4] = [
        Need::Public,
        Need::Permission(Permission::Email),
        Need::Permission(Permission::Api),
        Need::Permission(Permission::Web),
    ];

    /// The word in the configuration and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Need::Public => "public",
            Need::Permission(permission) => permission.as_str(),
        }
    }

    /// Returns true if a route with this need and the method `named` matches a request with the method `asked`.
    ///
    /// Some backends treat `post` as POST, and HEAD as GET, so a permission is required in these cases too. A public route
    /// matches exactly the methods that it names.
    pub fn takes(self, named: &Method, asked: &Method) -> bool {
        let same = |other: &Method| other.as_str().eq_ignore_ascii_case(asked.as_str());
        match self {
            Need::Public => named == asked,
            Need::Permission(_) => same(named) || *named == Method::GET && same(&Method::HEAD),
        }
    }
}

impl RouteSettings {
    /// Reads all routes of an entry. A route that can never match is an error, since an operator relies on it.
    pub(super) fn read_all(
        table: &ConfigTable<'_>,
        entry: Entry,
        groups: &[GroupSettings],
    ) -> Vec<RouteSettings> {
        let mut routes: Vec<(usize, RouteSettings)> = Vec::new();
        for table in table.tables("route") {
            let line = table.line();
            let Some(route) = RouteSettings::read(&table, entry, groups) else { continue };
            if let Some((first, _)) = routes.iter().find(|(_, earlier)| earlier.hides(&route)) {
                table.refuse(
                    "path",
                    format!(
                        "route '{}' is never reached: the route on line {first} matches first",
                        route.path
                    ),
                );
            }
            routes.push((line, route));
        }
        routes.into_iter().map(|(_, route)| route).collect()
    }

    fn read(table: &ConfigTable<'_>, entry: Entry, groups: &[GroupSettings]) -> Option<RouteSettings> {
        let path = table.required("path", |v| v.parsed(pattern));
        let methods = table.optional("methods", |v| v.filled_list(|v| v.parsed(method)));
        // No default: a route that only chooses a group would silently loosen the built-in rules.
        let need = table.required("permission", |v| v.word(&Need::ALL, Need::as_str));
        let group = table.optional("group", |v| v.text()).map_or(Ok(0), |name| find(name, groups));
        let group = group.map_err(|reason| table.refuse("group", reason));
        let places = CredentialPlaces::read(table, entry);
        table.finish();
        let group = group.ok()?;
        let credentials = places.unwrap_or(groups[group].credentials);
        Some(RouteSettings { path: path?, methods, need: need?, group, credentials })
    }

    fn hides(&self, later: &RouteSettings) -> bool {
        let methods = match (&self.methods, &later.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(others)) => {
                others.iter().all(|other| mine.iter().any(|method| self.need.takes(method, other)))
            }
        };
        methods && self.path == later.path
    }
}

fn method(text: &str) -> Result<Method, String> {
    let upper = !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("invalid method 'CONNECT': it is never forwarded".to_owned()),
        Ok(method) if upper => Ok(method),
        _ => Err(format!("invalid method '{}': expected capital letters, such as GET", shown(text))),
    }
}

fn find(name: &str, groups: &[GroupSettings]) -> Result<usize, String> {
    groups.iter().position(|group| group.name == name).ok_or_else(|| {
        let names = || groups.iter().map(|group| group.name.as_str());
        match nearest(name, names()) {
            Some(near) => format!("unknown group '{}', did you mean '{near}'?", shown(name)),
            None if groups.len() > 1 => {
                let all: Vec<_> = names().collect();
                format!("unknown group '{}': expected one of {}", shown(name), all.join(", "))
            }
            None => {
                format!("unknown group '{}': only '{}' is defined", shown(name), GroupSettings::DEFAULT_NAME)
            }
        }
    })
}
