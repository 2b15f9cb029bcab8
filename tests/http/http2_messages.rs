//! What a request and a response over HTTP/2 become on the way: fields, bodies, trailers, interim responses.

use std::future::poll_fn;

use crate::common::backend::{Backend, Received};
use crate::common::http2::{ask, connected, http2, recorded, send, start, whole};
use crate::common::tls::Authority;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

// Case A10: 300 fields over HTTP/2, as over HTTP/1.1
#[tokio::test(flavor = "multi_thread")]
async fn many_fields_pass_and_too_many_are_431() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    let names: Vec<String> = (0..1000).map(|n| format!("x-n-{n}")).collect();
    for (count, status) in [(250, 200), (256, 200), (257, 431), (300, 431), (1000, 431), (10, 200)] {
        let fields: Vec<(&str, &str)> = names[..count].iter().map(|name| (name.as_str(), "x")).collect();
        let answer = ask(&mut client, "GET", "/open/a", &fields, true).0.await.unwrap();
        assert_eq!(answer.status(), status, "{count}");
        if status == 200 {
            let received = backend.next();
            assert_eq!(received.headers.iter().filter(|(name, _)| name.starts_with("x-n-")).count(), count);
        }
    }
    assert!(backend.drain().is_empty());
}

// Case A11: a request whose stream ends by an empty DATA frame
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_frame_is_no_body() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let (answer, mut body) = ask(&mut client, method, "/open/a", &[], false);
        body.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200, "{method}");
        let received = backend.next();
        assert_eq!(received.method, method);
        assert_eq!((received.header("transfer-encoding"), received.header("content-length")), (None, None));
        assert!(received.raw.ends_with(b"\r\n\r\n"));
    }
    // A GET may have a body, and one that comes piece by piece has all of it.
    let (answer, mut body) = ask(&mut client, "GET", "/open/a", &[], false);
    body.send_data(Bytes::new(), false).unwrap();
    assert!(send(&mut body, Bytes::from_static(b"some"), false).await);
    assert!(send(&mut body, Bytes::from_static(b"thing"), true).await);
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(backend.next().body, b"something");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_or_a_host_that_http_1_could_not_carry_is_400() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    for fields in [&[("host", "other.test")][..], &[("host", "gate.test"), ("host", "gate.test")]] {
        let answer = ask(&mut client, "GET", "/open/a", fields, true).0.await.unwrap();
        assert_eq!(answer.status(), 400, "{fields:?}");
    }
    let same = ask(&mut client, "GET", "/open/a", &[("host", "GATE.test")], true).0.await.unwrap();
    assert_eq!(same.status(), 200);
    backend.next();
    assert!(backend.drain().is_empty());
}

/// The library of HTTP/2 takes a name with a quotation mark, which is no token (RFC 9110 section 5.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_field_whose_name_is_no_token_is_400() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    for name in ["\"", "a\"b", "\"a", "a\""] {
        let mut request = Request::get("https://gate.test/open/a").body(()).unwrap();
        let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
        request.headers_mut().insert(&name, HeaderValue::from_static("v"));
        let answer = client.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), 400, "{name}");
    }
    let odd = [("!#$%&'*+-.^_`|~09az", "v")];
    assert_eq!(ask(&mut client, "GET", "/open/a", &odd, true).0.await.unwrap().status(), 200);
    assert_eq!(backend.next().header(odd[0].0), Some("v"));
    assert!(backend.drain().is_empty());
}

// Case C10: a gRPC request gets a refusal that its client shows
#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_refused_in_its_own_way() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let (mut client, _, frames) = recorded(&gateway, &authority).await;
    for kind in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=utf-8"] {
        let fields = [("content-type", kind), ("te", "trailers")];
        let (answer, mut body) = ask(&mut client, "POST", "/open/pkg.Service/Method", &fields, false);
        // The answer may come first, and then nobody wants the body.
        send(&mut body, Bytes::from_static(b"\0\0\0\0\0"), true).await;
        let answer = answer.await.unwrap();
        let shown = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((answer.status().as_u16(), shown("grpc-status").as_deref()), (200, Some("12")), "{kind}");
        assert_eq!(shown("content-type").as_deref(), Some("application/grpc"));
        assert!(shown("grpc-message").unwrap().contains("does not forward gRPC"));
        assert_eq!((whole(answer).await.unwrap().1, frames.data()), (vec![], 0));
    }
    assert!(backend.drain().is_empty());
    // gRPC-Web has its trailers in the body.
    let web = [("content-type", "application/grpc-web+proto")];
    let answer = ask(&mut client, "POST", "/open/pkg.Service/Method", &web, true).0.await.unwrap();
    assert_eq!(whole(answer).await.unwrap(), (200, b"hello".to_vec()));
    backend.next();
}

// Case C10: trailers of requests and of responses are left out (RFC 9110 section 6.5.1)
#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_left_out_both_ways() {
    let backend = Backend::answering(|_: &Received| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Checksum: a\r\n\r\n"
            .to_vec()
    });
    let authority = Authority::new();
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    let (answer, mut body) = ask(&mut client, "POST", "/open/a", &[("te", "trailers")], false);
    assert!(send(&mut body, Bytes::from_static(b"some"), false).await);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("b"));
    trailers.insert("authorization", HeaderValue::from_static("Basic eDp5"));
    body.send_trailers(trailers).unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap(), None);
    let received = backend.next();
    assert_eq!(received.body, b"some");
    let raw = String::from_utf8(received.raw).unwrap().to_ascii_lowercase();
    assert!(
        !raw.contains("x-checksum") && !raw.contains("authorization") && !raw.contains("\r\nte:"),
        "{raw}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_pass_and_other_interim_responses_do_not() {
    let backend = Backend::answering(|_: &Received| {
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let authority = Authority::new();
    let gateway = start(&authority, backend.address, "");
    let mut client = http2(&gateway, &authority).await;
    let request = Request::get("https://gate.test/open/a").body(()).unwrap();
    let (mut answer, _) = client.send_request(request, true).unwrap();
    let hints = poll_fn(|cx| answer.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &HeaderValue::from_static("</a.css>; rel=preload"))
    );
    assert_eq!(whole(answer.await.unwrap()).await.unwrap(), (200, b"ok".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_have_a_hundred_requests_open() {
    let (authority, backend) = (Authority::new(), Backend::hello());
    let gateway = start(&authority, backend.address, "");
    let (mut client, _) = connected(&gateway, &authority).await;
    // The settings come before the response.
    assert_eq!(ask(&mut client, "GET", "/open/a", &[], true).0.await.unwrap().status(), 200);
    assert_eq!(client.current_max_send_streams(), 100);
}
