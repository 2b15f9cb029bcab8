//! A browser at the console, without scripts: it follows redirections, keeps the session's cookie and sends forms.

use std::net::SocketAddr;

use super::Gateway;
use super::http::{Response, request};

/// The section of a console whose origin is `http://localhost`, with more keys.
pub fn section(keys: &str) -> String {
    format!("[console]\nlisten = [\"127.0.0.1:0\"]\npublic_origin = \"http://localhost\"\n{keys}")
}

/// A browser, with the cookie of one session at most.
#[derive(Clone)]
pub struct Browser {
    address: SocketAddr,
    pub cookie: Option<String>,
    /// The fields by which it says where a form comes from.
    pub site: Vec<(&'static str, &'static str)>,
}

/// A page that a browser shows.
pub struct Page {
    pub status: u16,
    /// The address that it was read from at last.
    pub address: String,
    pub headers: Vec<(String, String)>,
    pub html: String,
}

impl Browser {
    pub fn new(gateway: &Gateway) -> Browser {
        let site = vec![("Sec-Fetch-Site", "same-origin")];
        Browser { address: gateway.address("console.listen"), cookie: None, site }
    }

    /// A browser in which somebody has logged in; `login` is `name:password`.
    pub fn logged_in(gateway: &Gateway, login: &str) -> Browser {
        let mut browser = Browser::new(gateway);
        let page = browser.log_in(login);
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(browser.cookie.is_some(), "{}", page.text());
        browser
    }

    pub fn log_in(&mut self, login: &str) -> Page {
        let (username, password) = login.split_once(':').unwrap();
        self.post("/login", &[("username", username), ("password", password)])
    }

    /// Sends one request, and follows nothing.
    pub fn ask(&mut self, method: &str, target: &str, body: &str) -> Response {
        let mut asked = request(method, target);
        if let Some(cookie) = &self.cookie {
            asked = asked.header("Cookie", &format!("other=1; gatepost-console={cookie}"));
        }
        if method == "POST" {
            asked = asked.header("Content-Type", "application/x-www-form-urlencoded");
            asked = self.site.iter().fold(asked, |asked, (name, value)| asked.header(name, value));
        }
        let response = asked.body(body).send(self.address);
        if let Some(value) = response.set_cookie() {
            let (pair, attributes) = value.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert_eq!(name, "gatepost-console");
            assert!(attributes.starts_with("Path=/; HttpOnly; SameSite=Lax"), "{attributes}");
            self.cookie = (!attributes.contains("Max-Age=0")).then(|| value.to_owned());
        }
        response
    }

    pub fn get(&mut self, target: &str) -> Page {
        let response = self.ask("GET", target, "");
        self.follow(target, response)
    }

    /// Sends a form.
    pub fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Page {
        let response = self.ask("POST", target, &encoded(fields));
        self.follow(target, response)
    }

    /// Opens a page and sends its form, with the token in it.
    pub fn send(&mut self, page: &str, target: &str, fields: &[(&str, &str)]) -> Page {
        let shown = self.get(page);
        let token = shown.hidden("token");
        self.post(target, &[&[("token", token.as_str())], fields].concat())
    }

    fn follow(&mut self, target: &str, mut response: Response) -> Page {
        let mut address = target.to_owned();
        for _ in 0..4 {
            let Some(next) = response.header("location").map(str::to_owned) else { break };
            assert_eq!(response.status, 303);
            response = self.ask("GET", &next, "");
            address = next;
        }
        let html = response.text();
        Page { status: response.status, address, headers: response.headers, html }
    }
}

impl Page {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let start =
            self.html.find(&mark).unwrap_or_else(|| panic!("no {name} in {}", self.html)) + mark.len();
        unescaped(self.html[start..].split('"').next().unwrap())
    }

    /// The text of the page, without markup.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut is_markup = false;
        for character in self.html.chars() {
            match character {
                '<' => is_markup = true,
                '>' => {
                    is_markup = false;
                    text.push(' ');
                }
                _ if !is_markup => text.push(character),
                _ => {}
            }
        }
        unescaped(&text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Fails unless the page has the status and all of the words.
    #[track_caller]
    pub fn says(&self, status: u16, words: &[&str]) -> &Page {
        let text = self.text();
        assert_eq!(self.status, status, "{}: {text}", self.address);
        for word in words {
            assert!(text.contains(word), "{}: no “{word}” in {text}", self.address);
        }
        self
    }
}

/// A form as browsers encode it.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn unescaped(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ] {
        text = text.replace(from, to);
    }
    text
}
