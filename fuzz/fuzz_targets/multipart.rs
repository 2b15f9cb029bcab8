#![no_main]

// A first line that isn't empty gives the attributes of the Content-Type.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (cuts, rest) = data.split_at(data.len().min(3));
    let end = rest.iter().position(|b| *b == b'\n').unwrap_or(0);
    let (line, body) = rest.split_at(end);
    let attributes = if line.is_empty() { b"boundary=b" } else { line };
    let content_type = [b"multipart/form-data; ", attributes].concat();
    gatepost_fuzz::check_form(&content_type, body.strip_prefix(b"\n").unwrap_or(body), cuts);
});
