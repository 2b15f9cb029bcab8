#![no_main]

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gatepost_fuzz::wire::{BASIC_BUFFER, BasicError, basic};

// Decodes as the reference does, and what the reference encodes is read.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut buffer = [0; BASIC_BUFFER];
    let _ = basic(data, &mut [0; 7]);
    if let Ok(presented) = basic(data, &mut buffer) {
        let text = std::str::from_utf8(data).expect("base64 is ASCII").trim();
        let encoded = text[5..].trim().trim_end_matches('=').to_owned();
        let padding = "=".repeat((4 - encoded.len() % 4) % 4);
        let decoded = BASE64_STANDARD.decode(encoded + &padding).expect("the reference reads it");
        assert_eq!(decoded, [presented.username, b":", presented.secret].concat());
        assert!(!presented.username.contains(&b':'));
    }
    let header = format!("Basic {}", BASE64_STANDARD.encode(data));
    match basic(header.as_bytes(), &mut buffer) {
        Ok(presented) => assert_eq!(data, [presented.username, b":", presented.secret].concat()),
        Err(BasicError::TooLong) => assert!(data.len() > BASIC_BUFFER - 3),
        Err(error) => assert!(error == BasicError::Malformed && !data.contains(&b':')),
    }
});
