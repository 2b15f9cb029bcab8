#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (cuts, body) = data.split_at(data.len().min(3));
    gatepost_fuzz::check_form(b"application/x-www-form-urlencoded", body, cuts);
});
