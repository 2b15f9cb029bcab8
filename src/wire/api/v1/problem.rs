//! Problem details (RFC 9457): the body of every error of API v1.

use serde::Serialize;

use super::pointer::JsonPointer;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The most faults that one problem lists.
const MOST_FAULTS: usize = 20;

/// The kinds of problems. Each has a status, a title, and a name that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ProblemKind {
    InvalidRequest,
    InvalidJson,
    InvalidParameters,
    Unauthenticated,
    NotAccountHolder,
    CrossSite,
    NotFound,
    NoSuchCredential,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    NameTaken,
    PreconditionFailed,
    ContentTooLarge,
    UnsupportedMediaType,
    Misdirected,
    InvalidBody,
    Throttled,
    Unavailable,
    Unconfirmed,
}

impl ProblemKind {
    /// All kinds.
    pub const ALL: [ProblemKind; 20] = [
        ProblemKind::InvalidRequest,
        ProblemKind::InvalidJson,
        ProblemKind::InvalidParameters,
        ProblemKind::Unauthenticated,
        ProblemKind::NotAccountHolder,
        ProblemKind::CrossSite,
        ProblemKind::NotFound,
        ProblemKind::NoSuchCredential,
        ProblemKind::MethodNotAllowed,
        ProblemKind::NotAcceptable,
        ProblemKind::RequestTimeout,
        ProblemKind::NameTaken,
        ProblemKind::PreconditionFailed,
        ProblemKind::ContentTooLarge,
        ProblemKind::UnsupportedMediaType,
        ProblemKind::Misdirected,
        ProblemKind::InvalidBody,
        ProblemKind::Throttled,
        ProblemKind::Unavailable,
        ProblemKind::Unconfirmed,
    ];

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            ProblemKind::InvalidRequest | ProblemKind::InvalidJson | ProblemKind::InvalidParameters => 400,
            ProblemKind::Unauthenticated => 401,
            ProblemKind::NotAccountHolder | ProblemKind::CrossSite => 403,
            ProblemKind::NotFound | ProblemKind::NoSuchCredential => 404,
            ProblemKind::MethodNotAllowed => 405,
            ProblemKind::NotAcceptable => 406,
            ProblemKind::RequestTimeout => 408,
            ProblemKind::NameTaken => 409,
            ProblemKind::PreconditionFailed => 412,
            ProblemKind::ContentTooLarge => 413,
            ProblemKind::UnsupportedMediaType => 415,
            ProblemKind::Misdirected => 421,
            ProblemKind::InvalidBody => 422,
            ProblemKind::Throttled => 429,
            ProblemKind::Unavailable | ProblemKind::Unconfirmed => 503,
        }
    }

    /// The URI of the kind, the member `type`.
    pub const fn uri(self) -> &'static str {
        match self {
            ProblemKind::InvalidRequest => "urn:gatepost:problem:invalid-request",
            ProblemKind::InvalidJson => "urn:gatepost:problem:invalid-json",
            ProblemKind::InvalidParameters => "urn:gatepost:problem:invalid-parameters",
            ProblemKind::Unauthenticated => "urn:gatepost:problem:unauthenticated",
            ProblemKind::NotAccountHolder => "urn:gatepost:problem:not-account-holder",
            ProblemKind::CrossSite => "urn:gatepost:problem:cross-site",
            ProblemKind::NotFound => "urn:gatepost:problem:not-found",
            ProblemKind::NoSuchCredential => "urn:gatepost:problem:no-such-credential",
            ProblemKind::MethodNotAllowed => "urn:gatepost:problem:method-not-allowed",
            ProblemKind::NotAcceptable => "urn:gatepost:problem:not-acceptable",
            ProblemKind::RequestTimeout => "urn:gatepost:problem:request-timeout",
            ProblemKind::NameTaken => "urn:gatepost:problem:name-taken",
            ProblemKind::PreconditionFailed => "urn:gatepost:problem:precondition-failed",
            ProblemKind::ContentTooLarge => "urn:gatepost:problem:content-too-large",
            ProblemKind::UnsupportedMediaType => "urn:gatepost:problem:unsupported-media-type",
            ProblemKind::Misdirected => "urn:gatepost:problem:misdirected",
            ProblemKind::InvalidBody => "urn:gatepost:problem:invalid-body",
            ProblemKind::Throttled => "urn:gatepost:problem:throttled",
            ProblemKind::Unavailable => "urn:gatepost:problem:unavailable",
            ProblemKind::Unconfirmed => "urn:gatepost:problem:unconfirmed",
        }
    }

    /// The member `title`, which is the same for all problems of a kind.
    pub const fn title(self) -> &'static str {
        match self {
            ProblemKind::InvalidRequest => "Invalid request",
            ProblemKind::InvalidJson => "Invalid JSON",
            ProblemKind::InvalidParameters => "Invalid parameters",
            ProblemKind::Unauthenticated => "Authentication required",
            ProblemKind::NotAccountHolder => "Not the account holder",
            ProblemKind::CrossSite => "Cross-site request",
            ProblemKind::NotFound => "Not found",
            ProblemKind::NoSuchCredential => "No such credential",
            ProblemKind::MethodNotAllowed => "Method not allowed",
            ProblemKind::NotAcceptable => "Not acceptable",
            ProblemKind::RequestTimeout => "Request timeout",
            ProblemKind::NameTaken => "Name taken",
            ProblemKind::PreconditionFailed => "Precondition failed",
            ProblemKind::ContentTooLarge => "Content too large",
            ProblemKind::UnsupportedMediaType => "Unsupported media type",
            ProblemKind::Misdirected => "Misdirected request",
            ProblemKind::InvalidBody => "Invalid body",
            ProblemKind::Throttled => "Too many failed attempts",
            ProblemKind::Unavailable => "Temporarily unavailable",
            ProblemKind::Unconfirmed => "Change not confirmed",
        }
    }
}

/// The place of a fault in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultPlace {
    /// A member of the body.
    Body(JsonPointer),
    /// A parameter of the query.
    Parameter(String),
    /// A header field.
    Field(&'static str),
}

/// A fault of a request: its place, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place.
    pub place: FaultPlace,
    /// The text for the caller, which holds no secret.
    pub detail: String,
}

/// The faults of a request, all that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault. What exceeds the bound is left out.
    pub fn push(&mut self, place: FaultPlace, detail: impl Into<String>) {
        if self.0.len() < MOST_FAULTS {
            self.0.push(Fault { place, detail: detail.into() });
        }
    }

    /// Adds a fault of a member of the body.
    pub fn at(&mut self, pointer: JsonPointer, detail: impl Into<String>) {
        self.push(FaultPlace::Body(pointer), detail);
    }

    /// A single fault.
    pub fn one(place: FaultPlace, detail: impl Into<String>) -> Faults {
        let mut faults = Faults::default();
        faults.push(place, detail);
        faults
    }

    /// Returns true without any fault.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

/// A problem: what an error of the API says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind.
    pub kind: ProblemKind,
    /// The text for the caller, which holds no secret.
    pub detail: String,
    /// The faults that led to it, if they have places.
    pub faults: Faults,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FaultJson<'a>>,
}

#[derive(Default, Serialize)]
struct FaultJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
    detail: &'a str,
}

impl Problem {
    /// A problem without faults that have places.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), faults: Faults::default() }
    }

    /// A problem of faults.
    pub fn of_faults(kind: ProblemKind, faults: Faults) -> Problem {
        let detail = match faults.0.as_slice() {
            [only] => only.detail.clone(),
            several => format!("{} errors", several.len()),
        };
        Problem { kind, detail, faults }
    }

    /// The problem as JSON. `instance` is the request ID.
    pub fn to_json(&self, instance: &str) -> String {
        let kind = self.kind;
        let errors = self.faults.iter().map(FaultJson::of).collect();
        let (title, status, detail) = (kind.title(), kind.status(), self.detail.as_str());
        let json = ProblemJson { kind: kind.uri(), title, status, detail, instance, errors };
        serde_json::to_string(&json).unwrap_or_default()
    }
}

impl<'a> FaultJson<'a> {
    fn of(fault: &'a Fault) -> FaultJson<'a> {
        let detail = fault.detail.as_str();
        match &fault.place {
            FaultPlace::Body(at) => {
                FaultJson { pointer: Some(at.to_fragment()), detail, ..FaultJson::default() }
            }
            FaultPlace::Parameter(name) => {
                FaultJson { parameter: Some(name), detail, ..FaultJson::default() }
            }
            FaultPlace::Field(name) => FaultJson { header: Some(name), detail, ..FaultJson::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn read(problem: &Problem) -> serde_json::Value {
        serde_json::from_str(&problem.to_json("0123456789abcdef")).unwrap()
    }

    #[test]
    fn problems_as_json() {
        let expected = json!({
            "type": "urn:gatepost:problem:no-such-credential", "title": "No such credential", "status": 404,
            "detail": "no \"such\" one", "instance": "0123456789abcdef",
        });
        assert_eq!(read(&Problem::new(ProblemKind::NoSuchCredential, "no \"such\" one")), expected);
        let mut faults = Faults::default();
        faults.at(JsonPointer::root().member("name"), "too short");
        assert_eq!(Problem::of_faults(ProblemKind::InvalidBody, faults.clone()).detail, "too short");
        faults.push(FaultPlace::Parameter("limit".into()), "too many");
        faults.push(FaultPlace::Field("If-Match"), "no tag");
        let problem = read(&Problem::of_faults(ProblemKind::InvalidBody, faults));
        assert_eq!(problem["detail"], "3 errors");
        let errors = json!([
            {"pointer": "#/name", "detail": "too short"},
            {"parameter": "limit", "detail": "too many"},
            {"header": "If-Match", "detail": "no tag"},
        ]);
        assert_eq!(problem["errors"], errors);
    }

    #[test]
    fn kinds_differ_and_titles_say_it_without_the_detail() {
        let uris: BTreeSet<_> = ProblemKind::ALL.map(ProblemKind::uri).into();
        let titles: BTreeSet<_> = ProblemKind::ALL.map(ProblemKind::title).into();
        assert_eq!((uris.len(), titles.len()), (ProblemKind::ALL.len(), ProblemKind::ALL.len()));
        assert!(uris.iter().all(|uri| uri.starts_with("urn:gatepost:problem:")));
    }

    #[test]
    fn faults_are_bounded() {
        let mut faults = Faults::default();
        (0..1000).for_each(|n| faults.at(JsonPointer::root().member(&n.to_string()), "unknown"));
        assert_eq!(faults.iter().count(), MOST_FAULTS);
    }
}
