//! hyper's readers.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Found, Message, connection, fields_of, start};

/// The whole requests in `bytes`, as hyper reads them.
pub async fn requests(bytes: Vec<u8>) -> Vec<Message> {
    let (near, _far) = connection(&bytes).await;
    let found = Found::default();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let found = found.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                found.lock().expect("nobody panics").push(Message {
                    start: start(&head.method, &head.uri.to_string()),
                    fields: fields_of(&head.headers),
                    body: body.to_bytes().to_vec(),
                });
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.half_close(true).max_headers(256);
    let _ = server.serve_connection(TokioIo::new(near), service).await;
    let found = std::mem::take(&mut *found.lock().expect("nobody panics"));
    found
}

/// The final response in `bytes`, if hyper reads it as a whole. hyper reads nothing before it has sent a request.
pub async fn response(bytes: Vec<u8>) -> Option<Message> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let mut client = hyper::client::conn::http1::Builder::new();
    client
        .max_headers(256)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    let (mut sender, driver) = client.handshake(TokioIo::new(near)).await.ok()?;
    let asking = async move {
        let request = Request::get("/").header("host", "a").body(Empty::<Bytes>::new()).ok()?;
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        Some(Message {
            start: head.status.as_str().to_owned(),
            fields: fields_of(&head.headers),
            body: body.to_bytes().to_vec(),
        })
    };
    let answering = async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && far.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        }
        let _ = far.write_all(&bytes).await;
        let _ = far.shutdown().await;
        // Held until the end: a connection that breaks off is another thing.
        far
    };
    let (found, _driven, _far) = tokio::join!(asking, driver, answering);
    found
}
