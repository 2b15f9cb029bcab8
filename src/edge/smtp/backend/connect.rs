//! Preparation of a new connection to a backend for its first transaction: TLS, greeting, EHLO, login.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::client::{BackendClient, Broken};
use super::transport::Transport;
use crate::config::{SmtpScheme, SmtpTimeouts};
use crate::wire::smtp::Reply;
use crate::wire::smtp::client::ServiceExtensions;

/// Why a backend didn't become ready.
#[derive(Debug, Error)]
pub enum DialError {
    /// The connection was lost, or is of no use.
    #[error("{0}")]
    Broken(#[from] Broken),
    /// It refused a step.
    #[error("{0} was answered with {1}")]
    Refused(&'static str, Reply),
    /// TLS is configured, and it doesn't offer it.
    #[error("it doesn't offer STARTTLS")]
    NoStartTls,
    /// Bytes came in clear after the reply to STARTTLS: somebody put words into its mouth.
    #[error("it sent more after its reply to STARTTLS, in clear")]
    Injected,
    /// A login is configured, and it offers neither PLAIN nor LOGIN.
    #[error("it offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoMechanism,
}

impl DialError {
    /// Whether the backend takes no more connections for now: it greets with a 4yz, such as 421.
    pub fn is_full(&self) -> bool {
        match self {
            DialError::Refused("the connection", reply) => reply.is_transient(),
            DialError::Broken(Broken::Farewell(reply)) => reply.is_transient(),
            _ => false,
        }
    }
}

impl From<std::io::Error> for DialError {
    fn from(error: std::io::Error) -> DialError {
        DialError::Broken(error.into())
    }
}

/// The gateway's own login. Neither is ever shown.
pub struct Login {
    /// The username.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// What it takes to get one backend ready.
pub struct Dialer {
    /// In clear or with TLS.
    pub scheme: SmtpScheme,
    /// For TLS, and the name that the backend must prove.
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The gateway's own login.
    pub login: Option<Arc<Login>>,
    /// What we say in EHLO.
    pub hostname: String,
    /// How long replies may take.
    pub timeouts: SmtpTimeouts,
}

impl Dialer {
    /// Gets a connection ready. The caller sets the time for it.
    ///
    /// # Errors
    /// Where a step fails; with TLS configured nothing but the STARTTLS itself is ever said in clear.
    pub async fn dial(&self, stream: TcpStream) -> Result<BackendClient, DialError> {
        // What belongs together is written together here.
        stream.set_nodelay(true)?;
        let mut conversation = match (self.scheme, &self.tls) {
            (SmtpScheme::Tls, Some(tls)) => {
                let mut conversation = self.talk(encrypt(stream, tls).await?);
                greet(&mut conversation).await?;
                conversation
            }
            (SmtpScheme::StartTls, Some(tls)) => self.start_tls(stream, tls).await?,
            _ => {
                let mut conversation = self.talk(Transport::Clear(stream));
                greet(&mut conversation).await?;
                conversation
            }
        };
        self.hello(&mut conversation, &self.hostname).await?;
        conversation.takes_xclient = conversation.offer.xclient;
        if let Some(login) = &self.login {
            log_in(&mut conversation, login).await?;
        }
        Ok(conversation)
    }

    /// EHLO as `name`, or HELO where the backend doesn't know EHLO.
    ///
    /// # Errors
    /// Where it refuses both, or is lost.
    pub async fn hello(&self, conversation: &mut BackendClient, name: &str) -> Result<(), DialError> {
        let answer = conversation.exchange(&[b"EHLO ", name.as_bytes(), b"\r\n"]).await?;
        if answer.is_positive() {
            conversation.offer = ServiceExtensions::read(&answer);
            return Ok(());
        }
        if !matches!(answer.code(), 500 | 502 | 504) {
            return Err(DialError::Refused("EHLO", answer));
        }
        conversation.offer = ServiceExtensions::default();
        let answer = conversation.exchange(&[b"HELO ", name.as_bytes(), b"\r\n"]).await?;
        if answer.is_positive() { Ok(()) } else { Err(DialError::Refused("HELO", answer)) }
    }

    /// What was learned in clear is forgotten: the caller says EHLO again (RFC 3207, 4.2).
    async fn start_tls(
        &self,
        stream: TcpStream,
        tls: &(TlsConnector, ServerName<'static>),
    ) -> Result<BackendClient, DialError> {
        let mut conversation = self.talk(Transport::Clear(stream));
        greet(&mut conversation).await?;
        self.hello(&mut conversation, &self.hostname).await?;
        if !conversation.offer.starttls {
            return Err(DialError::NoStartTls);
        }
        let answer = conversation.exchange(&[b"STARTTLS\r\n"]).await?;
        if answer.code() != 220 {
            return Err(DialError::Refused("STARTTLS", answer));
        }
        match conversation.into_clean_transport() {
            Some(Transport::Clear(stream)) => Ok(self.talk(encrypt(stream, tls).await?)),
            _ => Err(DialError::Injected),
        }
    }

    fn talk(&self, transport: Transport) -> BackendClient {
        BackendClient::new(transport, self.timeouts.clone())
    }
}

async fn encrypt(
    stream: TcpStream,
    (connector, name): &(TlsConnector, ServerName<'static>),
) -> Result<Transport, DialError> {
    Ok(Transport::Tls(Box::new(connector.connect(name.clone(), stream).await?)))
}

async fn greet(conversation: &mut BackendClient) -> Result<(), DialError> {
    let greeting = conversation.reply().await?;
    if greeting.code() == 220 { Ok(()) } else { Err(DialError::Refused("the connection", greeting)) }
}

async fn log_in(conversation: &mut BackendClient, login: &Login) -> Result<(), DialError> {
    let encode = |bytes: &[u8]| Zeroizing::new(STANDARD.encode(bytes));
    let offer = conversation.offer;
    let answer = if offer.auth_plain {
        let response =
            Zeroizing::new([&b"\0"[..], login.user.as_bytes(), b"\0", login.password.as_bytes()].concat());
        conversation.exchange(&[b"AUTH PLAIN ", encode(&response).as_bytes(), b"\r\n"]).await?
    } else if offer.auth_login {
        let mut answer = conversation.exchange(&[b"AUTH LOGIN\r\n"]).await?;
        for secret in [login.user.as_bytes(), login.password.as_bytes()] {
            if answer.code() != 334 {
                break;
            }
            answer = conversation.exchange(&[encode(secret).as_bytes(), b"\r\n"]).await?;
        }
        answer
    } else {
        return Err(DialError::NoMechanism);
    };
    if answer.code() == 235 { Ok(()) } else { Err(DialError::Refused("AUTH", answer)) }
}
