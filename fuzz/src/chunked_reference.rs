//! A simple reader of the chunked coding (RFC 9112 section 7.1), for comparison: it has the whole body before it, and
//! takes it line by line.

/// What some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A body of that many bytes, and perhaps more behind it.
    Whole(usize),
    /// Perhaps the beginning of one.
    Beginning,
    /// None.
    Invalid,
}

/// What `bytes` are, and the data of the chunks that begin in them.
pub fn read(bytes: &[u8]) -> (Body, Vec<u8>) {
    let mut data = Vec::new();
    (body(bytes, &mut data), data)
}

fn body(bytes: &[u8], data: &mut Vec<u8>) -> Body {
    let mut rest = bytes;
    loop {
        let Some((line, after)) = line(rest) else { return Body::Beginning };
        let Some(size) = size(line) else { return Body::Invalid };
        rest = after;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        data.extend_from_slice(&rest[..rest.len().min(size)]);
        if rest.len() <= size {
            return Body::Beginning;
        }
        rest = &rest[size..];
        match rest {
            [b'\r', b'\n', ..] => rest = &rest[2..],
            [b'\r'] => return Body::Beginning,
            _ => return Body::Invalid,
        }
    }
    let trailers = rest.len();
    loop {
        let Some((line, after)) = line(rest) else { return Body::Beginning };
        if trailers - after.len() > 64 * 1024 {
            return Body::Invalid;
        }
        rest = after;
        if line.is_empty() {
            return Body::Whole(bytes.len() - rest.len());
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { return Body::Invalid };
        if !is_token(&line[..colon]) || !line[colon + 1..].iter().all(|b| is_text(*b)) {
            return Body::Invalid;
        }
    }
}

/// The bytes before the first CR LF, and those behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let well = (1..=16).contains(&digits) && line.len() <= 4096 && extensions(&line[digits..]);
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok().filter(|_| well)
}

fn extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        rest = skip_blanks(rest);
        let Some((b';', after)) = rest.split_first() else { return false };
        rest = skip_blanks(after);
        let name = token_length(rest);
        if name == 0 {
            return false;
        }
        rest = &rest[name..];
        if let Some((b'=', after)) = skip_blanks(rest).split_first() {
            rest = skip_blanks(after);
            let value = match rest.first() {
                Some(b'"') => quoted_length(rest),
                _ => Some(token_length(rest)).filter(|length| *length > 0),
            };
            let Some(value) = value else { return false };
            rest = &rest[value..];
        }
    }
    true
}

fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'"', _) => return Some(at + 1),
            (b'\\', Some(next)) if is_text(*next) => at += 2,
            (b'\\', _) => return None,
            (byte, _) if is_text(*byte) => at += 1,
            _ => return None,
        }
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()..]
}

fn token_length(text: &[u8]) -> usize {
    text.iter().take_while(|b| is_token(&[**b])).count()
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |b: &u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(b);
    !text.is_empty() && text.iter().all(is_tchar)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}
