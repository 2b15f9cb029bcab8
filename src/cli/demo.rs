//! `gatepost demo`: a gateway on loopback with its own store, account, credentials and backends. It prints addresses to open in a
//! browser, and commands to paste that show what it does.

mod example;
mod random_password;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueHint;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::output::say;
use super::{backend, sink};
use crate::config::Config;
use crate::domain::{AccountError, Permission, PermissionEdit, Permissions};
use crate::edge::net::listener;
use crate::server::{self, ConfigSource, Gateway, Signals};
use crate::service::Origin;
use crate::service::credentials::Addition;

use example::Example;
use random_password::random_password;

const ACCOUNT: &str = "demo";

/// The options of the demo.
#[derive(clap::Args)]
pub struct DemoOptions {
    /// Keep the database and the passwords in this directory.
    #[arg(long, default_value = "data", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
    /// Listen on this address for the API.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS", value_hint = ValueHint::Other)]
    api: SocketAddr,
    /// Listen on this address for the dashboard.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS", value_hint = ValueHint::Other)]
    web: SocketAddr,
    /// Listen on this address for the console.
    #[arg(long, default_value = "127.0.0.1:8082", value_name = "ADDRESS", value_hint = ValueHint::Other)]
    console: SocketAddr,
    /// Listen on this address for mail.
    #[arg(long, default_value = "127.0.0.1:2525", value_name = "ADDRESS", value_hint = ValueHint::Other)]
    smtp: SocketAddr,
    /// Listen on this address for metrics and health checks.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS", value_hint = ValueHint::Other)]
    ops: SocketAddr,
}

/// The demo's account and credentials. They are kept in a separate file, since the database has only hashes.
#[derive(Serialize, Deserialize)]
struct DemoLogins {
    account: DemoLogin,
    credentials: Vec<DemoLogin>,
}

#[derive(Serialize, Deserialize)]
struct DemoLogin {
    name: String,
    password: String,
}

impl fmt::Display for DemoLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.password)
    }
}

/// The addresses of the demo's listeners.
struct DemoAddresses {
    api: SocketAddr,
    web: SocketAddr,
    console: SocketAddr,
    smtp: SocketAddr,
    ops: SocketAddr,
}

/// Runs the demo until it is interrupted.
///
/// # Errors
/// The directory cannot be written, an address is in use, or the database cannot be opened.
pub async fn run(options: DemoOptions, signals: Signals) -> Result<ExitCode> {
    let directory = &options.directory;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let api_backend = listener::bind("demo.backend", loopback)?;
    let web_backend = listener::bind("demo.backend", loopback)?;
    let sink = listener::bind("demo.sink", loopback)?;
    let (certificate, key) = certificate(directory)?;
    let text = format!(
        "[store]\nurl = {url:?}\n[log]\nlevel = \"warn\"\n\
         [api]\nlisten = [\"{api}\"]\nupstreams = [\"http://{api_up}\"]\n\
         [web]\nlisten = [\"{web}\"]\nupstreams = [\"http://{web_up}\"]\n\
         [console]\nlisten = [\"{console}\"]\n\
         [tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n\
         [smtp]\nhostname = \"gatepost.localhost\"\nlisten = [\"{smtp}\"]\nupstreams = [\"smtp://{mail_up}\"]\n\
         identity = [\"header\"]\n\
         [ops]\nlisten = \"{ops}\"\n",
        url = format!("sqlite://{}", directory.join("gatepost.db").display()),
        api = options.api,
        web = options.web,
        console = options.console,
        smtp = options.smtp,
        mail_up = sink.local_addr()?,
        ops = options.ops,
        api_up = api_backend.local_addr()?,
        web_up = web_backend.local_addr()?,
    );
    let config = Config::parse(&text, "demo").map_err(anyhow::Error::from)?;
    server::start_log(&config.log).context("log")?;
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(sink::serve(sink, stopped.clone()));
    let gateway = Gateway::start(config, signals).await?;
    tokio::spawn(backend::serve(api_backend, "api", stopped.clone()));
    tokio::spawn(backend::serve(web_backend, backend::DASHBOARD, stopped));
    let logins = logins(&gateway, &directory.join("demo-logins.json")).await?;
    let address = |key| gateway.address_of(key).context("every listener has an address");
    let addresses = DemoAddresses {
        api: address("api.listen")?,
        web: address("web.listen")?,
        console: address("console.listen")?,
        smtp: address("smtp.listen")?,
        ops: address("ops.listen")?,
    };
    let example = Example::of(&gateway, ACCOUNT).await?;
    example.fill().await.context("the demo's example")?;
    example.be_busy(addresses.api, &logins.credentials[1].to_string()).await.context("the demo's example")?;
    print_lines(&logins, &addresses);
    gateway.run(ConfigSource::Fixed).await;
    Ok(ExitCode::SUCCESS)
}

/// Returns the certificate and the key for TLS. Generates them, self-signed, at the first start.
fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (directory.join("demo-cert.pem"), directory.join("demo-key.pem"));
    if !certificate.exists() || !key.exists() {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "gatepost.localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let mut options = OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&key)?;
        out.write_all(made.signing_key.serialize_pem().as_bytes())?;
        fs::write(&certificate, made.cert.pem())?;
    }
    Ok((certificate, key))
}

/// Returns the logins of the first start, or generates them. Adds those that are missing in the database, since the first
/// start may have been interrupted.
async fn logins(gateway: &Gateway, file: &Path) -> Result<DemoLogins> {
    let accounts = gateway.accounts();
    let logins = match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| {
            format!("{}: invalid content, remove it together with the database", file.display())
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if accounts.get(ACCOUNT).await.is_ok() {
                bail!(
                    "{}: missing, and with it the passwords of the demo; remove the database too",
                    file.display()
                );
            }
            generate(file)?
        }
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    let DemoLogin { name, password } = &logins.account;
    if accounts.get(name).await == Err(AccountError::NoSuchAccount.into()) {
        accounts.add(name, password.as_bytes(), Permissions::ALL).await.context("the demo's account")?;
    }
    let credentials = gateway.credentials();
    let manager = credentials.operator(name, Origin::CommandLine).await?;
    let there = credentials.list(&manager, None, u32::MAX).await?;
    for (permission, login) in Permission::ALL.into_iter().zip(&logins.credentials) {
        if there.iter().any(|credential| credential.name.as_str() == login.name) {
            continue;
        }
        let permissions = PermissionEdit::exactly(Permissions::only(permission));
        let password = login.password.as_bytes();
        let addition = Addition { username: &login.name, password, permissions, ..Addition::default() };
        credentials.add(&manager, addition).await.context("the demo's credentials")?;
    }
    Ok(logins)
}

/// Generates logins and writes them to the file, completely or not at all. This comes before the database, since a stored
/// password that nobody knows would be of no use.
fn generate(file: &Path) -> Result<DemoLogins> {
    let login = |name: &str| {
        Ok::<_, anyhow::Error>(DemoLogin { name: name.to_owned(), password: random_password()? })
    };
    let logins = DemoLogins {
        account: login(ACCOUNT)?,
        credentials: Permission::ALL.iter().map(|p| login(&format!("demo-{p}"))).collect::<Result<_>>()?,
    };
    let unfinished = file.with_extension("unfinished");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    out.write_all(&serde_json::to_vec_pretty(&logins)?)?;
    out.sync_all()?;
    fs::rename(&unfinished, file)?;
    Ok(logins)
}

fn print_lines(logins: &DemoLogins, addresses: &DemoAddresses) {
    let DemoAddresses { api, web, console, smtp, ops } = addresses;
    let holder = logins.account.to_string();
    let [email, only_api, only_web] = [0, 1, 2].map(|index| logins.credentials[index].to_string());
    let (user, password) = (&logins.credentials[0].name, &logins.credentials[0].password);
    let mail = format!(
        "curl -sk --crlf --ssl-reqd -o /dev/null -w '%{{response_code}}\\n' smtp://{smtp} --mail-from joe@example.com -T <(echo 'Subject: hello')"
    );
    let show = "curl -s -o /dev/null -w '%{http_code}\\n'";
    say(&format!(
        "Gatepost is running: API http://{api}, mail smtp://{smtp}, metrics http://{ops}. Press Ctrl-C to stop.

Open in a browser, with one of the logins below:

console, where the account holder manages credentials  http://{console}/
dashboard, behind the login page of the gate           http://{web}/

account holder              {holder}
credential with email only  {email}
credential with api only    {only_api}
credential with web only    {only_web}

Paste these commands into another terminal:

# allowed: 200. The backend shows the request that it received, with the identity
curl -s -u {only_api} http://{api}/api/stats.get.json
# a wrong password: 401
{show} -u demo-api:wrong-passw0rd http://{api}/api/stats.get.json
# the right password without the permission to send mail: 403. With it: 200
{show} -u {only_api} -d to=joe@example.com http://{api}/api/mail.send.json
{show} -u {email} -d to=joe@example.com http://{api}/api/mail.send.json
# the dashboard: 403 with the credential for the API, 200 with the one for the web
{show} -u {only_api} http://{web}/
{show} -u {only_web} http://{web}/
# a new credential works at once: 200
curl -s -u {holder} -d username=newcomer -d password=s3cret-enough http://{api}/api/credentials/add.json; echo
{show} -u newcomer:s3cret-enough http://{api}/api/stats.get.json
# a removed credential is refused at once: 401
curl -s -u {holder} -d username=newcomer http://{api}/api/credentials/remove.json; echo
{show} -u newcomer:s3cret-enough http://{api}/api/stats.get.json
# mail over STARTTLS: 250 comes from the backend. The demo prints the message that arrived
{mail} --mail-rcpt jane@example.com --user {email}
swaks --server {smtp} --tls --auth PLAIN --auth-user {user} --auth-password {password} --from joe@example.com --to jane@example.com
# the backend refuses a recipient, and the client gets its reply: 550
{mail} --mail-rcpt nobody@example.com --user {email} || true
# the right password without the permission to send mail: 535, as for a wrong password
{mail} --mail-rcpt jane@example.com --user {only_api} || true
# an open session loses the permission: 235, then 550
(printf 'EHLO me\\r\\nAUTH PLAIN %s\\r\\n' $(printf '\\000{user}\\000{password}' | base64 -w0); sleep 1; curl -s -o /dev/null -u {holder} -d username={user} -d 'permissions={{\"email\":0}}' http://{api}/api/credentials/edit.json; printf 'MAIL FROM:<joe@example.com>\\r\\nQUIT\\r\\n'; sleep 1) | openssl s_client -quiet -starttls smtp -connect {smtp} 2>/dev/null
curl -s -u {holder} -d username={user} -d 'permissions={{\"email\":1}}' http://{api}/api/credentials/edit.json; echo
# the decisions, as metrics
curl -s http://{ops}/metrics | grep gatepost_decisions_total | grep -v ' 0$'
"
    ));
}
