//! The same rule, found the slow way: by the words of patterns and paths, and by examples of what a pattern matches.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct ModelRoute {
    pattern: String,
    need: &'static str,
    method: Option<&'static str>,
}

impl ModelRoute {
    fn permission(&self) -> Option<Permission> {
        Permission::from_name(self.need)
    }

    /// Returns true if it matches a decoded path.
    fn takes(&self, method: &str, path: &str) -> bool {
        let (pattern, path) = match self.need {
            "public" => (self.pattern.clone(), path.to_owned()),
            _ => (self.pattern.to_ascii_lowercase(), path.trim_end_matches('/').to_ascii_lowercase()),
        };
        let loose = self.need != "public";
        let (named, below) = match pattern.strip_suffix("/*") {
            Some(named) => (named, true),
            None => (if loose { pattern.trim_end_matches('/') } else { &pattern[..] }, false),
        };
        let (named, given): (Vec<_>, Vec<_>) = (named.split('/').collect(), path.split('/').collect());
        let long_enough = match below {
            true => given.len() > named.len() || loose && given.len() == named.len(),
            false => given.len() == named.len(),
        };
        let same = |(named, given): (&&str, &&str)| match named.split_once('*') {
            None => named == given,
            Some((before, after)) => {
                given.len() >= (before.len() + after.len()).max(1)
                    && given.starts_with(before)
                    && given.ends_with(after)
            }
        };
        self.method.is_none_or(|named| named == method) && long_enough && named.iter().zip(&given).all(same)
    }

    /// The extension of its last segment, if it needs a permission.
    fn extension(&self) -> Option<&str> {
        let last = self.pattern.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let at = last.rfind('.').filter(|at| *at > 0 && !last.contains('*') && self.need != "public")?;
        Some(&last[at..])
    }

    /// The same route for its paths without their extension.
    fn without_extension(&self) -> Option<ModelRoute> {
        let pattern = self.pattern.trim_end_matches('/').strip_suffix(self.extension()?)?;
        Some(ModelRoute { pattern: pattern.to_owned(), ..self.clone() })
    }

    fn extended_by(&self, path: &str) -> bool {
        bases(path).any(|base| self.takes("POST", base) || self.takes("GET", base))
    }

    /// Paths that it matches, of every kind that matters here.
    fn examples(&self) -> Vec<String> {
        let mut examples = vec![self.pattern.clone()];
        if let Some(named) = self.pattern.strip_suffix("/*") {
            examples =
                ["/q", "/q.json", "/a/b", "/b", "/c/a/b"].iter().map(|end| format!("{named}{end}")).collect();
        }
        while examples.iter().any(|example| example.contains('*')) {
            let fill = |text: &String| ["q", "a", "b", "b.c", "q.b"].map(|fill| text.replacen('*', fill, 1));
            examples = examples.iter().flat_map(fill).collect();
        }
        examples
    }

    fn lies_below(&self, other: &ModelRoute) -> bool {
        let is_below = |path: &String| other.takes_any(path) || other.extended_by(path);
        self.examples().iter().all(is_below)
    }

    fn takes_any(&self, path: &str) -> bool {
        ["GET", "POST"].iter().any(|method| self.takes(method, path))
    }
}

/// Each part of a decoded path that a suffix follows.
fn bases(path: &str) -> impl Iterator<Item = &str> {
    let starts = |at: &usize| *at > 1 && "/.;,:&".contains(&path[*at..=*at]);
    (1..path.len()).filter(starts).map(|at| &path[..at])
}

fn first(routes: &[ModelRoute], method: &str, path: &str) -> Option<usize> {
    routes.iter().position(|route| route.takes(method, path))
}

/// The mistake in a decision, if there is one.
///
/// A request needs what its path needs as it is written. It also needs what each of its bases needs as it is written, but
/// for a base whose route is that of the path or has a more exact one at a longer part of the path. A part of the path that is a
/// route's without its extension is such a base, too. It needs nothing else.
fn fault(routes: &[ModelRoute], method: &str, path: &str, routed: &Routed) -> Option<String> {
    let granted = routed.permissions();
    let written = first(routes, method, path);
    let permission = |route: Option<usize>| match route {
        Some(route) => routes[route].permission(),
        None => Some(Permission::Api),
    };
    if let Some(needed) = permission(written).filter(|needed| !granted.contains(*needed)) {
        return Some(format!("as it is written it needs {needed}"));
    }
    let mut allowed: Vec<Permission> = permission(written).into_iter().collect();
    let by_suffix = bases(path).filter_map(|base| {
        let holder = first(routes, method, base)?;
        Some((base, holder, routes[holder].clone()))
    });
    let starts = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path]);
    let by_extension = starts.filter(|start| !start.is_empty()).flat_map(|start| {
        (0..routes.len()).filter_map(move |holder| {
            let whole = format!("{}{}", start.trim_end_matches('/'), routes[holder].extension()?);
            let decides = first(routes, method, &whole) == Some(holder);
            decides.then(|| routes[holder].without_extension()).flatten().map(|stem| (start, holder, stem))
        })
    });
    for (base, holder, covering) in by_suffix.chain(by_extension) {
        let Some(needed) = routes[holder].permission() else { continue };
        if routes[holder].takes(method, path) {
            continue;
        }
        allowed.push(needed);
        let longer = bases(path).filter(|other| other.len() > base.len());
        let longer = longer.filter_map(|other| first(routes, method, other));
        let mut naming = longer.filter(|route| routes[*route].permission().is_some()).chain(written);
        let is_named = naming.any(|route| routes[route].lies_below(&covering));
        if !is_named && !granted.contains(needed) {
            return Some(format!("{base} needs {needed}"));
        }
    }
    if (routed.need == Need::Public) != (granted == Permissions::NONE) {
        return Some("it is public and needs a permission, or neither".to_owned());
    }
    let wanted = allowed.into_iter().fold(Permissions::NONE, |all, one| all.or(Permissions::only(one)));
    (granted.minus(wanted) != Permissions::NONE).then(|| format!("nothing needs {}", granted.minus(wanted)))
}

fn any_route() -> impl Strategy<Value = ModelRoute> {
    let segment = prop::sample::select(vec!["a", "b", "c", "b.c", "a:b", "A", "*", "a*", "*c", "b*c"]);
    let needs = prop::sample::select(vec!["public", "email", "api", "web"]);
    let methods = prop::sample::select(vec![None, None, None, Some("GET"), Some("POST")]);
    (prop::collection::vec(segment, 1..4), needs, methods, prop::bool::weighted(0.2)).prop_map(
        |(segments, need, method, slash)| {
            let ends_in_star = segments.last() == Some(&"*");
            let end = if slash && !ends_in_star { "/" } else { "" };
            ModelRoute { pattern: format!("/{}{end}", segments.join("/")), need, method }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No suffix takes a permission away. No path that extends one that a route decides on passes with less than that route
    /// needs, unless a route names it.
    #[test]
    fn no_suffix_gets_past_a_permission(
        list in prop::collection::vec(any_route(), 1..6),
        words in prop::collection::vec((
            prop::sample::select(vec!["a", "b", "c", "A", "q"]),
            prop::sample::select(vec!["/", "/", "/", ".", ";", ",", ":", "&", "%2F", "%3B", "%3a", "%2c", "%26"]),
        ), 1..6),
        ends in prop::sample::select(vec!["", "x", "c", "/"]),
        method in prop::sample::select(vec!["GET", "POST"]),
    ) {
        let text: String = words.iter().flat_map(|(word, seam)| [*word, *seam]).collect();
        let path = format!("/{}{ends}", text.strip_suffix('/').unwrap_or(&text));
        let tables = list.iter().map(|route| {
            let methods = route.method.map(|method| format!("methods = [\"{method}\"]\n")).unwrap_or_default();
            format!("[[api.route]]\npath = \"{}\"\npermission = \"{}\"\n{methods}", route.pattern, route.need)
        });
        let text = format!("[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://127.0.0.1:1\"]\n{}", tables.collect::<String>());
        // A route that an earlier one hides is an error.
        let Ok(config) = Config::parse(&text, "test") else { return Ok(()) };
        let compiled = Router::new(config.api.as_ref().unwrap());
        let decision = compiled.decide(&Method::from_bytes(method.as_bytes()).unwrap(), path.as_bytes());
        let routed = decision.routed(decision.suffixes);
        // An encoded slash is one to a backend that serves the base, and none to the segments of a pattern.
        if !path.contains("%2F") {
            let decoded = percent_encoding::percent_decode_str(&path).decode_utf8().unwrap().into_owned();
            let fault = fault(&list, method, &decoded, &routed);
            prop_assert!(fault.is_none(), "{method} {path}: {routed:?}, and {}: {list:?}", fault.unwrap());
        }
    }
}
