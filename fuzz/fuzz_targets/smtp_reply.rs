#![no_main]

use gatepost_fuzz::properties;

libfuzzer_sys::fuzz_target!(|data: (&[u8], &[u8])| properties::smtp_reply(data.0, data.1));
