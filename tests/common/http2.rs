//! A gateway with TLS, and a client of HTTP/2.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls::Authority;
use super::{Gateway, configured};

pub fn config(upstream: SocketAddr, keys: &str) -> String {
    format!(
        "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n\
         [api]\ntls_listen = [\"127.0.0.1:0\"]\nupstreams = [\"http://{upstream}\"]\n{keys}\n\
         [[api.route]]\npath = \"/open/*\"\npermission = \"public\"\n"
    )
}

pub fn start(authority: &Authority, upstream: SocketAddr, keys: &str) -> Gateway {
    let directory = configured(&config(upstream, keys));
    authority.issue("gate.test").write(directory.path());
    Gateway::start_in(directory)
}

pub fn address(gateway: &Gateway) -> SocketAddr {
    gateway.address("api.tls_listen")
}

/// A client of HTTP/2.
pub async fn http2(gateway: &Gateway, authority: &Authority) -> SendRequest<Bytes> {
    connected(gateway, authority).await.0
}

/// The same, and what ends with the connection.
pub async fn connected(gateway: &Gateway, authority: &Authority) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let (client, ended, _) = recorded(gateway, authority).await;
    (client, ended)
}

/// The bytes that a client of HTTP/2 has read, frames in a row.
#[derive(Clone, Default)]
pub struct Frames(Arc<Mutex<Vec<u8>>>);

impl Frames {
    /// The number of DATA frames so far, empty ones included (RFC 9113 section 4.1).
    pub fn data(&self) -> usize {
        self.count(0)
    }

    /// The number of GOAWAY frames so far.
    pub fn goodbyes(&self) -> usize {
        self.count(7)
    }

    fn count(&self, wanted: u8) -> usize {
        let bytes = self.0.lock().unwrap();
        let (mut rest, mut count) = (&bytes[..], 0);
        while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
            count += usize::from(*kind == wanted);
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            rest = after.get(length..).unwrap_or_default();
        }
        count
    }
}

/// Has a wrapper of a stream write to it: to the field of that name.
#[macro_export]
macro_rules! forward_writes {
    ($wrapper:ty, $stream:tt) => {
        impl tokio::io::AsyncWrite for $wrapper {
            fn poll_write(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                tokio::io::AsyncWrite::poll_write(std::pin::Pin::new(&mut self.$stream), cx, bytes)
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                tokio::io::AsyncWrite::poll_flush(std::pin::Pin::new(&mut self.$stream), cx)
            }

            fn poll_shutdown(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                tokio::io::AsyncWrite::poll_shutdown(std::pin::Pin::new(&mut self.$stream), cx)
            }
        }
    };
}

/// A stream that keeps a copy of what is read.
struct Recorded(TlsStream<TcpStream>, Frames);

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buffer);
        self.1.0.lock().unwrap().extend_from_slice(&buffer.filled()[before..]);
        read
    }
}

crate::forward_writes!(Recorded, 0);

/// The same, and the frames that come.
pub async fn recorded(
    gateway: &Gateway,
    authority: &Authority,
) -> (SendRequest<Bytes>, JoinHandle<()>, Frames) {
    let connector = TlsConnector::from(authority.client(&["h2", "http/1.1"]));
    let stream = TcpStream::connect(address(gateway)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let stream = connector.connect("gate.test".try_into().unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let frames = Frames::default();
    let stream = Recorded(stream, frames.clone());
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(async move {
        let _ = connection.await;
    });
    (client.ready().await.unwrap(), ended, frames)
}

pub fn ask(
    client: &mut SendRequest<Bytes>,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    ends: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::builder().method(method).uri(format!("https://gate.test{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send_request(request.body(()).unwrap(), ends).unwrap()
}

/// Sends all of `body` as the flow allows; false where the other side wants no more of it.
pub async fn send(stream: &mut SendStream<Bytes>, mut body: Bytes, ends: bool) -> bool {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(16 * 1024));
        // What is there already is not announced again.
        let room = match stream.capacity() {
            0 => match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(room)) => room,
                _ => return false,
            },
            room => room,
        };
        let piece = body.split_to(room.min(body.len()));
        if stream.send_data(piece, ends && body.is_empty()).is_err() {
            return false;
        }
    }
    true
}

pub async fn whole(response: Response<RecvStream>) -> Result<(u16, Vec<u8>), h2::Error> {
    let (head, mut body) = response.into_parts();
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((head.status.as_u16(), all))
}
