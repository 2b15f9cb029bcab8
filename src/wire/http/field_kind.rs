//! The meanings of header fields by their names. Each field is classified once, when its header is read.

/// The meaning that a field has for Gatepost by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FieldKind {
    /// A field without a meaning for Gatepost.
    Other,
    /// `Authorization`
    Authorization,
    /// `Connection`
    Connection,
    /// `Content-Encoding`
    ContentEncoding,
    /// `Content-Length`
    ContentLength,
    /// `Content-Type`
    ContentType,
    /// `Cookie`
    Cookie,
    /// `Date`
    Date,
    /// `Expect`
    Expect,
    /// `Host`
    Host,
    /// `Origin`
    Origin,
    /// `Referer`
    Referer,
    /// `Sec-Fetch-Site`
    SecFetchSite,
    /// `Set-Cookie`
    SetCookie,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `X-Forwarded-For`
    ForwardedFor,
    /// `X-Forwarded-Host`
    ForwardedHost,
    /// `X-Forwarded-Port`
    ForwardedPort,
    /// `X-Forwarded-Proto`
    ForwardedProto,
    /// `X-Request-ID`
    RequestId,
    /// Another field about one connection only: `Keep-Alive`, `Proxy-Connection`, `TE`, `Trailer` (RFC 9110 section 7.6.1).
    OneConnection,
    /// A field of a request for its next recipient: `Proxy-Authorization`, `HTTP2-Settings`.
    NextRecipient,
    /// A field with which a proxy in front conveys something, and which is forwarded for a trusted one only.
    OfProxies,
    /// A field that only Gatepost may set, or that is never forwarded: some backends would take another path or method from it.
    Never,
}

impl FieldKind {
    /// The kind of a field with this name, in upper or lower case.
    pub fn of(name: &[u8]) -> FieldKind {
        // By length first: a name is compared with few others, and most with none.
        match name.len() {
            2 if is_named(name, b"te") => FieldKind::OneConnection,
            4 if is_named(name, b"host") => FieldKind::Host,
            4 if is_named(name, b"date") => FieldKind::Date,
            6 if is_named(name, b"cookie") => FieldKind::Cookie,
            6 if is_named(name, b"origin") => FieldKind::Origin,
            6 if is_named(name, b"expect") => FieldKind::Expect,
            7 if is_named(name, b"upgrade") => FieldKind::Upgrade,
            7 if is_named(name, b"referer") => FieldKind::Referer,
            7 if is_named(name, b"trailer") => FieldKind::OneConnection,
            10 if is_named(name, b"connection") => FieldKind::Connection,
            10 if is_named(name, b"set-cookie") => FieldKind::SetCookie,
            10 if is_named(name, b"keep-alive") => FieldKind::OneConnection,
            12 if is_named(name, b"content-type") => FieldKind::ContentType,
            12 if is_named(name, b"x-request-id") => FieldKind::RequestId,
            13 if is_named(name, b"authorization") => FieldKind::Authorization,
            14 if is_named(name, b"content-length") => FieldKind::ContentLength,
            14 if is_named(name, b"sec-fetch-site") => FieldKind::SecFetchSite,
            14 if is_named(name, b"http2-settings") => FieldKind::NextRecipient,
            15 if is_named(name, b"x-forwarded-for") => FieldKind::ForwardedFor,
            16 if is_named(name, b"content-encoding") => FieldKind::ContentEncoding,
            16 if is_named(name, b"proxy-connection") => FieldKind::OneConnection,
            16 if is_named(name, b"x-forwarded-host") => FieldKind::ForwardedHost,
            16 if is_named(name, b"x-forwarded-port") => FieldKind::ForwardedPort,
            17 if is_named(name, b"transfer-encoding") => FieldKind::TransferEncoding,
            17 if is_named(name, b"x-forwarded-proto") => FieldKind::ForwardedProto,
            19 if is_named(name, b"proxy-authorization") => FieldKind::NextRecipient,
            _ => FieldKind::of_any_spelling(name),
        }
    }

    /// The kind of a name that counts in any spelling: a backend that turns fields into variables takes `_` for `-`, and some take any
    /// character that is neither a letter nor a digit for it.
    fn of_any_spelling(name: &[u8]) -> FieldKind {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        // Most fields of browsers and libraries begin with other letters, and none of them ends like an address.
        let first = name.first().map(u8::to_ascii_lowercase);
        let may_concern = matches!(first, Some(b'b' | b'c' | b'f' | b'h' | b'p' | b'r' | b't' | b'w' | b'x'));
        let last = name.last_chunk().map(|two: &[u8; 2]| two.map(|letter| letter.to_ascii_lowercase()));
        let may_tell = matches!(last.as_ref(), Some(b"ip" | b"or" | b"dr"));
        let tells_the_client = may_tell && ENDS_OF_PROXIES.iter().any(|end| ends(name, end));
        if !may_concern || is(b"cache-control") {
            return if tells_the_client { FieldKind::OfProxies } else { FieldKind::Other };
        }
        let starts = |prefix: &[u8]| name.len() >= prefix.len() && is_spelt(&name[..prefix.len()], prefix);
        let is_one_of = |names: &[&[u8]]| names.iter().any(|other| is_spelt(name, other));
        if FORWARDED.iter().any(|other| is(other)) {
            return FieldKind::OfProxies;
        }
        let is_ours = starts(b"x-gatepost") || starts(b"x-forwarded") || starts(b"x-request-id");
        // The correct spelling of framing fields has a kind of its own.
        if is_ours || is(b"forwarded") || is_one_of(&NEVER) || is_one_of(&FRAMING) {
            return FieldKind::Never;
        }
        match tells_the_client || is_one_of(&OF_PROXIES) {
            true => FieldKind::OfProxies,
            false => FieldKind::Other,
        }
    }

    /// The bit of this kind in a set of kinds.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The ends of names with which proxies convey the client's address: `CF-Connecting-IP`, `X-Azure-ClientIP`, `WL-Proxy-Client-IP`.
const ENDS_OF_PROXIES: [&[u8]; 15] = [
    b"client-ip",
    b"clientip",
    b"connecting-ip",
    b"connection-ip",
    b"forward-for",
    b"forwarded-for",
    b"forwarder-for",
    b"originating-ip",
    b"proxyuser-ip",
    b"real-ip",
    b"remote-addr",
    b"remote-ip",
    b"socketip",
    b"source-ip",
    b"src-ip",
];

/// Other fields with which proxies convey the client's address, or the scheme or host of its request.
const OF_PROXIES: [&[u8]; 16] = [
    b"cf-connecting-ipv6",
    b"cf-pseudo-ipv4",
    b"forwarded-for-ip",
    b"front-end-https",
    b"proxy-host",
    b"wl-proxy-ssl",
    b"x-appengine-user-ip",
    b"x-coming-from",
    b"x-custom-ip-authorization",
    b"x-envoy-external-address",
    b"x-forward",
    b"x-host",
    b"x-http-host-override",
    b"x-original-host",
    b"x-scheme",
    b"x-url-scheme",
];

/// The `X-Forwarded-*` fields of a trusted proxy that are passed on as they came. `-For`, `-Proto` and `-Host` are written anew.
const FORWARDED: [&[u8]; 4] =
    [b"x-forwarded-prefix", b"x-forwarded-scheme", b"x-forwarded-server", b"x-forwarded-ssl"];

/// Fields from which some backends take another path or method than the one that was checked, and `Proxy`, from which CGI programs take
/// a proxy for their own requests.
const NEVER: [&[u8]; 18] = [
    b"base-url",
    b"http-url",
    b"proxy",
    b"proxy-url",
    b"request-uri",
    b"x-envoy-original-path",
    b"x-http-destinationurl",
    b"x-http-method",
    b"x-http-method-override",
    b"x-http-path-override",
    b"x-method-override",
    b"x-original-method",
    b"x-original-path",
    b"x-original-uri",
    b"x-original-url",
    b"x-override-url",
    b"x-proxy-url",
    b"x-rewrite-url",
];

/// Fields that say where a request goes and how its body is read. Another spelling of them is not forwarded.
const FRAMING: [&[u8]; 5] =
    [b"content-encoding", b"content-length", b"content-type", b"proxy-authorization", b"transfer-encoding"];

/// Returns true if a name of N bytes is `other`, which is in lower case. Longer names are compared in words of eight bytes.
fn is_named<const N: usize>(name: &[u8], other: &[u8; N]) -> bool {
    let word = |text: &[u8], at: usize| text[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let is_same = |at: usize| in_lower_case(word(name, at)) == word(other, at);
    match N {
        8..=24 => name.len() == N && is_same(0) && (N <= 16 || is_same(8)) && is_same(N - 8),
        _ => name.eq_ignore_ascii_case(other),
    }
}

/// Eight bytes with each letter from A to Z in lower case.
fn in_lower_case(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * EACH);
    // The highest bit of a byte becomes 1 from A on, and behind Z.
    let (from_a, behind_z) = (low + (0x80 - 0x41) * EACH, low + (0x80 - 0x5b) * EACH);
    let letters = from_a & !behind_z & !word & (0x80 * EACH);
    word | letters >> 2
}

/// Returns true if a name is `other`, which is in lower case, with any character that is neither a letter nor a digit for its `-`.
fn is_spelt(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len()
        && name.iter().zip(other).all(|(have, want)| {
            have.eq_ignore_ascii_case(want) || *want == b'-' && !have.is_ascii_alphanumeric()
        })
}

/// Returns true if a name is `end`, spelt in any way, or ends with it behind another word.
fn ends(name: &[u8], end: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(end.len()) else { return false };
    let is_word = start == 0 || !name[start - 1].is_ascii_alphanumeric();
    is_word && is_spelt(&name[start..], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_kind_in_any_case() {
        for (name, kind) in [
            ("Host", FieldKind::Host),
            ("AUTHORIZATION", FieldKind::Authorization),
            ("content-length", FieldKind::ContentLength),
            ("Te", FieldKind::OneConnection),
            ("HTTP2-Settings", FieldKind::NextRecipient),
            ("X-Request-Id", FieldKind::RequestId),
            ("X-Forwarded-Proto", FieldKind::ForwardedProto),
            ("Referer", FieldKind::Referer),
            ("Accept", FieldKind::Other),
            ("", FieldKind::Other),
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn words_are_put_in_lower_case() {
        for byte in 0..=255_u8 {
            let bytes = [byte, b'Z', b'z', byte, b'[', b'@', 0xff, byte];
            assert_eq!(
                in_lower_case(u64::from_le_bytes(bytes)).to_le_bytes(),
                bytes.map(|b| b.to_ascii_lowercase())
            );
        }
        assert!(is_named(b"Transfer-Encoding", b"transfer-encoding"));
        for at in 0..17 {
            let mut other = *b"transfer-encoding";
            other[at] ^= 1;
            assert!(!is_named(b"Transfer-Encoding", &other), "{at}");
        }
        assert!(!is_named(b"Content-Typ", b"content-type"));
    }

    #[test]
    fn ends_count_behind_any_word() {
        for end in ENDS_OF_PROXIES {
            let name = [b"Any-", end].concat().to_ascii_uppercase();
            assert_eq!(FieldKind::of(&name), FieldKind::OfProxies, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn some_names_count_in_any_spelling() {
        for (name, kind) in [
            ("x_gatepost_user", FieldKind::Never),
            ("X-Gatepost-Anything", FieldKind::Never),
            ("X.Forwarded.For", FieldKind::Never),
            ("X-Forwarded-Server", FieldKind::OfProxies),
            ("x-request_id", FieldKind::Never),
            ("Forwarded", FieldKind::Never),
            ("X_Original-URL", FieldKind::Never),
            ("X-HTTP_Method", FieldKind::Never),
            ("x-http-methods", FieldKind::Other),
            ("Client_IP", FieldKind::OfProxies),
            ("true~client~ip", FieldKind::OfProxies),
            ("Client-Ips", FieldKind::Other),
            ("X-Any-CDN_Client.IP", FieldKind::OfProxies),
            ("Superclient-IP", FieldKind::Other),
            ("X-Forwarded-For", FieldKind::ForwardedFor),
            ("X_Forwarded_For", FieldKind::Never),
            ("Forwarded-For", FieldKind::OfProxies),
            ("X-Azure-ClientIP", FieldKind::OfProxies),
            ("X-Real-Ip-Address", FieldKind::Other),
            ("Content_Length", FieldKind::Never),
            ("Transfer.Encoding", FieldKind::Never),
            ("Proxy", FieldKind::Never),
            ("Cache_Control", FieldKind::Other),
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), kind, "{name}");
        }
    }
}
