//! Routes: what a request needs, and where it goes, by its path and method.

use http::Method;

use super::GroupSettings;
use super::pattern::pattern;
use super::reader::{ConfigTable, nearest, shown};
use crate::domain::{PathPattern, Permission};

/// One `[[api.route]]` or `[[web.route]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// The paths it is for.
    pub path: PathPattern,
    /// The methods it is for; none is all of them.
    pub methods: Option<Vec<Method>>,
    /// What a request needs.
    pub need: Need,
    /// Its backends, as an index into [`HttpEntry::groups`](super::HttpEntry::groups).
    pub group: usize,
}

/// What a request needs before it is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing: it is forwarded without being asked for a credential.
    Public,
    /// A credential that holds this permission.
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

    /// The word for it in the configuration and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Need::Public => "public",
            Need::Permission(permission) => permission.as_str(),
        }
    }

    /// Whether a route that names the method `named`, and asks for this, is for a request of the method `asked`. Some
    /// backends take `post` for POST, and answer HEAD as they answer GET, so a permission is asked for in all of these
    /// cases; what is public is only what it says.
    pub fn takes(self, named: &Method, asked: &Method) -> bool {
        let same = |other: &Method| other.as_str().eq_ignore_ascii_case(asked.as_str());
        match self {
            Need::Public => named == asked,
            Need::Permission(_) => same(named) || *named == Method::GET && same(&Method::HEAD),
        }
    }
}

impl RouteSettings {
    /// Reads all routes of an entry. A route that can never match is an error: it is a rule that somebody relies on.
    pub(super) fn read_all(entry: &ConfigTable<'_>, groups: &[GroupSettings]) -> Vec<RouteSettings> {
        let mut routes: Vec<(usize, RouteSettings)> = Vec::new();
        for table in entry.tables("route") {
            let line = table.line();
            let Some(route) = RouteSettings::read(&table, groups) else { continue };
            if let Some((first, _)) = routes.iter().find(|(_, earlier)| earlier.hides(&route)) {
                table.refuse("path", format!("'{}' never gets here: line {first} matches first", route.path));
            }
            routes.push((line, route));
        }
        routes.into_iter().map(|(_, route)| route).collect()
    }

    fn read(table: &ConfigTable<'_>, groups: &[GroupSettings]) -> Option<RouteSettings> {
        let path = table.required("path", |v| v.parsed(pattern));
        let methods = table.optional("methods", |v| v.filled_list(|v| v.parsed(method)));
        // No default: a route that is only there to choose a group would loosen what is built in without a word.
        let need = table.required("permission", |v| v.word(&Need::ALL, Need::as_str));
        let group = table.optional("group", |v| v.text()).map_or(Ok(0), |name| find(name, groups));
        let group = group.map_err(|reason| table.refuse("group", reason));
        table.finish();
        Some(RouteSettings { path: path?, methods, need: need?, group: group.ok()? })
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
        Ok(Method::CONNECT) => Err("CONNECT is never forwarded".to_owned()),
        Ok(method) if upper => Ok(method),
        _ => Err(format!("'{}' is no method: write it in capital letters, such as GET", shown(text))),
    }
}

fn find(name: &str, groups: &[GroupSettings]) -> Result<usize, String> {
    groups.iter().position(|group| group.name == name).ok_or_else(|| {
        let names = || groups.iter().map(|group| group.name.as_str());
        match nearest(name, names()) {
            Some(near) => format!("no group is named '{}', is it '{near}'?", shown(name)),
            None if groups.len() > 1 => {
                let all: Vec<_> = names().collect();
                format!("no group is named '{}': there are {}", shown(name), all.join(", "))
            }
            None => {
                format!(
                    "no group is named '{}': there is '{}' only",
                    shown(name),
                    GroupSettings::DEFAULT_NAME
                )
            }
        }
    })
}
