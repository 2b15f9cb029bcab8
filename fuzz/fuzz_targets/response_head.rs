#![no_main]

use gatepost_fuzz::{peers, properties};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    properties::response_head(data);
    peers::response_head(data);
});
