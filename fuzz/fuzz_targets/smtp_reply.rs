#![no_main]

use gatepost_fuzz::wire::smtp::client::{LONGEST_REPLY, Offer, ReplyError, reply};

/// All replies, read as the bytes come in pieces of these lengths; and the error that ended it, and what is left.
fn read(bytes: &[u8], cuts: &[u8]) -> (Vec<Vec<u8>>, Option<ReplyError>, usize) {
    let (mut buffer, mut replies, mut rest) = (Vec::new(), Vec::new(), bytes);
    let mut lengths = cuts.iter().map(|cut| usize::from(*cut)).cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(lengths.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
        loop {
            match reply(&buffer) {
                Ok(Some((reply, taken))) => {
                    assert!(taken <= LONGEST_REPLY && (200..600).contains(&reply.code()));
                    let mut written = Vec::new();
                    reply.write(&mut written);
                    replies.push(written);
                    let _ = Offer::read(&reply);
                    buffer.drain(..taken);
                }
                Ok(None) => break,
                Err(error) => return (replies, Some(error), 0),
            }
        }
        assert!(buffer.len() <= LONGEST_REPLY);
    }
    (replies, None, buffer.len())
}

// Any cut gives the same replies, and what is passed on is what was read: it can be read again, as one reply.
libfuzzer_sys::fuzz_target!(|data: (&[u8], &[u8])| {
    let (bytes, cuts) = data;
    let (replies, error, left) = read(bytes, &[]);
    let (again, other_error, other_left) = read(bytes, cuts);
    assert_eq!((&replies, error.is_some(), left), (&again, other_error.is_some(), other_left));
    for written in replies {
        let read = reply(&written).expect("what is written is a reply").expect("all of it");
        assert_eq!(read.1, written.len());
    }
});
