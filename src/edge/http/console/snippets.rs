//! The lines by which a new credential is used: curl, swaks and .env, with the addresses of the configuration.

use super::endpoints::{Endpoints, SmtpEndpoint, SmtpEndpointTls};
use crate::domain::{Permission, Permissions};
use crate::edge::http::pages::views::Snippet;

/// Returns the lines for a credential with these effective permissions. Without any use, there are none.
pub fn snippets(endpoints: &Endpoints, name: &str, password: &str, permissions: Permissions) -> Vec<Snippet> {
    let api = endpoints.api.as_ref().filter(|_| permissions.contains(Permission::Api));
    let smtp = endpoints.smtp.as_ref().filter(|_| permissions.contains(Permission::Email));
    let api = api.map(|api| api.url());
    let curl = api.as_deref().map(|url| {
        let login = shell_word(&format!("{name}:{password}"));
        Snippet { title: "curl", text: format!("curl --user {login} {url}/") }
    });
    let swaks = smtp.map(|smtp| Snippet { title: "swaks", text: swaks(smtp, name, password) });
    let variables = env_file(api.as_deref(), smtp, name, password);
    let env = (!variables.is_empty()).then_some(Snippet { title: ".env", text: variables });
    curl.into_iter().chain(swaks).chain(env).collect()
}

fn swaks(smtp: &SmtpEndpoint, name: &str, password: &str) -> String {
    let tls = match smtp.tls {
        SmtpEndpointTls::StartTls => " --tls",
        SmtpEndpointTls::Implicit => " --tls-on-connect",
        SmtpEndpointTls::None => "",
    };
    let (host, port, password) = (&smtp.host, smtp.port, shell_word(password));
    format!(
        "swaks --server {host} --port {port}{tls} \\\n  --auth PLAIN --auth-user {name} --auth-password {password} \\\n  \
         --from you@example.com --to you@example.com"
    )
}

fn env_file(api: Option<&str>, smtp: Option<&SmtpEndpoint>, name: &str, password: &str) -> String {
    let password = env_value(password);
    let mut lines = Vec::new();
    if let Some(SmtpEndpoint { host, port, .. }) = smtp {
        lines.extend([
            format!("SMTP_HOST={host}"),
            format!("SMTP_PORT={port}"),
            format!("SMTP_USERNAME={name}"),
            format!("SMTP_PASSWORD={password}"),
        ]);
    }
    if let Some(url) = api {
        lines.extend([
            format!("API_URL={url}"),
            format!("API_USERNAME={name}"),
            format!("API_PASSWORD={password}"),
        ]);
    }
    lines.join("\n")
}

/// Returns true if neither a shell nor a reader of .env files takes a character for anything else.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@:/".contains(&byte))
}

/// Quotes a word for a POSIX shell.
fn shell_word(text: &str) -> String {
    match is_plain(text) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Quotes a value of a .env file. Most readers take the escapes of a shell between double quotes.
fn env_value(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::endpoints::HttpEndpoint;
    use super::*;

    fn endpoints() -> Endpoints {
        let smtp = SmtpEndpoint { host: "mail.test".into(), port: 587, tls: SmtpEndpointTls::StartTls };
        let api = HttpEndpoint { host: "api.test".into(), port: 443, is_encrypted: true };
        Endpoints { smtp: Some(smtp), api: Some(api), web: None }
    }

    #[test]
    fn each_permission_has_its_lines() {
        let of = |permissions| -> Vec<&str> {
            snippets(&endpoints(), "joe", "passw0rd", permissions).iter().map(|lines| lines.title).collect()
        };
        assert_eq!(of(Permissions::ALL), ["curl", "swaks", ".env"]);
        assert_eq!(of(Permissions::only(Permission::Email)), ["swaks", ".env"]);
        assert_eq!(of(Permissions::only(Permission::Api)), ["curl", ".env"]);
        assert!(of(Permissions::only(Permission::Web)).is_empty());
    }

    #[test]
    fn a_password_is_quoted_where_it_has_to_be() {
        let text = |title: &str, password: &str| {
            let all = snippets(&endpoints(), "joe", password, Permissions::ALL);
            all.into_iter().find(|lines| lines.title == title).unwrap().text
        };
        assert_eq!(text("curl", "passw0rd"), "curl --user joe:passw0rd https://api.test/");
        assert_eq!(text("curl", "it's $1 `x`"), r"curl --user 'joe:it'\''s $1 `x`' https://api.test/");
        assert!(
            text("swaks", "a b1")
                .contains("--tls \\\n  --auth PLAIN --auth-user joe --auth-password 'a b1' ")
        );
        assert!(text(".env", r#"a"b\$1`"#).contains(r#"SMTP_PASSWORD="a\"b\\\$1\`""#));
        assert!(text(".env", "passw0rd").ends_with("API_PASSWORD=passw0rd"));
    }
}
