//! Forms with a boundary that some parsers cut: whatever Werkzeug, behind the gateway, makes of dashes inside of a part, it reads no
//! field that Gatepost doesn't.

use std::net::SocketAddr;
use std::process::Command;

use crate::common::forms::form;
use crate::common::http::Connection;
use crate::common::servers::{Server, script};
use crate::common::{Gateway, api, installed};

const CALLER: &str = "apionly:passw0rd-call";

/// A part's content is made of these.
const TOKENS: [&str; 20] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    "\r\r",
    "--b",
    "--b\r\n",
    "\r\n--b\r\n",
    "\n--b\n",
    "\r\n--b \t\r\n",
    "\r\n--b--\r\n",
    " ",
    "X: y",
    "text",
    "Content-Disposition: form-data; name=\"api_user\"",
    "Content-Disposition: form-data; name=\"api_user\"\r\n\r\nsomebody-else",
    "\r\n--b\r\nContent-Disposition: form-data; name=\"api_user\"\r\n\r\nsomebody-else\r\n--b--\r\n",
    "content-disposition : form-data;\r\n name=api_user",
    "Content-Type: multipart/mixed; boundary=z",
];

#[test]
fn no_field_hides_behind_a_cut_boundary() {
    let python = installed("parsers/bin/python");
    let werkzeug = Server::start(Command::new(python).arg(script("fields.py")), 1);
    let werkzeug = SocketAddr::from(([127, 0, 0, 1], werkzeug.ports[0]));
    let gateway = Gateway::start(&api(werkzeug));
    gateway.account("email,api,web").credential(CALLER, "api");
    let (mut through, mut direct) = (Connection::open(gateway.api()), Connection::open(werkzeug));
    let (mut passed, mut refused, mut hidden) = (0, 0, 0);
    let mut seed: u32 = 1;
    let mut below = |bound: usize| {
        // Numerical Recipes' generator: the same forms each time.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % bound
    };
    for _ in 0..600 {
        let content: String = (0..1 + below(9)).map(|_| TOKENS[below(TOKENS.len())]).collect();
        let head = "--b=c\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n";
        let body = format!("{head}{content}\r\n--b=c--\r\n");
        if !content.contains("--b") {
            continue;
        }
        let request = || form("/api/a.json", "multipart/form-data; boundary=b=c", body.clone());
        let read = direct.exchange(request()).text();
        hidden += usize::from(read.contains("api_user"));
        let answer = through.exchange(request().basic(CALLER));
        match answer.status {
            200 => {
                assert_eq!(answer.text(), "[None, None, []]", "{body:?}");
                passed += 1;
            }
            400 => refused += 1,
            other => panic!("{other} for {body:?}"),
        }
    }
    assert!(
        passed > 50 && refused > 50 && hidden > 20,
        "{passed} passed, {refused} refused, {hidden} hidden"
    );
}

/// Notes, signatures and tables in the forms of Java clients.
#[test]
fn text_with_dashes_passes() {
    let backend = crate::common::backend::Backend::hello();
    let gateway = Gateway::start(&api(backend.address));
    gateway.account("email,api,web").credential(CALLER, "api");
    let mut connection = Connection::open(gateway.api());
    let boundary = "----=_Part_0_123.456";
    for text in ["Regards\r\n------\r\nJoe", "Item\n------\nA\n\nB", "------\r\n"] {
        let part = |name: &str, value: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!("{}{}--{boundary}--\r\n", part("to", "a@b"), part("text", text));
        let kind = format!("multipart/form-data; boundary={boundary}");
        let answer = connection.exchange(form("/api/a.json", &kind, body.clone()).basic(CALLER));
        assert_eq!(answer.status, 200, "{text:?}: {}", answer.text());
        assert_eq!(backend.next().body, body.as_bytes());
    }
}
