//! HTTP/2 frames, as far as needed to count the requests that a client begins (RFC 9113 section 4.1).

/// The length of the client's connection preface, which precedes its first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// The length of a frame header: 3 bytes of length, 1 of type, 1 of flags and 4 of stream identifier.
const FRAME_HEADER: usize = 9;
const AFTER_TYPE: usize = FRAME_HEADER - 4;

const HEADERS: u8 = 0x1;

/// A counter of the HEADERS frames in a client's bytes. Each of them begins a request or is a trailer.
///
/// Nothing is validated: invalid HTTP/2 is refused by the reader behind it.
#[derive(Debug)]
pub struct RequestFrames {
    /// The bytes of the preface, or of a frame behind its type, that are still to come.
    skip: usize,
    /// The number of bytes of the next frame's length that have come, and the length so far.
    length_bytes: u8,
    length: usize,
    /// The number of HEADERS frames that may still pass.
    allowed: usize,
}

impl RequestFrames {
    /// A counter at the start of a connection. The first `allowed` HEADERS frames may pass.
    pub fn new(allowed: usize) -> RequestFrames {
        RequestFrames { skip: PREFACE, length_bytes: 0, length: 0, allowed }
    }

    /// Allows `allowed` HEADERS frames from here on, instead of what is left of those allowed before.
    pub fn allow(&mut self, allowed: usize) {
        self.allowed = allowed;
    }

    /// The number of the next `bytes` that may pass: all of them, or those before the type of a HEADERS frame that may not.
    /// The rest has to be given again in the next call.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - at);
                self.skip -= skipped;
                at += skipped;
            } else if self.length_bytes < 3 {
                self.length = self.length << 8 | usize::from(bytes[at]);
                self.length_bytes += 1;
                at += 1;
            } else {
                if bytes[at] == HEADERS {
                    match self.allowed.checked_sub(1) {
                        Some(left) => self.allowed = left,
                        None => return at,
                    }
                }
                self.skip = AFTER_TYPE + self.length;
                self.length_bytes = 0;
                self.length = 0;
                at += 1;
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![(length >> 16) as u8, (length >> 8) as u8, length as u8, kind, 4, 0, 0, 0, 1];
        // Payload that looks like the header of another frame.
        frame.extend((0..length).map(|at| [0, 0, 1, HEADERS][at % 4]));
        frame
    }

    fn connection(kinds: &[(u8, usize)]) -> Vec<u8> {
        let frames = kinds.iter().flat_map(|(kind, length)| frame(*kind, *length));
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().copied().chain(frames).collect()
    }

    #[test]
    fn stops_before_the_type_of_a_headers_frame_that_may_not_pass() {
        let bytes = connection(&[(4, 6), (HEADERS, 20), (0, 70_000), (HEADERS, 0), (HEADERS, 3)]);
        let mut frames = RequestFrames::new(2);
        let passed = frames.pass(&bytes);
        assert_eq!(bytes.len() - passed, 3 + 6, "type, flags, stream and payload of the last frame are left");
        assert_eq!(frames.pass(&bytes[passed..]), 0);
        frames.allow(1);
        assert_eq!(frames.pass(&bytes[passed..]), bytes.len() - passed);
    }

    proptest! {
        #[test]
        fn any_split_passes_the_same(
            kinds in prop::collection::vec((0_u8..10, 0_usize..300), 0..40),
            allowed in 0_usize..10,
            pieces in prop::collection::vec(1_usize..60, 1..200),
        ) {
            let bytes = connection(&kinds);
            let whole = RequestFrames::new(allowed).pass(&bytes);
            let (mut frames, mut at) = (RequestFrames::new(allowed), 0);
            for piece in pieces.iter().cycle().take(bytes.len() + 1) {
                let next = &bytes[at..(at + piece).min(bytes.len())];
                let passed = frames.pass(next);
                at += passed;
                if passed < next.len() || at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(at, whole);
            let begun = kinds.iter().filter(|(kind, _)| *kind == HEADERS).count();
            prop_assert_eq!(whole == bytes.len(), begun <= allowed);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), allowed in 0_usize..3) {
            let mut frames = RequestFrames::new(allowed);
            let passed = frames.pass(&bytes);
            prop_assert!(passed <= bytes.len());
        }
    }
}
