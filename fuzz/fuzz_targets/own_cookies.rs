#![no_main]

use gatepost_fuzz::properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::own_cookies(data));
