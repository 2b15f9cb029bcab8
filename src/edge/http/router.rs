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
//! 5. A credential is read in the places of the route that matches, or in the entry's own, and in those of each route that counts.
//!
//! A route that is `public` matches what it says and counts for no suffix. A path that it matches is public unless a route
//! counts for a suffix there.
//!
//! A backend may also add an extension: `/send.php` serves `/send` and `/send/x`. So a route with an extension counts for these as it
//! does for suffixes, by the same rule.
//!
//! **Readings.** An unusual path is other paths to some servers ([`Readings`]). The request needs what its path needs as it is
//! written, and for each of its readings what the suffixes of that need. A reading that needs more than all that, has another group,
//! or other places of credentials, makes the path ambiguous. Where a suffix adds places, a reading may have fewer. A reading behind a
//! script's name (`/users` of `/index.php/users`) counts if a route or a built-in rule names it, and may have another group. Else the
//! script itself is what answers.

use std::borrow::Cow;

use http::Method;

use crate::config::{CredentialPlaces, HttpEntry, Need};
use crate::domain::{Entry, PathPattern, Permission, Permissions};
use crate::wire::{AmbiguousPath, Reading, ReadingKind, Readings, RoutePattern, sends_mail};

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
    rivals: Vec<Rival>,
    entry: Entry,
    default: Need,
    is_uniform: bool,
    /// The entry's own places of credentials, for paths that no route matches.
    credentials: CredentialPlaces,
}

#[derive(Debug)]
struct CompiledRoute {
    pattern: RoutePattern,
    /// The same without its extension, and the extension.
    stem: Option<(RoutePattern, Vec<u8>)>,
    methods: Option<Vec<Method>>,
    need: Need,
    group: usize,
    credentials: CredentialPlaces,
    /// The routes that may count for a suffix of a path that this route matches. Known in advance, so that most requests are
    /// decided without a look at any other route.
    rivals: Vec<Rival>,
}

/// A route that may count for a suffix of a path.
#[derive(Clone, Copy, Debug)]
struct Rival {
    route: usize,
    /// True for its paths without their extension.
    by_stem: bool,
}

/// A route that counts for a suffix of a path.
#[derive(Clone, Copy)]
struct Holder<'p> {
    rival: Rival,
    base: &'p [u8],
}

/// The decision on one reading of a path.
#[derive(Clone, Copy)]
struct PathDecision {
    /// The need of the route that matches, or of what is built in.
    written: Need,
    /// True if a route matches that is not for all paths, or the path sends mail.
    is_named: bool,
    /// The permissions of the routes that count for a suffix; the first one's is apart.
    suffixes: Permissions,
    /// The permission of the route with the longest base.
    first_suffix: Option<Permission>,
    group: usize,
    credentials: CredentialPlaces,
}

impl PathDecision {
    fn routed(self, also: Permissions) -> Routed {
        let need = match (self.written, self.first_suffix.or_else(|| also.iter().next())) {
            (Need::Public, Some(first)) => Need::Permission(first),
            (written, _) => written,
        };
        let also = match need {
            Need::Public => also,
            Need::Permission(permission) => also.minus(Permissions::only(permission)),
        };
        Routed { need, also, group: self.group, credentials: self.credentials }
    }

    /// Returns true if a credential is read in all places of another path.
    fn has_places_of(self, other: &PathDecision) -> bool {
        self.credentials.or(other.credentials) == self.credentials
    }

    /// Returns true if the places are the same, or more because of a suffix.
    fn has_same_places(self, other: &PathDecision) -> bool {
        self.credentials == other.credentials || self.first_suffix.is_some() && self.has_places_of(other)
    }

    /// The permissions of the path as it is written.
    fn as_written(self) -> Permissions {
        match self.written {
            Need::Public => Permissions::NONE,
            Need::Permission(permission) => Permissions::only(permission),
        }
    }
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
}

impl CompiledRoute {
    fn new(
        path: &PathPattern,
        methods: Option<Vec<Method>>,
        need: Need,
        group: usize,
        credentials: CredentialPlaces,
    ) -> CompiledRoute {
        let stem = (need != Need::Public).then(|| RoutePattern::without_extension(path)).flatten();
        let (pattern, rivals) = (RoutePattern::new(path), Vec::new());
        CompiledRoute { pattern, stem, methods, need, group, credentials, rivals }
    }

    /// A backend may read a request more leniently than it is written. So a route that needs a permission matches everything that
    /// could be meant, and a public one only what it says.
    fn takes(&self, method: &Method, path: &[u8]) -> bool {
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

    fn may_concern(&self, path: &[u8]) -> bool {
        self.pattern.may_concern(path) || self.stem.as_ref().is_some_and(|(stem, _)| stem.may_concern(path))
    }

    /// The pattern whose paths are the bases of other paths.
    fn pattern_of_bases(&self, by_stem: bool) -> &RoutePattern {
        self.stem.as_ref().filter(|_| by_stem).map_or(&self.pattern, |(stem, _)| stem)
    }

    fn bases_of<'p>(
        &'p self,
        by_stem: bool,
        method: &Method,
        path: &'p [u8],
    ) -> impl Iterator<Item = &'p [u8]> {
        let pattern = self.pattern_of_bases(by_stem);
        let counts =
            pattern.may_concern(path) && self.takes_method(method) && !(by_stem && self.pattern.covers(path));
        let whole = (counts && by_stem && pattern.covers(path)).then_some(path);
        let bases = counts.then(|| pattern.bases_of(path)).into_iter().flatten();
        // An extension is not added where another one was dropped.
        let is_base = move |base: &&[u8]| !by_stem || path.get(base.len()) == Some(&b'/');
        whole.into_iter().chain(bases.filter(is_base))
    }
}

impl Router {
    /// Compiles the routes of `settings`.
    pub fn new(settings: &HttpEntry) -> Router {
        let own = settings.groups.first().map(|group| group.credentials);
        let credentials = own.unwrap_or(CredentialPlaces::of(settings.entry));
        let compile = |route: &crate::config::RouteSettings| {
            CompiledRoute::new(&route.path, route.methods.clone(), route.need, route.group, route.credentials)
        };
        let mut routes: Vec<CompiledRoute> = settings.routes.iter().map(compile).collect();
        if settings.entry == Entry::Api {
            let built_in = SENDING.iter().filter_map(|path| PathPattern::parse(path).ok());
            let need = Need::Permission(Permission::Email);
            // Their stems send mail as well: see `sends_mail`.
            routes.extend(built_in.map(|path| CompiledRoute {
                stem: None,
                ..CompiledRoute::new(&path, None, need, 0, credentials)
            }));
        }
        let with_stem = |(route, compiled): (usize, &CompiledRoute)| {
            let stem = compiled.stem.is_some().then_some(Rival { route, by_stem: true });
            [Some(Rival { route, by_stem: false }), stem]
        };
        let permitting = routes.iter().enumerate().filter(|(_, route)| route.need != Need::Public);
        let rivals: Vec<Rival> = permitting.flat_map(with_stem).flatten().collect();
        let rivals_of = |route: &CompiledRoute| {
            let may_count = |rival: &&Rival| {
                let bases = routes[rival.route].pattern_of_bases(rival.by_stem);
                !route.pattern.lies_below(bases) && route.pattern.may_extend(bases)
            };
            rivals.iter().filter(may_count).copied().collect()
        };
        let all_rivals: Vec<Vec<Rival>> = routes.iter().map(rivals_of).collect();
        for (route, rivals) in routes.iter_mut().zip(all_rivals) {
            route.rivals = rivals;
        }
        let (entry, default) = (settings.entry, settings.default_need());
        let same = |route: &CompiledRoute| {
            route.need == default && route.group == 0 && route.credentials == credentials
        };
        let is_uniform = routes.iter().all(same) && entry != Entry::Api;
        Router { routes, rivals, entry, default, is_uniform, credentials }
    }

    /// Returns true if all paths need the same and have the same backends, so that no reading of a path matters.
    pub fn is_uniform(&self) -> bool {
        self.is_uniform
    }

    /// Returns what a request needs, and where it goes. `path` must be normalized, and have these readings.
    ///
    /// The time is linear in the path and its readings.
    ///
    /// # Errors
    /// [`AmbiguousPath`] where a backend could serve what needs something else: there, no answer is right for all backends.
    pub fn route(&self, method: &Method, path: &str, readings: &Readings) -> Result<Routed, AmbiguousPath> {
        let decision = self.decide(method, path.as_bytes());
        let mut also = decision.suffixes;
        let mut credentials = decision.credentials;
        let mut others = Vec::new();
        for reading in readings.iter() {
            let other = self.decide(method, &reading.path);
            also = also.or(other.suffixes);
            match reading.kind == ReadingKind::Folded {
                true if other.is_named || other.first_suffix.is_some() => {
                    also = also.or(if other.is_named { other.as_written() } else { Permissions::NONE });
                    credentials = credentials.or(other.credentials);
                }
                true => {}
                false => others.push((reading, other)),
            }
        }
        let checked = also.or(decision.as_written());
        let differs = |(reading, other): &&(&Reading, PathDecision)| {
            let lacks = !other.as_written().minus(checked).is_empty();
            match reading.kind {
                ReadingKind::BehindScript => other.is_named && (lacks || !decision.has_places_of(other)),
                _ => lacks || other.group != decision.group || !decision.has_same_places(other),
            }
        };
        match others.iter().find(differs) {
            Some((reading, _)) => Err(readings.ambiguity(reading)),
            None => Ok(Routed { credentials, ..decision.routed(also) }),
        }
    }

    fn decide(&self, method: &Method, path: &[u8]) -> PathDecision {
        // The start of most paths rules out all routes.
        let Some(first) = self.routes.iter().position(|route| route.may_concern(path)) else {
            return self.decide_as_written(path, None);
        };
        let named = self.routes[first..].iter().position(|route| route.takes(method, path));
        let named = named.map(|behind| first + behind);
        let rivals = named.map_or(&self.rivals, |named| &self.routes[named].rivals);
        let extends =
            |rival: &Rival| self.routes[rival.route].bases_of(rival.by_stem, method, path).next().is_some();
        if rivals.iter().any(extends) {
            return self.decide_by_base(method, path, named);
        }
        self.decide_as_written(path, named)
    }

    fn decide_as_written(&self, path: &[u8], named: Option<usize>) -> PathDecision {
        let own = |written| (written, 0, self.credentials);
        let sends = || self.entry == Entry::Api && sends_mail(path);
        let is_named = named.is_some_and(|named| !self.routes[named].pattern.is_for_all()) || sends();
        let (written, group, credentials) = match named.map(|named| &self.routes[named]) {
            Some(route) => (route.need, route.group, route.credentials),
            None if is_named => own(Need::Permission(Permission::Email)),
            None => own(self.default),
        };
        let suffixes = Permissions::NONE;
        PathDecision { written, is_named, suffixes, first_suffix: None, group, credentials }
    }

    /// The same for a path that extends one that a route decides on; the rule is in the module's documentation.
    fn decide_by_base(&self, method: &Method, path: &[u8], named: Option<usize>) -> PathDecision {
        let written = self.decide_as_written(path, named);
        let holders = self.holders(method, path, named);
        let Some(first) = holders.iter().max_by_key(|holder| holder.base.len()) else { return written };
        let permission = |holder: &Holder<'_>| match self.routes[holder.rival.route].need {
            Need::Public => None,
            Need::Permission(permission) => Some(permission),
        };
        let suffixes = holders.iter().filter_map(permission).map(Permissions::only);
        let group = named.map_or(self.routes[first.rival.route].group, |_| written.group);
        let places = holders.iter().map(|holder| self.routes[holder.rival.route].credentials);
        PathDecision {
            suffixes: suffixes.fold(Permissions::NONE, Permissions::or),
            first_suffix: permission(first),
            group,
            credentials: places.fold(written.credentials, CredentialPlaces::or),
            ..written
        }
    }

    /// The routes that count for a suffix of `path`, each with its base there.
    fn holders<'p>(&'p self, method: &Method, path: &'p [u8], named: Option<usize>) -> Vec<Holder<'p>> {
        let rivals = named.map_or(&self.rivals, |named| &self.routes[named].rivals);
        let mut holders: Vec<Holder<'_>> = Vec::new();
        let mut crowded = false;
        for &rival in rivals {
            let route = &self.routes[rival.route];
            let bases: Vec<&[u8]> = route.bases_of(rival.by_stem, method, path).take(MOST_BASES).collect();
            let base = bases.iter().find(|base| self.decides(rival, method, base));
            let Some(base) = base.or(bases.get(MOST_BASES - 1)) else { continue };
            crowded |= bases.len() == MOST_BASES;
            holders.push(Holder { rival, base });
        }
        if crowded {
            return holders;
        }
        let names = |one: &Holder<'_>, other: &Holder<'_>| {
            let bases = self.routes[one.rival.route].pattern_of_bases(one.rival.by_stem);
            other.base.len() > one.base.len()
                && !other.rival.by_stem
                && self.routes[other.rival.route].pattern.lies_below(bases)
        };
        let all = holders.clone();
        holders.retain(|holder| !all.iter().any(|other| names(holder, other)));
        holders
    }

    /// Returns true if no earlier route decides on a base, with its extension added.
    fn decides(&self, rival: Rival, method: &Method, base: &[u8]) -> bool {
        let whole = match &self.routes[rival.route].stem {
            Some((_, extension)) if rival.by_stem => {
                // `/send/` is served by `/send.php`, as `/send` is.
                let length = base.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
                Cow::Owned([&base[..length], extension].concat())
            }
            _ => Cow::Borrowed(base),
        };
        !self.routes[..rival.route].iter().any(|earlier| earlier.takes(method, &whole))
    }
}

#[cfg(test)]
mod tests;
