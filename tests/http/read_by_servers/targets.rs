//! Targets that servers read in different ways.

use super::PROTECTED;

/// Ways to write a path: `{C}` is the path, `{c}` the same without its first slash, `{A}` and `{B}` what is before and behind its
/// last slash, `{E}` the path with every letter encoded, `{F}` that twice, `{S}` the path without its extension.
const WAYS: [&str; 124] = [
    "{C}",
    "/%2e{C}",
    "//{c}",
    "///{c}",
    "/\\{c}",
    "/%5c{c}",
    "/%2F{c}",
    "/%2f{c}",
    "/./{c}",
    "/%2e/{c}",
    "/x/../{c}",
    "/x/%2e%2e/{c}",
    "/x/..%2f{c}",
    "/x/..%5c{c}",
    "/x\\..\\{c}",
    "/x/..;/{c}",
    "/x/..;a/{c}",
    "/;/{c}",
    "/;a/{c}",
    "/.;/{c}",
    "/../{c}",
    "/%2e%2e/{c}",
    "/..;/{c}",
    "/x;/../{c}",
    "/x/;/../{c}",
    "/x%3f/../{c}",
    "/x%00/../{c}",
    "/index.php/{c}",
    "/index.php%2F{c}",
    "/send.php/../{c}",
    "/send.php/..%2f{c}",
    "{A}%2F{B}",
    "{A}%2f{B}",
    "{A}%252F{B}",
    "{A}%25252F{B}",
    "{A}%5C{B}",
    "{A}\\{B}",
    "{A}%u002f{B}",
    "{A}//{B}",
    "{A}/./{B}",
    "{A}/%2e/{B}",
    "{A}/x/../{B}",
    "{A}/x/%2e%2e/{B}",
    "{A}/x/..%2f{B}",
    "{A}/x/..;/{B}",
    "{A}/x%2f../{B}",
    "{A}/x//../{B}",
    "{A};a=b/{B}",
    "{A};/{B}",
    "{A}/;/{B}",
    "{A}%2F%2F{B}",
    "{C}/",
    "{C}//",
    "{C}/.",
    "{C}%2F",
    "{C}/extra",
    "{C}%2Fextra",
    "{C}/index.php",
    "{C};",
    "{C};x",
    "{C};x=/y",
    "{C};/x",
    "{C}.",
    "{C}%2e",
    "{C}%20",
    "{C}%00",
    "{C}%09",
    "{C}%0a",
    "{C}%0d",
    "{C}%0b",
    "{C}%a0",
    "{C}%ff",
    "{C}.json",
    "{C}.php",
    "{C}.php/x",
    "{C}%2ejson",
    "{C}.a.b",
    "{C}?x",
    "{C}%3F",
    "{C}%3Fx",
    "{C}%23",
    "{C}%23x",
    "{C}&x=1",
    "{C}%26",
    "{C}%26x",
    "{E}",
    "{F}",
    "/%2F{E}",
    "{S}",
    "{S}/x",
    "{C};.json",
    "{C}.json;x",
    "{C}%3b",
    "{C}%253f",
    "{A}%c0%af{B}",
    "{A}%ef%bc%8f{B}",
    "{A}%3b/{B}",
    "{A}%20/{B}",
    "{A}%0a/{B}",
    "{A}/%09{B}",
    "{A}/%0D{B}",
    "/x/.%0A./{c}",
    "/%0c{c}",
    "{A}./{B}",
    "{A}%00/{B}",
    "//localhost{C}",
    "///x{C}",
    "/\\x{C}",
    "/%5c%5cx{C}",
    "/http:{C}",
    "/http://localhost{C}",
    "/http:{c}",
    "http://gate.test{C}",
    "http://gate.test//{c}",
    "http://gate.test/x/..%2f{c}",
    "/x/%252e%252e/{c}",
    "/x/..%252f{c}",
    "{C}%00.txt",
    "{C}%00/x",
    "{C}::$DATA",
    "{C},1",
    "{C}:1",
    "{C}%5C",
    "/%20{c}",
];

/// What follows a path that already has another form.
const ENDS: [&str; 12] = ["/", "/x", ";x", "%3Bx", "%2Fx", "%20", "%0a", "?q", ".json", "%00", "%23", "&a"];

/// Each way to write each protected path, with other letters, and with another end.
pub fn mutations() -> Vec<String> {
    let mut all = Vec::new();
    for (number, path) in PROTECTED.iter().enumerate() {
        for (at, way) in WAYS.iter().enumerate() {
            let target = written(way, path);
            // Not each combination, but each end behind every way, for one path or another.
            let end = ENDS[(at + 5 * number) % ENDS.len()];
            all.extend([
                target.clone() + end,
                target.to_ascii_uppercase().replacen("HTTP://GATE.TEST", "http://gate.test", 1),
            ]);
            all.push(target);
        }
    }
    all.sort();
    all.dedup();
    all
}

fn written(way: &str, path: &str) -> String {
    let (before, behind) = path.rsplit_once('/').unwrap();
    let encoded: String = path
        .chars()
        .map(|c| if c == '/' { c.to_string() } else { format!("%{:02x}", u32::from(c)) })
        .collect();
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    way.replace("{C}", path)
        .replace("{c}", &path[1..])
        .replace("{A}", before)
        .replace("{B}", behind)
        .replace("{E}", &encoded)
        .replace("{F}", &encoded.replace('%', "%25"))
        .replace("{S}", stem)
}

/// Paths of ordinary products, which pass unchanged with the default routes.
pub const PRODUCTS: [&str; 9] = [
    "/projects/group%2Frepo",
    "/@scope%2fname",
    "/api/queues/%2F/q",
    "/a%252Fb",
    "/zones/example.com.",
    "/Acme%20Inc./x",
    "/img/https://host/p.png",
    "/cal;v=1/x",
    "/p;jsessionid=1",
];

/// Targets of ordinary products, and others that are not about anything protected.
pub fn ordinary() -> Vec<String> {
    let others = [
        "/public/x.json",
        "/index.php/users",
        "/nextcloud/remote.php/dav/files/bob/a.txt",
        "/w/index.php/Main_Page",
        "/api/v4/p/1/files/app%2Fmodels%2Fkey%2Erb/raw",
        "/users/jan@example.pl/x",
        "/%E6%97%A5%E6%9C%AC",
        "/odata/Users('a')",
        "/search/50%25%20off",
        "/v1/projects/p:batch",
        "/x//y",
        "/a,b=1",
        "/x?a=b;c&d=/../e",
        "/proxy/https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc",
        "/caf%c3%a9",
        "/v1/sender",
        "/v1/send-it",
        "/api/mail.sender",
    ];
    let words = ["group", "a.b", "x%20y", "n%2Fm", "k;v=1", "50%25", "z."];
    let mut all: Vec<String> = PRODUCTS.iter().chain(&others).map(|target| (*target).to_owned()).collect();
    for one in words {
        for other in words {
            all.extend([
                format!("/p/{one}/{other}"),
                format!("/p/{one}//{other}/"),
                format!("/q{one}%2F{other}"),
            ]);
        }
    }
    all
}
