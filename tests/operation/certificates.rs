//! Certificates and keys as openssl and other tools write them: what is accepted, and what `check` says of the rest. A command
//! that it tells to type is run, and helps.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{command, configured};

const REST: &str = "[tls]\ncertificate = 'DIR/cert.pem'\nprivate_key = 'DIR/key.pem'\n\
    [api]\ntls_listen = ['127.0.0.1:0']\nupstreams = ['http://127.0.0.1:9']\n";

/// A good pair, and its certificate authority, beside which each case makes its own files.
const GOOD: &str = "
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out request.pem -subj /CN=gate.test
    printf 'subjectAltName=DNS:gate.test' > extensions
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -extfile extensions -out cert.pem -days 30
";

/// Makes a certificate for key.pem, signed by itself.
const SELF: &str = "openssl req -x509 -key key.pem -out cert.pem -days 30 -subj /CN=gate.test";

fn sh(directory: &Path, script: &str) {
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .env("HOME", directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
}

/// A directory in which the good files were changed by a script.
fn made(script: &str) -> tempfile::TempDir {
    let directory = configured(REST);
    sh(directory.path(), &format!("{GOOD}\n{script}"));
    directory
}

fn check(directory: &Path) -> (Option<i32>, String) {
    let output = command(&directory.join("gatepost.toml"), &["check"], "");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn what_openssl_writes_is_accepted() {
    for script in [
        String::new(),
        format!("openssl genrsa -traditional -out key.pem 2048; {SELF}"),
        format!("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out key.pem; {SELF}"),
        // With a block of parameters before the key, in SEC 1.
        format!(
            "openssl ecparam -name prime256v1 -genkey -out key.pem; grep -q 'EC PARAMETERS' key.pem; {SELF}"
        ),
        format!("openssl ecparam -name secp384r1 -genkey -noout -out key.pem; {SELF}"),
        format!("openssl genpkey -algorithm ED25519 -out key.pem; {SELF}"),
        "sed -i 's/$/\\r/' cert.pem key.pem".to_owned(),
        "for f in cert key; do printf '\\357\\273\\277' > x; cat $f.pem >> x; cp x $f.pem; done".to_owned(),
        // Both in one file, and with text around them.
        "cat key.pem cert.pem > x; cp x key.pem; cp x cert.pem".to_owned(),
        "openssl x509 -in cert.pem -text -out x; cat x ca.pem > cert.pem".to_owned(),
    ] {
        let directory = made(&script);
        let (code, text) = check(directory.path());
        assert_eq!(code, Some(0), "{script}\n{text}");
    }
}

// Case E16: what is not supported, in which file, and the command that helps.
#[test]
fn what_cannot_be_used_says_why_and_which_command_helps() {
    let cases = [
        (
            "tls.private_key",
            "openssl ecparam -name secp521r1 -genkey -noout -out key.pem; SELF",
            "the curve P-521",
        ),
        (
            "tls.private_key",
            "openssl ecparam -name secp256k1 -genkey -noout -out key.pem; SELF",
            "curve secp256k1",
        ),
        ("tls.private_key", "openssl genpkey -algorithm ED448 -out key.pem; SELF", "an Ed448 key"),
        ("tls.private_key", "openssl genrsa -out key.pem 1024; SELF", "an RSA key of 1024 bits"),
        ("tls.private_key", "openssl genrsa -traditional -out key.pem 1024; SELF", "an RSA key of 1024 bits"),
        (
            "tls.private_key",
            "openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out p; \
             openssl genpkey -paramfile p -out key.pem; SELF",
            "a DSA key",
        ),
        (
            "tls.private_key",
            "openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out p; \
             openssl genpkey -paramfile p -out x; openssl pkey -traditional -in x -out key.pem; SELF",
            "a DSA key",
        ),
        ("tls.private_key", "openssl pkey -in key.pem -pubout -out x; cp x key.pem", "contains a public key"),
        ("tls.private_key", "cp cert.pem key.pem", "a certificate and no private key"),
        ("tls.private_key", "cp ca.key key.pem", "not the key of the certificate"),
        ("tls.private_key", ": > key.pem", "the file is empty"),
        ("tls.private_key", "echo hello > key.pem", "expected a line -----BEGIN PRIVATE KEY-----"),
        ("tls.private_key", "sed -i '2s/./!/' key.pem", "invalid base64"),
        ("tls.private_key", "sed -i '$d' key.pem", "the line -----END PRIVATE KEY----- is missing"),
        (
            "tls.private_key",
            "printf -- '-----BEGIN PRIVATE KEY-----\\nMAA=\\n-----END PRIVATE KEY-----\\n' > key.pem",
            "the key is damaged",
        ),
        ("tls.certificate", "cp key.pem cert.pem", "are certificate and key swapped?"),
        ("tls.certificate", "cp request.pem cert.pem", "contains a certificate request"),
        ("tls.certificate", ": > cert.pem", "the file is empty"),
        (
            "tls.certificate",
            "cat ca.pem cert.pem > x; cp x cert.pem",
            "is number 2 in the file: it must be the first",
        ),
        ("tls.certificate", "sed -i '3s/./!/' cert.pem", "invalid base64"),
        (
            "tls.certificate",
            "printf -- '-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\\n' > cert.pem",
            "the first certificate is damaged",
        ),
    ];
    for (key, script, words) in cases {
        let directory = made(&script.replace("SELF", SELF));
        let (code, text) = check(directory.path());
        assert_eq!(code, Some(1), "{script}\n{text}");
        let file = if key == "tls.certificate" { "cert.pem" } else { "key.pem" };
        let at = format!(": {key}: {}: ", directory.path().join(file).display());
        let line = text.lines().find(|line| line.contains(&at)).unwrap_or_else(|| panic!("{script}\n{text}"));
        assert!(line.contains(words), "{script}\n{line}");
        assert_eq!(text.lines().filter(|line| line.contains(": tls.")).count(), 1, "{script}\n{text}");
    }
}

// Case E16: files that can be converted. The command is run, its result takes the place of the file.
#[test]
fn the_command_that_is_told_converts_the_file() {
    let cases = [
        (
            "key.pem",
            "openssl pkey -aes256 -passout pass:secret-1 -in key.pem -out x; cp x key.pem",
            "is encrypted",
        ),
        (
            "key.pem",
            "openssl ec -aes256 -passout pass:secret-1 -in key.pem -out x; cp x key.pem; grep -q Proc-Type key.pem",
            "is encrypted",
        ),
        ("key.pem", "openssl pkey -in key.pem -outform DER -out x; cp x key.pem", "DER format, expected PEM"),
        (
            "key.pem",
            "openssl ec -in key.pem -param_enc explicit -out x; cp x key.pem",
            "describes its curve instead of naming it",
        ),
        ("key.pem", "sed -i 's/^/  /' key.pem", "its lines are indented"),
        ("key.pem", "iconv -f UTF-8 -t UTF-16 key.pem > x; cp x key.pem", "UTF-16 text"),
        (
            "key.pem",
            "openssl pkcs12 -export -passout pass:secret-1 -inkey key.pem -in cert.pem -out x; cp x key.pem",
            "PKCS #12 format",
        ),
        (
            "cert.pem",
            "openssl x509 -in cert.pem -outform DER -out x; cp x cert.pem",
            "DER format, expected PEM",
        ),
        ("cert.pem", "openssl x509 -in cert.pem -trustout -out x; cp x cert.pem", "OpenSSL's own"),
        ("cert.pem", "openssl crl2pkcs7 -nocrl -certfile cert.pem -out x; cp x cert.pem", "PKCS #7 format"),
        (
            "cert.pem",
            "openssl x509 -req -in request.pem -signkey key.pem -out cert.pem -days 30; \
             openssl x509 -in cert.pem -noout -text | grep -q 'Version: 1'",
            "of version 1 of X.509",
        ),
    ];
    for (file, script, words) in cases {
        let directory = made(script);
        let (code, text) = check(directory.path());
        assert_eq!(code, Some(1), "{script}\n{text}");
        let at = format!("{}: ", directory.path().join(file).display());
        let line = text.lines().find(|line| line.contains(&at)).unwrap_or_else(|| panic!("{script}\n{text}"));
        assert!(line.contains(words), "{script}\n{line}");
        let told = line.split("type: ").nth(1).or_else(|| line.split("made by: ").nth(1));
        let told = told.unwrap_or_else(|| panic!("{line}"));
        let told = told.replace("openssl pkey -in", "openssl pkey -passin pass:secret-1 -in");
        let told = told.replace("openssl pkcs12 -in", "openssl pkcs12 -passin pass:secret-1 -in");
        sh(directory.path(), &told);
        fs::rename(directory.path().join(format!("{file}.new")), directory.path().join(file)).unwrap();
        let (code, text) = check(directory.path());
        assert_eq!(code, Some(0), "{script}\n{told}\n{text}");
    }
}

// Case E16: root certificates are read in the same way.
#[test]
fn root_certificates_have_the_same_words() {
    let rest =
        "[api]\nlisten = ['127.0.0.1:0']\nupstreams = ['https://127.0.0.1:9']\nupstream_ca = 'DIR/ca.pem'\n";
    for (script, words) in [
        ("openssl x509 -in ca.pem -outform DER -out x; cp x ca.pem", "type: openssl x509 -inform DER -in "),
        ("cp ca.key ca.pem", "a private key and no certificate"),
        ("cat request.pem >> ca.pem; sed -i '2s/./!/' ca.pem", "invalid base64"),
        (
            "printf -- '-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\\n' >> ca.pem",
            "certificate 2 in it is damaged",
        ),
    ] {
        let directory = configured(rest);
        sh(directory.path(), &format!("{GOOD}\n{script}"));
        let (code, text) = check(directory.path());
        assert_eq!(code, Some(1), "{script}\n{text}");
        assert!(text.contains("api.upstream_ca: ") && text.contains(words), "{script}\n{text}");
    }
}
