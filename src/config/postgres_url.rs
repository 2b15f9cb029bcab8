//! The URL of a PostgreSQL store: `postgres://USER@HOST:PORT,…/DATABASE?sslmode=…`, the form that libpq documents.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::address;

/// The form of the URL, for errors.
const FORM: &str = "expected postgres://USER@HOST:PORT/DATABASE";
/// The port of a host without one.
const DEFAULT_PORT: u16 = 5432;
/// The parameters that are supported.
const PARAMETERS: &str = "sslmode, sslrootcert, host and port";
/// The most hosts.
const MOST_HOSTS: usize = 16;

/// The servers of one database, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The servers, at least one, in the order in which they are tried. Those in recovery are skipped.
    pub hosts: Vec<PostgresHost>,
    /// The role that logs in.
    pub user: String,
    /// The password, if it is in the URL.
    pub password: Option<UrlPassword>,
    /// The name of the database.
    pub database: String,
    /// The use of TLS, if it is set. See [`PostgresUrl::ssl_mode`].
    pub sslmode: Option<SslMode>,
    /// The CA certificates, in PEM format, in addition to those of the system.
    pub sslrootcert: Option<PathBuf>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresHost {
    /// A name or an IP address, without brackets, and a port.
    Tcp(String, u16),
    /// The directory of a unix socket, and the port that is in its name.
    Socket(PathBuf, u16),
}

/// The use of TLS, as libpq names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Without TLS.
    Disable,
    /// With TLS if the server offers it, unverified.
    Prefer,
    /// With TLS, unverified.
    Require,
    /// With TLS; the certificate is verified, and may have any name.
    VerifyCa,
    /// With TLS; the certificate and its name are verified.
    VerifyFull,
}

impl SslMode {
    const ALL: [SslMode; 5] =
        [SslMode::Disable, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];

    /// `disable`, `prefer`, `require`, `verify-ca` or `verify-full`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

/// A password from the configuration. Its debug text withholds it.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlPassword(String);

impl UrlPassword {
    /// Returns the password, for the login.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UrlPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlPassword(…)")
    }
}

impl fmt::Display for PostgresHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PostgresHost::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            PostgresHost::Tcp(host, port) => write!(f, "{host}:{port}"),
            PostgresHost::Socket(directory, port) => write!(f, "{}:{port}", directory.display()),
        }
    }
}

/// Shows the URL without password and parameters.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(PostgresHost::to_string).collect();
        write!(f, "postgres://{}@{}/{}", self.user, hosts.join(","), self.database)
    }
}

impl PostgresHost {
    /// Returns true if nobody else is on the way to it: a unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        match self {
            PostgresHost::Socket(..) => true,
            PostgresHost::Tcp(host, _) => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl PostgresUrl {
    /// The use of TLS for one of its hosts: what is set, or else `verify-full`, and `prefer` for a loopback address. A unix socket has
    /// no TLS.
    pub fn ssl_mode(&self, host: &PostgresHost) -> SslMode {
        match (host, self.sslmode) {
            (PostgresHost::Socket(..), _) => SslMode::Disable,
            (_, Some(mode)) => mode,
            (host, None) if host.is_local() => SslMode::Prefer,
            (_, None) => SslMode::VerifyFull,
        }
    }

    /// The first host whose certificate is not verified, although others may be on the way to it.
    pub fn unverified_host(&self) -> Option<&PostgresHost> {
        let is_weak = |mode| matches!(mode, SslMode::Disable | SslMode::Prefer | SslMode::Require);
        self.hosts.iter().find(|host| !host.is_local() && is_weak(self.ssl_mode(host)))
    }

    /// Returns true for a text that is meant as such a URL.
    pub(super) fn is_meant(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Parses the URL. No error repeats a part of it that could be a password.
    pub(super) fn parse(text: &str) -> Result<PostgresUrl, String> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| format!("invalid URL: {FORM}"))?;
        if text.contains('#') {
            return Err("invalid URL: write # as %23".to_owned());
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let parameters = Parameters::parse(query.unwrap_or_default())?;
        let (authority, database) =
            rest.split_once('/').ok_or_else(|| format!("missing database: {FORM}"))?;
        // A password may contain an @.
        let (login, hosts) = authority.rsplit_once('@').ok_or_else(|| format!("missing user: {FORM}"))?;
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let user = decoded(user, "user")?;
        if user.is_empty() {
            return Err(format!("missing user: {FORM}"));
        }
        let database = decoded(database, "database")?;
        if database.is_empty() || database.contains('/') {
            return Err(format!("missing or invalid database: {FORM}"));
        }
        let password = password.map(|password| decoded(password, "password").map(UrlPassword)).transpose()?;
        if password.as_ref().is_some_and(|password| password.0.is_empty()) {
            return Err("the password is empty: leave out the colon behind the user".to_owned());
        }
        let hosts = read_hosts(hosts, parameters.host, parameters.port)?;
        let (sslmode, sslrootcert) = (parameters.sslmode, parameters.sslrootcert);
        Ok(PostgresUrl { hosts, user, password, database, sslmode, sslrootcert })
    }
}

/// The part of the URL behind the question mark.
#[derive(Default)]
struct Parameters {
    sslmode: Option<SslMode>,
    sslrootcert: Option<PathBuf>,
    host: Option<String>,
    port: Option<u16>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Parameters, String> {
        let mut parameters = Parameters::default();
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("invalid parameter: expected NAME=VALUE")?;
            let value = decoded(value, "value of a parameter")?;
            if seen.contains(&name) {
                return Err(format!("a parameter is set twice; the parameters are {PARAMETERS}"));
            }
            seen.push(name);
            match name {
                "sslmode" => {
                    let found = SslMode::ALL.into_iter().find(|mode| mode.as_str() == value);
                    parameters.sslmode = Some(found.ok_or_else(|| {
                        let all = SslMode::ALL.map(SslMode::as_str).join(", ");
                        format!("unknown value of sslmode: expected one of {all}")
                    })?);
                }
                "sslrootcert" if value.is_empty() => {
                    return Err("sslrootcert is empty: expected a file of CA certificates".to_owned());
                }
                "sslrootcert" => parameters.sslrootcert = Some(value.into()),
                "host" => parameters.host = Some(value),
                "port" => parameters.port = Some(port(&value)?),
                "password" => {
                    return Err("a password is no parameter: write it to a file and set store.password_file"
                        .to_owned());
                }
                _ => return Err(format!("unknown parameter: the parameters are {PARAMETERS}")),
            }
        }
        Ok(parameters)
    }
}

fn read_hosts(authority: &str, host: Option<String>, port: Option<u16>) -> Result<Vec<PostgresHost>, String> {
    let default = port.unwrap_or(DEFAULT_PORT);
    let hosts: Vec<PostgresHost> = match (authority, host) {
        ("", Some(host)) => vec![read_host(&host, default)?],
        ("", None) => {
            return Err(format!(
                "missing host: {FORM}; for a unix socket, postgres://USER@/DATABASE?host=/run/postgresql"
            ));
        }
        (_, Some(_)) => return Err("a host is either behind the @ or the parameter host".to_owned()),
        (hosts, None) => hosts.split(',').map(|host| read_host(host, default)).collect::<Result<_, _>>()?,
    };
    if hosts.len() > MOST_HOSTS {
        return Err(format!("too many hosts: at most {MOST_HOSTS}"));
    }
    match hosts.iter().enumerate().find(|(index, host)| hosts[..*index].contains(host)) {
        Some((_, host)) => Err(format!("{host} is listed twice")),
        None => Ok(hosts),
    }
}

fn read_host(text: &str, default: u16) -> Result<PostgresHost, String> {
    let (name, number) = match (text.strip_prefix('['), text.rsplit_once(':')) {
        (Some(_), _) if text.ends_with(']') => (text, None),
        (None, Some((name, number))) if !name.contains(':') => (name, Some(number)),
        (Some(_), Some((name, number))) => (name, Some(number)),
        (None, Some(_)) => return Err("an IPv6 address needs brackets".to_owned()),
        (_, None) => (text, None),
    };
    let number = number.map_or(Ok(default), port)?;
    if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        let address = inner.parse::<std::net::Ipv6Addr>();
        let address = address.map_err(|_| "the address in brackets is not an IPv6 address")?;
        return Ok(PostgresHost::Tcp(address.to_string(), number));
    }
    let name = decoded(name, "host")?;
    if name.starts_with('/') {
        return Ok(PostgresHost::Socket(name.into(), number));
    }
    // Its error repeats the name. A password with a / in it would end up there.
    let name = address::host(&name).map_err(|_| format!("invalid host: {FORM}"))?;
    Ok(PostgresHost::Tcp(name.to_owned(), number))
}

fn port(text: &str) -> Result<u16, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u16>().ok().filter(|number| *number > 0 && is_number);
    number.ok_or_else(|| "invalid port: expected a number from 1 to 65535".to_owned())
}

fn decoded(text: &str, part: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| format!("the {part} is not UTF-8 after percent-decoding"))?;
    match decoded.contains(char::is_control) {
        true => Err(format!("the {part} contains a control character")),
        false => Ok(decoded.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> PostgresUrl {
        PostgresUrl::parse(text).unwrap()
    }

    #[test]
    fn each_part_is_read() {
        let url = parse(
            "postgres://gate%40keeper@db1.example.com,[2001:db8::1]:6432,10.0.0.3/gate%20post?sslmode=require",
        );
        let shown = "postgres://gate@keeper@db1.example.com:5432,[2001:db8::1]:6432,10.0.0.3:5432/gate post";
        assert_eq!((url.to_string().as_str(), url.sslmode), (shown, Some(SslMode::Require)));
        let url = parse("postgresql://u:p%3A@x@h/d?sslrootcert=/etc/ssl/db.pem&sslmode=verify-ca");
        assert_eq!(url.password.as_ref().unwrap().expose(), "p:@x");
        assert_eq!(url.sslrootcert, Some("/etc/ssl/db.pem".into()));
        assert!(!format!("{url:?} {url}").contains("p:@x"));
        for socket in
            ["postgres://u@%2Frun%2Fpostgresql:5433/d", "postgres://u@/d?host=/run/postgresql&port=5433"]
        {
            assert_eq!(parse(socket).hosts, [PostgresHost::Socket("/run/postgresql".into(), 5433)]);
        }
    }

    #[test]
    fn certificates_are_verified_unless_nobody_else_is_on_the_way() {
        let modes = |text: &str| {
            let url = parse(text);
            url.hosts.iter().map(|host| url.ssl_mode(host)).collect::<Vec<_>>()
        };
        use SslMode::{Disable, Prefer, Require, VerifyFull};
        assert_eq!(
            modes("postgres://u@db,localhost,127.0.0.2,[::1],%2Frun/d"),
            [VerifyFull, Prefer, Prefer, Prefer, Disable]
        );
        assert_eq!(modes("postgres://u@db,localhost,%2Frun/d?sslmode=require"), [Require, Require, Disable]);
        assert!(parse("postgres://u@db/d").unverified_host().is_none());
        assert!(parse("postgres://u@127.0.0.1/d?sslmode=disable").unverified_host().is_none());
        assert_eq!(
            parse("postgres://u@[::1],db/d?sslmode=prefer").unverified_host().unwrap().to_string(),
            "db:5432"
        );
    }

    #[test]
    fn everything_else_is_refused_without_the_password() {
        for text in [
            "postgres://",
            "postgres:///d",
            "postgres://h/d",
            "postgres://@h/d",
            "postgres://u@h",
            "postgres://u@h/",
            "postgres://u@/d",
            "postgres://u@h:0/d",
            "postgres://u@h:x/d",
            "postgres://u@h:+1/d",
            "postgres://u@::1/d",
            "postgres://u@[x]/d",
            "postgres://u@h,h/d",
            "postgres://u@h,/d",
            "postgres://u@h/d/e",
            "postgres://u@h/d#x",
            "postgres://u@h/d?x=1",
            "postgres://u@h/d?sslmode",
            "postgres://u@h/d?sslmode=yes",
            "postgres://u@h/d?sslrootcert=",
            "postgres://u@h/d?sslmode=require&sslmode=disable",
            "postgres://u@h/d?host=/run",
            "postgres://u:@h/d",
            "postgres://u%00@h/d",
            "postgres://u%ff@h/d",
            "postgres://u@h/d?port=5433x",
            "mysql://u@h/d",
            "postgres://u:hunter22@h:x/d",
            "postgres://u:hunter22/2@h/d",
            "postgres://u:hunter22@h/d?password=hunter22",
            "postgres://u:hunter22%zz@h y/d",
            "postgres://h/d?user=u&password=hunter22",
            "postgres://u@hunter22!/d",
        ] {
            let error = PostgresUrl::parse(text).unwrap_err();
            assert!(!error.contains("hunter22") && !error.is_empty(), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", tail in "[a-z0-9@:/?=&,%\\[\\]]{0,40}") {
            let _ = (PostgresUrl::parse(&text), PostgresUrl::parse(&format!("postgres://{tail}")));
            let _ = PostgresUrl::parse(&format!("postgres://u@{tail}/d"));
        }
    }
}
