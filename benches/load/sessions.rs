//! Sessions of browsers: logins at the gate or at the console.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::gatepost::{connect, read_answer};

/// The login of the gate.
pub const GATE: &str = "/-/gatepost/login";
/// The login of the console.
pub const CONSOLE: &str = "/login";

/// Logs in with each of these names and passwords. Gives the values of `Cookie`.
///
/// # Errors
/// Where a login is refused.
pub fn log_in(
    address: SocketAddr,
    path: &str,
    logins: impl Iterator<Item = (String, String)>,
) -> Result<Vec<String>> {
    let mut connection = connect(address)?;
    let mut cookies = Vec::new();
    for (name, password) in logins {
        let body = format!("username={}&password={password}&next=%2F", name.replace('@', "%40"));
        write!(
            connection,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let answer = read_answer(&mut connection)?;
        ensure!(answer.starts_with("HTTP/1.1 303"), "the login of {name}: {answer}");
        let set = answer.lines().find_map(|line| {
            let (field, value) = line.split_once(": ")?;
            let cookie = value.split(';').next()?;
            // Another field removes a cookie that a script may have set.
            let is_set = cookie.starts_with("gatepost") && !cookie.ends_with('=');
            (field.eq_ignore_ascii_case("set-cookie") && is_set).then_some(cookie)
        });
        cookies.push(set.with_context(|| format!("no cookie for {name}: {answer}"))?.to_owned());
    }
    Ok(cookies)
}
