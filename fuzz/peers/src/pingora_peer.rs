//! pingora's readers.

use http::header::CONNECTION;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v1::client::HttpSession as ClientSession;
use pingora_core::protocols::http::v1::server::HttpSession;

use crate::{Message, NEXT, connection, fields_of, rest, start};

/// The whole requests in `bytes`, as pingora reads them: the first, and the next one if it begins right behind.
pub async fn requests(bytes: Vec<u8>) -> Vec<Message> {
    let (near, far) = connection(&bytes).await;
    let Some((first, behind)) = request(Box::new(near)).await else { return vec![] };
    drop(far);
    let next = Message { start: "GET /next".into(), fields: vec![], body: vec![] };
    match &behind[..] {
        b"" => vec![first],
        behind if behind == NEXT => vec![first, next],
        behind => vec![first, Message { start: behind.escape_ascii().to_string(), ..next }],
    }
}

/// The first request, and the bytes behind it.
async fn request(stream: Stream) -> Option<(Message, Vec<u8>)> {
    let mut session = HttpSession::new(stream);
    session.set_pipelining_enabled(true);
    session.set_read_timeout(None);
    session.read_request().await.ok()??;
    let head = session.req_header();
    let mut first = Message {
        start: start(&head.method, &String::from_utf8_lossy(head.raw_path())),
        fields: fields_of(&head.headers),
        body: vec![],
    };
    while let Some(piece) = session.read_body_bytes().await.ok()? {
        first.body.extend_from_slice(&piece);
    }
    // Otherwise a connection that the client wants closed is closed.
    session.req_header_mut().remove_header(&CONNECTION);
    session.set_server_keepalive(Some(60));
    let Some(reusable) = session.reuse().await.ok()? else { return Some((first, vec![])) };
    let (stream, prefix) = reusable.into_parts();
    let behind = [&prefix.unwrap_or_default()[..], &rest(stream).await].concat();
    Some((first, behind))
}

/// The final response in `bytes`, if pingora reads it as a whole.
pub async fn response(bytes: Vec<u8>) -> Option<Message> {
    let (near, _far) = connection(&bytes).await;
    let mut session = ClientSession::new(Box::new(near));
    let request = pingora_http::RequestHeader::build("GET", b"/", None);
    session.write_request_header(Box::new(request.ok()?)).await.ok()?;
    let mut found: Option<Message> = None;
    loop {
        let ended = match session.read_response_task().await.ok()? {
            HttpTask::Header(head, _) if head.status.is_informational() => false,
            HttpTask::Header(head, ended) => {
                found = Some(Message {
                    start: head.status.as_str().to_owned(),
                    fields: fields_of(&head.headers),
                    body: vec![],
                });
                ended
            }
            HttpTask::Body(piece, ended) => {
                found.as_mut()?.body.extend_from_slice(&piece.unwrap_or_default());
                ended
            }
            HttpTask::Done => true,
            _ => return None,
        };
        if ended {
            return found;
        }
    }
}
