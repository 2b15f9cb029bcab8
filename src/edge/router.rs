//! Which route a request takes: the configured ones in their order, then what is built in.

use http::Method;

use crate::config::{HttpEntry, Need};
use crate::domain::{Entry, Permission};
use crate::wire::{PatternError, RoutePattern, sends_mail};

/// The routes of one entry.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    entry: Entry,
    default: Need,
}

#[derive(Debug)]
struct Route {
    pattern: RoutePattern,
    methods: Option<Vec<Method>>,
    need: Need,
    group: usize,
}

impl Router {
    /// Compiles the routes of `settings`.
    ///
    /// # Errors
    /// Where a path isn't a pattern; names the route by its number from 1.
    pub fn new(settings: &HttpEntry) -> Result<Router, (usize, PatternError)> {
        let compile = |(number, route): (usize, &crate::config::Route)| {
            let pattern = RoutePattern::parse(&route.path).map_err(|e| (number + 1, e))?;
            Ok(Route { pattern, methods: route.methods.clone(), need: route.need, group: route.group })
        };
        let routes = settings.routes.iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        Ok(Router { routes, entry: settings.entry, default: settings.default_need() })
    }

    /// What a request needs, and the index of the group that it goes to. `path` must be plain.
    pub fn route(&self, method: &Method, path: &str) -> (Need, usize) {
        let takes = |route: &&Route| {
            // What nobody is asked for has to be meant exactly; what is asked for isn't escaped by another spelling.
            let is_for_path = match route.need {
                Need::Public => route.pattern.matches(path),
                Need::Permission(_) => route.pattern.covers(path),
            };
            is_for_path && route.methods.as_ref().is_none_or(|methods| methods.contains(method))
        };
        match self.routes.iter().find(takes) {
            Some(route) => (route.need, route.group),
            None if self.entry == Entry::Api && sends_mail(path) => (Need::Permission(Permission::Email), 0),
            None => (self.default, 0),
        }
    }
}
