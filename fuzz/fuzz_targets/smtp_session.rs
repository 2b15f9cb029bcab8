#![no_main]

extern crate gatepost_fuzz as gatepost;

#[path = "../../tests/common/driver.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod driver;

use driver::{Driver, settings};
use gatepost::wire::smtp::client;

// What a client says gives the same replies and messages however it is cut, and the driver watches that a backend is asked
// for valid transactions of somebody who may only. What a backend says is read the same however much of it is there.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((cuts, bytes)) = data.split_at_checked(3) else { return };
    // Bytes behind STARTTLS are an error if they are there, and a handshake if they aren't yet.
    if !bytes.windows(8).any(|w| w.eq_ignore_ascii_case(b"STARTTLS")) {
        let mut whole = Driver::new(settings());
        whole.feed(bytes);
        let mut split = Driver::new(settings());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut).min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            split.feed(&bytes[pair[0]..pair[1]]);
        }
        assert_eq!(whole.out, split.out);
        assert_eq!(whole.delivered, split.delivered);
        assert_eq!(whole.closed, split.closed);
        for message in &whole.delivered {
            assert!(!message.content.starts_with(b".\r\n") && message.content.starts_with(b"Received: "));
            let ended = message.content.windows(5).any(|w| w == b"\r\n.\r\n");
            assert!(message.chunked || !ended, "an end within a message");
        }
    } else {
        Driver::new(settings()).feed(bytes);
    }
    let read = client::reply(bytes);
    if let Ok(Some((reply, len))) = &read {
        assert!((200..600).contains(&reply.code()) && *len <= bytes.len());
        assert_eq!(client::reply(&bytes[..*len]), read);
        assert_eq!(client::reply(&bytes[..*len - 1]), Ok(None));
    }
});
