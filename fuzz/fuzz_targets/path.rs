#![no_main]

use gatepost_fuzz::wire::{Call, PathError, RoutePattern, Target, normalize, sends_mail};

// A plain path is its own plain path, and doesn't send mail by another reading.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(target) = Target::split(data) else { return };
    let plain = match normalize(target.path) {
        Ok(plain) => plain,
        Err(error) => return assert_ne!(error, PathError::NotAPath),
    };
    assert!(plain.starts_with('/') && plain.is_ascii());
    assert!(!plain.contains("//") && !plain.contains("/../") && !plain.contains("/./"));
    assert_eq!(normalize(plain.as_bytes()), Ok(plain.clone()));
    let twice = decoded(&decoded(plain.as_bytes()));
    if ["/api/mail.send.json", "/v3/mail/send"]
        .iter()
        .any(|path| path.as_bytes() == twice.to_ascii_lowercase())
    {
        assert!(sends_mail(&plain));
    }
    let _ = Call::from_path(&plain);
    if let Ok(pattern) = RoutePattern::parse(&plain) {
        assert!(
            pattern.matches(&plain) && pattern.covers(&plain) && pattern.covers(&plain.to_ascii_uppercase())
        );
    }
});

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| byte == b'%') {
            Some(value) => {
                decoded.push(value);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}
