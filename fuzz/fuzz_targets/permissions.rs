#![no_main]

use gatepost_fuzz::properties;

libfuzzer_sys::fuzz_target!(|text: &str| properties::permissions(text));
