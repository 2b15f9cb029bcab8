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
    /// `Sec-Fetch-Site`
    SecFetchSite,
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
    /// Any other field that only Gatepost may set, in any spelling.
    Reserved,
    /// A field from which some backends would take another path or method than the one that was checked.
    Override,
    /// A field from which some backends would take the client's address, and which only proxies may set.
    ClientAddress,
}

impl FieldKind {
    /// The kind of a field with this name, in upper or lower case.
    pub fn of(name: &[u8]) -> FieldKind {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        // By length first: a name is compared with few others, and most with none.
        match name.len() {
            2 if is(b"te") => FieldKind::OneConnection,
            4 if is(b"host") => FieldKind::Host,
            4 if is(b"date") => FieldKind::Date,
            6 if is(b"cookie") => FieldKind::Cookie,
            6 if is(b"origin") => FieldKind::Origin,
            6 if is(b"expect") => FieldKind::Expect,
            7 if is(b"upgrade") => FieldKind::Upgrade,
            7 if is(b"trailer") => FieldKind::OneConnection,
            10 if is(b"connection") => FieldKind::Connection,
            10 if is(b"keep-alive") => FieldKind::OneConnection,
            12 if is(b"content-type") => FieldKind::ContentType,
            12 if is(b"x-request-id") => FieldKind::RequestId,
            13 if is(b"authorization") => FieldKind::Authorization,
            14 if is(b"content-length") => FieldKind::ContentLength,
            14 if is(b"sec-fetch-site") => FieldKind::SecFetchSite,
            14 if is(b"http2-settings") => FieldKind::NextRecipient,
            15 if is(b"x-forwarded-for") => FieldKind::ForwardedFor,
            16 if is(b"content-encoding") => FieldKind::ContentEncoding,
            16 if is(b"proxy-connection") => FieldKind::OneConnection,
            16 if is(b"x-forwarded-host") => FieldKind::ForwardedHost,
            16 if is(b"x-forwarded-port") => FieldKind::ForwardedPort,
            17 if is(b"transfer-encoding") => FieldKind::TransferEncoding,
            17 if is(b"x-forwarded-proto") => FieldKind::ForwardedProto,
            19 if is(b"proxy-authorization") => FieldKind::NextRecipient,
            _ => FieldKind::of_any_spelling(name),
        }
    }

    /// The kind of a name that counts in any spelling: a backend that turns fields into variables takes `_` for `-`, and some take any
    /// character that is neither a letter nor a digit for it.
    fn of_any_spelling(name: &[u8]) -> FieldKind {
        const OVERRIDES: [&[u8]; 6] = [
            b"x-original-url",
            b"x-rewrite-url",
            b"x-http-method",
            b"x-http-method-override",
            b"x-method-override",
            b"x-original-method",
        ];
        const ADDRESSES: [&[u8]; 7] = [
            b"x-real-ip",
            b"x-client-ip",
            b"x-cluster-client-ip",
            b"x-original-forwarded-for",
            b"true-client-ip",
            b"client-ip",
            b"cf-connecting-ip",
        ];
        const RESERVED: [&[u8]; 3] = [b"x-gatepost", b"x-forwarded", b"x-request-id"];
        if !matches!(name.first(), Some(b'x' | b'X' | b'f' | b'F' | b't' | b'T' | b'c' | b'C')) {
            return FieldKind::Other;
        }
        let starts = |prefix: &&[u8]| name.len() >= prefix.len() && is_spelt(&name[..prefix.len()], prefix);
        if RESERVED.iter().any(starts) || name.eq_ignore_ascii_case(b"forwarded") {
            return FieldKind::Reserved;
        }
        if OVERRIDES.iter().any(|other| is_spelt(name, other)) {
            return FieldKind::Override;
        }
        match ADDRESSES.iter().any(|other| is_spelt(name, other)) {
            true => FieldKind::ClientAddress,
            false => FieldKind::Other,
        }
    }

    /// The bit of this kind in a set of kinds.
    pub(super) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Returns true if a name is `other`, which is in lower case, with any character that is neither a letter nor a digit for its `-`.
fn is_spelt(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len()
        && name.iter().zip(other).all(|(have, want)| {
            have.eq_ignore_ascii_case(want) || *want == b'-' && !have.is_ascii_alphanumeric()
        })
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
            ("Accept", FieldKind::Other),
            ("", FieldKind::Other),
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn some_names_count_in_any_spelling() {
        for (name, kind) in [
            ("x_gatepost_user", FieldKind::Reserved),
            ("X-Gatepost-Anything", FieldKind::Reserved),
            ("X.Forwarded.For", FieldKind::Reserved),
            ("X-Forwarded-Server", FieldKind::Reserved),
            ("x-request_id", FieldKind::Reserved),
            ("Forwarded", FieldKind::Reserved),
            ("X_Original-URL", FieldKind::Override),
            ("X-HTTP_Method", FieldKind::Override),
            ("x-http-methods", FieldKind::Other),
            ("Client_IP", FieldKind::ClientAddress),
            ("true~client~ip", FieldKind::ClientAddress),
            ("Client-Ips", FieldKind::Other),
            ("Content_Length", FieldKind::Other),
        ] {
            assert_eq!(FieldKind::of(name.as_bytes()), kind, "{name}");
        }
    }
}
