//! The header of a backend's response as the client gets it.

use http::Version;
use http::header::{self, HeaderValue};
use pingora_http::ResponseHeader;

use super::hop_by_hop::{self, Nominated};
use crate::edge::http::request_id::REQUEST_ID;

/// The response as the client gets it; `version` is the one that the client speaks.
///
/// # Errors
/// Where a field can't be written.
pub fn incoming(
    response: &mut ResponseHeader,
    version: Version,
    request_id: &HeaderValue,
) -> pingora_error::Result<()> {
    let switching = response.status == http::StatusCode::SWITCHING_PROTOCOLS;
    if let Some(connection) = response.headers.get(header::CONNECTION) {
        if !hop_by_hop::is_plain(connection) && !switching {
            let nominated = Nominated::of(&response.headers);
            for name in nominated.names() {
                response.remove_header(name);
            }
        }
        if !switching {
            response.remove_header(&header::CONNECTION);
        }
    }
    for name in [&hop_by_hop::KEEP_ALIVE, &hop_by_hop::PROXY_CONNECTION, &header::TRAILER] {
        if response.headers.contains_key(name) {
            response.remove_header(name);
        }
    }
    if !switching && response.headers.contains_key(header::UPGRADE) {
        response.remove_header(&header::UPGRADE);
    }
    let has_body = !response.status.is_informational()
        && response.status != http::StatusCode::NO_CONTENT
        && response.status != http::StatusCode::NOT_MODIFIED;
    match version {
        // One whose end only the closing connection would tell is chunked, so that the client's connection stays.
        Version::HTTP_11 => {
            if has_body
                && !response.headers.contains_key(header::CONTENT_LENGTH)
                && !response.headers.contains_key(header::TRANSFER_ENCODING)
            {
                response.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
            }
        }
        _ => {
            response.remove_header(&header::TRANSFER_ENCODING);
        }
    }
    response.set_version(Version::HTTP_11);
    response.insert_header(REQUEST_ID, request_id)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_length_is_chunked_where_that_is_understood() {
        let id = HeaderValue::from_static("1");
        for (version, chunked) in
            [(Version::HTTP_11, true), (Version::HTTP_10, false), (Version::HTTP_2, false)]
        {
            let mut answer = ResponseHeader::build(200, None).unwrap();
            answer.insert_header("Connection", "X-Private").unwrap();
            answer.insert_header("X-Private", "1").unwrap();
            incoming(&mut answer, version, &id).unwrap();
            assert_eq!(answer.headers.contains_key(header::TRANSFER_ENCODING), chunked, "{version:?}");
            assert!(
                !answer.headers.contains_key("x-private") && !answer.headers.contains_key(header::CONNECTION)
            );
        }
    }
}
