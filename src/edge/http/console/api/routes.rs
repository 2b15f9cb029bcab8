//! The routes of API v1: one table of paths, methods and operations, with the statuses that each can be answered with.

use super::refused::ApiRefusal;
use crate::domain::CredentialId;
use crate::wire::api::v1::{Problem, ProblemKind};

/// The path of all credentials.
pub const CREDENTIALS: &str = "/api/v1/credentials";

/// The path of one credential.
const CREDENTIAL: &str = "/api/v1/credentials/{id}";

/// The path of the description.
const DESCRIPTION: &str = "/api/v1/openapi.json";

/// The largest number that every JSON reader takes as it is.
const LARGEST_ID: i64 = (1 << 53) - 1;

/// An operation of the API. [`ApiOperation::as_str`] is its `operationId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ApiOperation {
    ListCredentials,
    AddCredential,
    GetCredential,
    EditCredential,
    RemoveCredential,
    GetOpenApi,
}

impl ApiOperation {
    /// The `operationId` in the description.
    pub const fn as_str(self) -> &'static str {
        match self {
            ApiOperation::ListCredentials => "listCredentials",
            ApiOperation::AddCredential => "addCredential",
            ApiOperation::GetCredential => "getCredential",
            ApiOperation::EditCredential => "editCredential",
            ApiOperation::RemoveCredential => "removeCredential",
            ApiOperation::GetOpenApi => "getOpenApi",
        }
    }
}

/// A method on a path.
#[derive(Clone, Copy, Debug)]
pub struct ApiRoute {
    /// The path, with `{id}` for the number of a credential.
    pub path: &'static str,
    /// The method. HEAD is answered where GET is.
    pub method: &'static str,
    /// The operation.
    pub operation: ApiOperation,
    /// All statuses that its handler answers with.
    pub statuses: &'static [u16],
}

/// All routes.
pub const ROUTES: [ApiRoute; 6] = [
    ApiRoute {
        path: CREDENTIALS,
        method: "GET",
        operation: ApiOperation::ListCredentials,
        statuses: &[200, 400, 401, 403, 406, 429, 503],
    },
    ApiRoute {
        path: CREDENTIALS,
        method: "POST",
        operation: ApiOperation::AddCredential,
        statuses: &[201, 400, 401, 403, 406, 408, 409, 413, 415, 422, 429, 503],
    },
    ApiRoute {
        path: CREDENTIAL,
        method: "GET",
        operation: ApiOperation::GetCredential,
        statuses: &[200, 304, 400, 401, 403, 404, 406, 412, 429, 503],
    },
    ApiRoute {
        path: CREDENTIAL,
        method: "PATCH",
        operation: ApiOperation::EditCredential,
        statuses: &[200, 400, 401, 403, 404, 406, 408, 412, 413, 415, 422, 429, 503],
    },
    ApiRoute {
        path: CREDENTIAL,
        method: "DELETE",
        operation: ApiOperation::RemoveCredential,
        statuses: &[204, 400, 401, 403, 404, 412, 429, 503],
    },
    ApiRoute {
        path: DESCRIPTION,
        method: "GET",
        operation: ApiOperation::GetOpenApi,
        statuses: &[200, 400, 406],
    },
];

/// A request with its route.
#[derive(Clone, Copy, Debug)]
pub struct RoutedCall {
    /// The route.
    pub route: &'static ApiRoute,
    /// The number of the credential in the path; `None` if there is none, or none that any credential has.
    pub id: Option<CredentialId>,
}

/// Returns true for every path of the API, whether it has an operation or not.
pub fn is_for(path: &str) -> bool {
    path.strip_prefix("/api/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Finds the route of a request. `path` is normalized.
///
/// # Errors
/// 404 for another path, and 405 for another method on a path of the table.
pub fn find(method: &str, path: &str) -> Result<RoutedCall, ApiRefusal> {
    let on_path = || ROUTES.iter().filter(|route| matches(route.path, path));
    let method = if method == "HEAD" { "GET" } else { method };
    if let Some(route) = on_path().find(|route| route.method == method) {
        let id = route.path.ends_with("{id}").then(|| path.rsplit('/').next().and_then(id)).flatten();
        return Ok(RoutedCall { route, id });
    }
    match on_path().next() {
        Some(_) => Err(ApiRefusal::method(allowed(path))),
        None => Err(ApiRefusal::of(Problem::new(
            ProblemKind::NotFound,
            "nothing has this path: see /api/v1/openapi.json",
        ))),
    }
}

/// The methods of a path, as `Allow` lists them.
fn allowed(path: &str) -> &'static str {
    if matches(CREDENTIALS, path) {
        "GET, HEAD, POST"
    } else if matches(CREDENTIAL, path) {
        "GET, HEAD, PATCH, DELETE"
    } else {
        "GET, HEAD"
    }
}

fn matches(template: &str, path: &str) -> bool {
    match template.strip_suffix("{id}") {
        Some(before) => path.strip_prefix(before).is_some_and(|id| !id.is_empty() && !id.contains('/')),
        None => template == path,
    }
}

/// The number in a path, in the one form that it has.
fn id(text: &str) -> Option<CredentialId> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let id = text.parse().ok().filter(|id| is_plain && (1..=LARGEST_ID).contains(id));
    id.map(CredentialId)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::call::DESCRIPTION_JSON;
    use super::*;

    fn found(method: &str, path: &str) -> Result<(&'static str, Option<i64>), u16> {
        match find(method, path) {
            Ok(call) => Ok((call.route.operation.as_str(), call.id.map(|id| id.0))),
            Err(refusal) => Err(refusal.status()),
        }
    }

    #[test]
    fn requests_have_routes() {
        assert_eq!(found("GET", "/api/v1/credentials"), Ok(("listCredentials", None)));
        assert_eq!(found("HEAD", "/api/v1/credentials/7"), Ok(("getCredential", Some(7))));
        assert_eq!(found("DELETE", "/api/v1/credentials/7"), Ok(("removeCredential", Some(7))));
        for no_id in ["0", "07", "-1", "+7", "7.0", "x", "9007199254740992", "99999999999999999999"] {
            let path = format!("/api/v1/credentials/{no_id}");
            assert_eq!(found("PATCH", &path), Ok(("editCredential", None)), "{no_id}");
        }
        for other in ["/api/v1", "/api/v1/", "/api/v1/credentials/", "/api/v1/credentials/7/x", "/api/v1/x"] {
            assert!(is_for(other));
            assert_eq!(found("GET", other), Err(404), "{other}");
        }
        for (method, path) in [
            ("PUT", "/api/v1/credentials"),
            ("get", "/api/v1/credentials"),
            ("POST", "/api/v1/credentials/7"),
            ("POST", "/api/v1/openapi.json"),
            ("OPTIONS", "/api/v1/openapi.json"),
        ] {
            assert_eq!(found(method, path), Err(405), "{method} {path}");
        }
        assert!(!is_for("/api/v10") && !is_for("/api/credentials") && !is_for("/API/v1"));
    }

    #[test]
    fn allowed_methods_are_those_of_the_table() {
        for route in &ROUTES {
            let of_table: BTreeSet<_> = ROUTES
                .iter()
                .filter(|other| other.path == route.path)
                .flat_map(
                    |other| if other.method == "GET" { vec!["GET", "HEAD"] } else { vec![other.method] },
                )
                .collect();
            let path = route.path.replace("{id}", "7");
            assert_eq!(allowed(&path).split(", ").collect::<BTreeSet<_>>(), of_table, "{path}");
        }
    }

    /// Each operation as text: method, path, operation, statuses.
    fn described() -> BTreeSet<String> {
        let description: Value = serde_json::from_slice(DESCRIPTION_JSON).unwrap();
        let mut operations = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let Some(name) = operation.get("operationId") else {
                    assert_eq!(method, "parameters");
                    continue;
                };
                let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().cloned().collect();
                let (method, name) = (method.to_uppercase(), name.as_str().unwrap());
                operations.insert(format!("{method} {path} {name} {}", statuses.join(" ")));
            }
        }
        operations
    }

    #[test]
    fn description_and_routes_are_the_same() {
        let of_table: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| {
                let statuses: Vec<_> = route.statuses.iter().map(u16::to_string).collect();
                let (method, path, name) = (route.method, route.path, route.operation.as_str());
                format!("{method} {path} {name} {}", statuses.join(" "))
            })
            .collect();
        assert_eq!(described(), of_table);
    }

    #[test]
    fn every_type_of_problem_is_described_at_its_status() {
        let description: Value = serde_json::from_slice(DESCRIPTION_JSON).unwrap();
        let responses = &description["components"]["responses"];
        for kind in ProblemKind::ALL {
            // Those belong to no operation.
            if matches!(
                kind,
                ProblemKind::NotFound | ProblemKind::MethodNotAllowed | ProblemKind::Misdirected
            ) {
                continue;
            }
            let word = format!("`{}`", kind.uri().rsplit(':').next().unwrap());
            let told = responses
                .as_object()
                .unwrap()
                .iter()
                .find(|(_, response)| response["description"].as_str().unwrap().contains(&word));
            let (name, _) = told.unwrap_or_else(|| panic!("{word} is not described"));
            let status = kind.status().to_string();
            let reference = format!("#/components/responses/{name}");
            let is_used = description["paths"].as_object().unwrap().values().any(|item| {
                item.as_object()
                    .unwrap()
                    .values()
                    .any(|operation| operation["responses"][&status]["$ref"].as_str() == Some(&reference))
            });
            assert!(is_used, "{word} is not described at {status}");
        }
    }
}
