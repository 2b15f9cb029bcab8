//! A certificate that only the test trusts.

use std::path::Path;

/// The name that it is for.
pub const NAME: &str = "gate.test";

/// Puts `cert.pem` and `key.pem` into the directory, and gives the section that names them.
pub fn certificate(directory: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let place = directory.display();
    format!("[tls]\ncertificate = \"{place}/cert.pem\"\nprivate_key = \"{place}/key.pem\"\n")
}
