use std::io::Write;

use pingora_core::connectors::{ConnectorOptions, TransportConnector};

#[test]
fn a_file_of_roots_that_cannot_be_used_makes_the_connector_panic() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let path = file.path().display().to_string();
    let made = std::panic::catch_unwind(|| {
        let mut options = ConnectorOptions::new(1);
        options.ca_file = Some(path);
        TransportConnector::new(Some(options))
    });
    assert!(made.is_err(), "net::tls_roots need not check the certificates for pingora any more");
}
