//! The choice of a request's route: the configured ones in their order, then what is built in.
//!
//! **Suffixes.** A backend may drop the end of a path and serve the rest: `/send.php/x` is `/send.php` to PHP. So a route
//! that needs a permission also decides on the paths that extend one of its own, the base, by a suffix
//! ([`RoutePattern::bases_of`]). On the base itself the first route that matches decides, as on any path. The rule:
//!
//! 1. What the path needs as it is written, it always needs: the permission of the first route that matches it, or what is
//!    built in for paths that no route matches. So no suffix takes a permission away.
//! 2. A route counts for a suffix where it needs a permission, decides on the base, and does not match the whole path. (Where
//!    it does, the order of the routes says which one decides.) The request needs its permission in addition.
//! 3. A route does not count where another one names the path: one that matches the path, or decides on a longer base of it,
//!    and whose pattern lies below its own. `/v1/send/status`, `/v1/send/*` and `/v1/send.json` lie below `/v1/send`; `/v1/*`
//!    and `/v1/*.json` do not.
//! 4. The request goes to the group of the route that matches, else to that of the route with the longest base.
//!
//! A route that is `public` matches what it says and counts for no suffix. A path that it matches is public unless a route
//! counts for a suffix there.

use http::Method;

use crate::config::{CredentialPlaces, HttpEntry, Need};
use crate::domain::{Entry, PathPattern, Permission, Permissions};
use crate::wire::{RoutePattern, cut_short, sends_mail};

/// The documented paths of the API that send mail. Each needs `email` unless a route says otherwise.
const SENDING: [&str; 3] = ["/api/mail.send.json", "/api/mail.send.xml", "/v3/mail/send"];

/// The number of bases of one path that are looked at for one route. A path with as many or more needs the permission of every
/// route that has a base there, whichever route decides on the base.
const MOST_BASES: usize = 8;

/// The routes of one entry.
#[derive(Debug)]
pub struct Router {
    /// The configured ones, then [`SENDING`].
    routes: Vec<CompiledRoute>,
    /// The routes that may count for a suffix of a path that no route matches.
    rivals: Vec<usize>,
    entry: Entry,
    default: Need,
    /// The entry's own places of credentials, for paths that no route matches.
    credentials: CredentialPlaces,
}

#[derive(Debug)]
struct CompiledRoute {
    pattern: RoutePattern,
    methods: Option<Vec<Method>>,
    need: Need,
    group: usize,
    credentials: CredentialPlaces,
    /// The routes that may count for a suffix of a path that this route matches. Known in advance, so that most requests are
    /// decided without a look at any other route.
    rivals: Vec<usize>,
}

/// The route of a request: the permissions that it needs, and its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The permission that it needs, or none.
    pub need: Need,
    /// The permissions that it needs in addition; for most requests none.
    pub also: Permissions,
    /// The index of its group of backends.
    pub group: usize,
    /// The places where it may have its credential.
    pub credentials: CredentialPlaces,
}

impl Routed {
    /// All permissions that the request needs.
    pub fn permissions(&self) -> Permissions {
        match self.need {
            Need::Public => self.also,
            Need::Permission(permission) => self.also.or(Permissions::only(permission)),
        }
    }

    fn plain(need: Need, group: usize, credentials: CredentialPlaces) -> Routed {
        Routed { need, also: Permissions::NONE, group, credentials }
    }
}

impl CompiledRoute {
    /// A backend may read a request more leniently than it is written. So a route that needs a permission matches everything that
    /// could be meant, and a public one only what it says.
    fn takes(&self, method: &Method, path: &str) -> bool {
        self.takes_method(method)
            && match self.need {
                Need::Public => self.pattern.matches(path),
                Need::Permission(_) => self.pattern.covers(path),
            }
    }

    fn takes_method(&self, method: &Method) -> bool {
        let methods = self.methods.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|named| self.need.takes(named, method)))
    }

    fn bases_of<'p>(&'p self, method: &Method, path: &'p str) -> impl Iterator<Item = &'p str> {
        self.takes_method(method).then(|| self.pattern.bases_of(path)).into_iter().flatten()
    }
}

impl Router {
    /// Compiles the routes of `settings`.
    pub fn new(settings: &HttpEntry) -> Router {
        let compile = |route: &crate::config::RouteSettings| CompiledRoute {
            pattern: RoutePattern::new(&route.path),
            methods: route.methods.clone(),
            need: route.need,
            group: route.group,
            credentials: route.credentials,
            rivals: Vec::new(),
        };
        let own = settings.groups.first().map(|group| group.credentials);
        let credentials = own.unwrap_or(CredentialPlaces::of(settings.entry));
        let mut routes: Vec<CompiledRoute> = settings.routes.iter().map(compile).collect();
        if settings.entry == Entry::Api {
            routes.extend(SENDING.iter().filter_map(|path| PathPattern::parse(path).ok()).map(|path| {
                CompiledRoute {
                    pattern: RoutePattern::new(&path),
                    methods: None,
                    need: Need::Permission(Permission::Email),
                    group: 0,
                    credentials,
                    rivals: Vec::new(),
                }
            }));
        }
        let permitting = |index: &usize| routes[*index].need != Need::Public;
        let all_rivals: Vec<Vec<usize>> = routes
            .iter()
            .map(|route| {
                let may_count = |rival: &usize| {
                    let rival = &routes[*rival].pattern;
                    !route.pattern.lies_below(rival) && route.pattern.may_extend(rival)
                };
                (0..routes.len()).filter(permitting).filter(may_count).collect()
            })
            .collect();
        let rivals = (0..routes.len()).filter(permitting).collect();
        for (route, rivals) in routes.iter_mut().zip(all_rivals) {
            route.rivals = rivals;
        }
        Router { routes, rivals, entry: settings.entry, default: settings.default_need(), credentials }
    }

    /// Returns what a request needs, and where it goes. `path` must be normalized. `None` where a backend that ends the path at
    /// an encoded `?` or `#` would serve what needs something else: there, no answer is right for all backends.
    ///
    /// The time is linear in the path.
    pub fn route(&self, method: &Method, path: &str) -> Option<Routed> {
        let routed = self.route_as_read(method, path);
        let requirement = |routed: Routed| (routed.need == Need::Public, routed.permissions());
        let same = |other: Routed| requirement(other) == requirement(routed);
        cut_short(path).all(|path| same(self.route_as_read(method, path))).then_some(routed)
    }

    fn route_as_read(&self, method: &Method, path: &str) -> Routed {
        // The start of most paths rules out all routes.
        let Some(first) = self.routes.iter().position(|route| route.pattern.may_concern(path)) else {
            return self.route_as_written(path, None);
        };
        let named = self.routes[first..].iter().position(|route| route.takes(method, path));
        let named = named.map(|behind| first + behind);
        let rivals = named.map_or(&self.rivals, |named| &self.routes[named].rivals);
        let extends = |route: &CompiledRoute| {
            route.pattern.may_concern(path) && route.bases_of(method, path).next().is_some()
        };
        if rivals.iter().any(|rival| extends(&self.routes[*rival])) {
            return self.route_by_base(method, path, named);
        }
        self.route_as_written(path, named)
    }

    fn route_as_written(&self, path: &str, named: Option<usize>) -> Routed {
        match named {
            Some(named) => {
                let route = &self.routes[named];
                Routed::plain(route.need, route.group, route.credentials)
            }
            None if self.entry == Entry::Api && sends_mail(path) => {
                Routed::plain(Need::Permission(Permission::Email), 0, self.credentials)
            }
            None => Routed::plain(self.default, 0, self.credentials),
        }
    }

    /// The same for a path that extends one that a route decides on; the rule is in the module's documentation.
    fn route_by_base(&self, method: &Method, path: &str, named: Option<usize>) -> Routed {
        let written = self.route_as_written(path, named);
        let holders = self.holders(method, path, named);
        let Some((first, _)) = holders.iter().max_by_key(|(_, base)| base.len()) else { return written };
        let first = &self.routes[*first];
        let all =
            holders.iter().fold(written.permissions(), |all, (holder, _)| match self.routes[*holder].need {
                Need::Public => all,
                Need::Permission(permission) => all.or(Permissions::only(permission)),
            });
        let (need, also) = match (written.need, first.need) {
            (Need::Permission(permission), _) | (Need::Public, Need::Permission(permission)) => {
                (Need::Permission(permission), all.minus(Permissions::only(permission)))
            }
            (Need::Public, Need::Public) => (Need::Public, all),
        };
        let (group, credentials) = match named {
            Some(_) => (written.group, written.credentials),
            None => (first.group, first.credentials),
        };
        Routed { need, also, group, credentials }
    }

    /// The routes that count for a suffix of `path`, each with its base there.
    fn holders<'p>(&'p self, method: &Method, path: &'p str, named: Option<usize>) -> Vec<(usize, &'p str)> {
        let rivals = named.map_or(&self.rivals, |named| &self.routes[named].rivals);
        let mut holders: Vec<(usize, &str)> = Vec::new();
        let mut crowded = false;
        for &rival in rivals {
            let bases: Vec<&str> = self.routes[rival].bases_of(method, path).take(MOST_BASES).collect();
            let decides =
                |base: &&&str| !self.routes[..rival].iter().any(|earlier| earlier.takes(method, base));
            let Some(base) = bases.iter().find(decides).or(bases.get(MOST_BASES - 1)) else { continue };
            crowded |= bases.len() == MOST_BASES;
            holders.push((rival, base));
        }
        if crowded {
            return holders;
        }
        let pattern = |route: usize| &self.routes[route].pattern;
        let names = |(one, base): (usize, &str), (other, longer): (usize, &str)| {
            longer.len() > base.len() && pattern(other).lies_below(pattern(one))
        };
        let all = holders.clone();
        holders.retain(|holder| !all.iter().any(|other| names(*holder, *other)));
        holders
    }
}

#[cfg(test)]
mod tests;
