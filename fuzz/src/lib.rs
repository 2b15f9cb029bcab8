//! The pure floors of Gatepost, compiled from their sources without the rest, and what the fuzz targets share.

#![allow(dead_code, reason = "the floors are used by more than the targets")]

#[path = "../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

use wire::{BodyScanner, FormError, Parameters};

/// Username and secret.
type Credential = (Vec<u8>, Vec<u8>);

/// Scans `body` in pieces whose lengths are `cuts`, over and over: the credential, and what would be forwarded.
fn scan(content_type: &[u8], body: &[u8], cuts: &[u8]) -> Result<(Option<Credential>, Vec<u8>), FormError> {
    let Some(mut scanner) = BodyScanner::for_content_type(content_type)? else {
        return Ok((None, body.to_vec()));
    };
    let mut forwarded = body.to_vec();
    let mut rest = &mut forwarded[..];
    let mut lengths = cuts.iter().map(|cut| usize::from(*cut)).cycle();
    while !rest.is_empty() {
        let len = lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (chunk, after) = rest.split_at_mut(len);
        scanner.scan(chunk)?;
        rest = after;
    }
    let held = scanner.finish()?;
    Ok((held.map(|h| (h.presented().username.to_vec(), h.presented().secret.to_vec())), forwarded))
}

/// What has to be true of any form: cuts make no difference, only values change, a second look finds only fillers, and
/// the reader that has the whole body finds the same credential.
pub fn check_form(content_type: &[u8], body: &[u8], cuts: &[u8]) {
    let whole = scan(content_type, body, &[]);
    assert_eq!(scan(content_type, body, &[1]), whole);
    assert_eq!(scan(content_type, body, cuts), whole);
    let Ok((found, forwarded)) = whole else { return };
    assert_eq!(forwarded.len(), body.len());
    assert!(forwarded.iter().zip(body).all(|(new, old)| new == old || *new == b'x'));
    if let Some(again) = scan(content_type, &forwarded, &[]).expect("a masked form is one").0 {
        let fillers = |value: &[u8]| value.iter().all(|b| *b == b'x');
        assert!(found.is_some() && fillers(&again.0) && fillers(&again.1));
    }
    let mut parameters = Parameters::new();
    if parameters.add_body(content_type, body).is_ok() {
        let held = parameters.credential().expect("as the scanner");
        assert_eq!(held.map(|h| (h.presented().username.to_vec(), h.presented().secret.to_vec())), found);
        let _ = parameters.permissions();
    }
}
