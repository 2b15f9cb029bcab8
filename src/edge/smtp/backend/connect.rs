//! Preparation of a new connection to a backend for its first transaction: TLS, greeting, EHLO, login.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::client::{BackendClient, BackendError};
use super::transport::BackendTransport;
use crate::config::{SmtpScheme, SmtpTimeouts};
use crate::wire::smtp::Reply;
use crate::wire::smtp::extensions::ServiceExtensions;

/// The reason why a new connection to a backend failed.
#[derive(Debug, Error)]
pub enum DialError {
    /// The connection was lost or is unusable.
    #[error("{0}")]
    Connection(#[from] BackendError),
    /// The backend refused a step.
    #[error("{0} was refused with {1}")]
    Refused(&'static str, Reply),
    /// TLS is configured, and the backend does not offer STARTTLS.
    #[error("it does not offer STARTTLS")]
    NoStartTls,
    /// The backend sent unencrypted bytes after its reply to STARTTLS. An attacker may have injected them.
    #[error("it sent unencrypted bytes after its reply to STARTTLS")]
    StartTlsInjection,
    /// A login is configured, and the backend offers neither PLAIN nor LOGIN.
    #[error("it offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoMechanism,
}

impl DialError {
    /// Returns true if the backend takes no more connections for now: it greets with a 4yz, such as 421.
    pub fn is_full(&self) -> bool {
        match self {
            DialError::Refused("the connection", reply) => reply.is_transient(),
            DialError::Connection(BackendError::ClosingReply(reply)) => reply.is_transient(),
            _ => false,
        }
    }
}

impl From<std::io::Error> for DialError {
    fn from(error: std::io::Error) -> DialError {
        DialError::Connection(error.into())
    }
}

/// The gateway's own login at its backends. Never logged.
pub struct RelayLogin {
    /// The username.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// Prepares connections to one backend.
pub struct Dialer {
    /// Unencrypted, STARTTLS or implicit TLS.
    pub scheme: SmtpScheme,
    /// The TLS connector, and the name that the backend's certificate has to carry.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The gateway's own login.
    pub login: Option<Arc<RelayLogin>>,
    /// The name that Gatepost gives in EHLO.
    pub hostname: String,
    /// Timeouts for replies.
    pub timeouts: SmtpTimeouts,
}

impl Dialer {
    /// Prepares a connection for its first transaction. The caller bounds the time for it.
    ///
    /// # Errors
    /// A step fails. With TLS configured, nothing but EHLO and STARTTLS is ever sent unencrypted.
    pub async fn dial(&self, stream: TcpStream) -> Result<BackendClient, DialError> {
        // Every write is complete, so that waiting for more bytes to send gains nothing.
        stream.set_nodelay(true)?;
        let mut client = match (self.scheme, &self.tls) {
            (SmtpScheme::Tls, Some(tls)) => {
                let mut client = self.talk(encrypt(stream, tls).await?);
                greet(&mut client).await?;
                client
            }
            (SmtpScheme::StartTls, Some(tls)) => self.start_tls(stream, tls).await?,
            _ => {
                let mut client = self.talk(BackendTransport::Cleartext(stream));
                greet(&mut client).await?;
                client
            }
        };
        self.hello(&mut client, &self.hostname).await?;
        client.xclient_offered = client.extensions.xclient;
        if let Some(login) = &self.login {
            log_in(&mut client, login).await?;
        }
        Ok(client)
    }

    /// Sends EHLO with `name`, or HELO if the backend does not know EHLO.
    ///
    /// # Errors
    /// The backend refuses both, or is lost.
    pub async fn hello(&self, client: &mut BackendClient, name: &str) -> Result<(), DialError> {
        let answer = client.exchange(&[b"EHLO ", name.as_bytes(), b"\r\n"]).await?;
        if answer.is_acceptance() {
            client.extensions = ServiceExtensions::parse(&answer);
            return Ok(());
        }
        if !matches!(answer.code(), 500 | 502 | 504) {
            return Err(DialError::Refused("EHLO", answer));
        }
        client.extensions = ServiceExtensions::default();
        let answer = client.exchange(&[b"HELO ", name.as_bytes(), b"\r\n"]).await?;
        if answer.is_acceptance() { Ok(()) } else { Err(DialError::Refused("HELO", answer)) }
    }

    /// Negotiates TLS. The caller sends EHLO again, as what the backend offered unencrypted is void (RFC 3207 section 4.2).
    async fn start_tls(
        &self,
        stream: TcpStream,
        tls: &(TlsConnector, ServerName<'static>),
    ) -> Result<BackendClient, DialError> {
        let mut client = self.talk(BackendTransport::Cleartext(stream));
        greet(&mut client).await?;
        self.hello(&mut client, &self.hostname).await?;
        if !client.extensions.starttls {
            return Err(DialError::NoStartTls);
        }
        let answer = client.exchange(&[b"STARTTLS\r\n"]).await?;
        if answer.code() != 220 {
            return Err(DialError::Refused("STARTTLS", answer));
        }
        match client.into_clean_transport() {
            Some(BackendTransport::Cleartext(stream)) => Ok(self.talk(encrypt(stream, tls).await?)),
            _ => Err(DialError::StartTlsInjection),
        }
    }

    fn talk(&self, transport: BackendTransport) -> BackendClient {
        BackendClient::new(transport, self.timeouts.clone())
    }
}

async fn encrypt(
    stream: TcpStream,
    (connector, name): &(TlsConnector, ServerName<'static>),
) -> Result<BackendTransport, DialError> {
    Ok(BackendTransport::Tls(Box::new(connector.connect(name.clone(), stream).await?)))
}

async fn greet(client: &mut BackendClient) -> Result<(), DialError> {
    let greeting = client.reply().await?;
    if greeting.code() == 220 { Ok(()) } else { Err(DialError::Refused("the connection", greeting)) }
}

async fn log_in(client: &mut BackendClient, login: &RelayLogin) -> Result<(), DialError> {
    let encode = |bytes: &[u8]| Zeroizing::new(STANDARD.encode(bytes));
    let extensions = client.extensions;
    let answer = if extensions.auth_plain {
        let response =
            Zeroizing::new([&b"\0"[..], login.user.as_bytes(), b"\0", login.password.as_bytes()].concat());
        client.exchange(&[b"AUTH PLAIN ", encode(&response).as_bytes(), b"\r\n"]).await?
    } else if extensions.auth_login {
        let mut answer = client.exchange(&[b"AUTH LOGIN\r\n"]).await?;
        for secret in [login.user.as_bytes(), login.password.as_bytes()] {
            if answer.code() != 334 {
                break;
            }
            answer = client.exchange(&[encode(secret).as_bytes(), b"\r\n"]).await?;
        }
        answer
    } else {
        return Err(DialError::NoMechanism);
    };
    if answer.code() == 235 { Ok(()) } else { Err(DialError::Refused("AUTH", answer)) }
}
