//! Certificates that have expired, will soon, or are not valid yet: told by `check`, at the start and at a reload.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::path::Path;

use crate::common::backend::Backend;
use crate::common::http::get;
use crate::common::mail::NAME;
use crate::common::tls::{Authority, Identity};
use crate::common::{Gateway, api, command, configured};

const TLS: &str = "[tls]\ncertificate = \"DIR/cert.pem\"\nprivate_key = \"DIR/key.pem\"\n";
const OPS: &str = "[ops]\nlisten = \"127.0.0.1:0\"\n";
const DAY: i64 = 86_400;

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A certificate that is valid from so many days after now until so many.
fn valid(from: i64, until: i64) -> Identity {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let day =
        |days: i64| date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs((now() + days * DAY) as u64);
    (params.not_before, params.not_after) = (day(from), day(until));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn check(directory: &Path) -> String {
    let output = command(&directory.join("gatepost.toml"), &["check"], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Case E5.
#[test]
fn an_expiry_is_told_at_check_start_and_reload() {
    let backend = Backend::hello();
    let cases = [
        (valid(-90, -1), Some("expired on ")),
        (valid(-90, 10), Some("expires on ")),
        (valid(1, 90), Some("is not valid before ")),
        // It is renewed in its last third.
        (valid(-1, 5), None),
        (valid(-30, 60), None),
    ];
    let directory = configured(&format!("{TLS}{OPS}{}", api(backend.address)));
    for (identity, told) in &cases {
        identity.write(directory.path());
        let text = check(directory.path());
        match told {
            Some(told) => assert!(text.contains("tls.certificate") && text.contains(told), "{told}: {text}"),
            None => assert!(!text.contains("tls.certificate"), "{text}"),
        }
    }

    let (expired, soon, good) = (&cases[0].0, &cases[1].0, &cases[4].0);
    expired.write(directory.path());
    let gateway = Gateway::start_in(directory);
    gateway.log().wait_for(&["WARN", "tls.certificate", "expired on "]);
    let expires = || -> i64 {
        let text = get("/metrics").send(gateway.address("ops.listen")).text();
        let line = text.lines().find_map(|line| line.strip_prefix("gatepost_certificate_expiry_seconds "));
        line.unwrap().parse::<f64>().unwrap() as i64
    };
    let is_in = |days: i64| (expires() - now() - days * DAY).abs() < 600;
    assert!(is_in(-1), "{}", expires());
    soon.write(gateway.directory.path());
    gateway.signal("HUP");
    gateway.log().wait_for(&["WARN", "tls.certificate", "expires on ", " days"]);
    assert!(is_in(10), "{}", expires());
    good.write(gateway.directory.path());
    gateway.signal("HUP");
    let renewed = std::time::Instant::now();
    while !is_in(60) {
        assert!(renewed.elapsed() < crate::common::PATIENCE, "{}", expires());
    }
}

/// Another of the kind of case E5: what backends are verified against.
#[test]
fn expired_roots_of_backends_are_told() {
    let authority = Authority::new();
    let text = |roots: &str| {
        let rest = format!(
            "{TLS}[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"https://127.0.0.1:1\"]\nupstream_ca = \"DIR/ca.pem\"\n"
        );
        let directory = configured(&rest);
        authority.issue(NAME).write(directory.path());
        std::fs::write(directory.path().join("ca.pem"), roots).unwrap();
        check(directory.path())
    };
    let expired = valid(-90, -1).certificate;
    let told = text(&expired);
    assert!(told.contains("api.upstream_ca") && told.contains("has expired, the last one on"), "{told}");
    let told = text(&(expired + &authority.pem()));
    assert!(!told.contains("upstream_ca"), "{told}");
}
