//! Real servers behind the gateway: whatever they make of a path, a credential without the permission never gets what is
//! protected, and ordinary paths reach them as they came. `make test` installs them.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::common::callers::{API, NO_DELAYS};
use crate::common::http::{Connection, get};
use crate::common::servers::{Server, script};
use crate::common::{Gateway, PATIENCE, api, installed, own_loopback};

pub mod targets;

const PROTECTED: [&str; 3] = ["/api/mail.send.json", "/send.php", "/v1/send"];

const ROUTES: &str = "[[api.route]]\npath = \"/send.php\"\npermission = \"email\"\n\
                      [[api.route]]\npath = \"/v1/send\"\npermission = \"email\"\n";

/// A server that runs in the foreground; ends with the test.
struct Foreground(Child);

impl Foreground {
    /// Starts it, and waits until it listens.
    fn start(command: &mut Command, address: SocketAddr) -> Foreground {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}; `make test` installs it"));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{command:?} doesn't listen: {ended:?}");
            std::thread::yield_now();
        }
        Foreground(child)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // It ends its workers, too.
        crate::common::signal(&self.0, "TERM");
        let _ = self.0.wait();
    }
}

/// A request for a target that is written as it is.
fn asking(target: &str) -> Vec<u8> {
    let sent = String::from_utf8(get("/placed-here").basic(API).bytes()).unwrap();
    sent.replacen("/placed-here", target, 1).into_bytes()
}

/// The answer through the gateway: its status and text. `None` if there is none.
fn ask(connection: &mut Connection, target: &str) -> Option<(u16, String)> {
    connection.reopen_if_closing();
    connection.write(&asking(target));
    connection.try_response().map(|response| (response.status, response.text()))
}

/// Returns true if a server by itself serves something protected. It may close the connection, or leave out the header.
fn serves_protected(address: SocketAddr, target: &str) -> bool {
    let request = String::from_utf8(asking(target)).unwrap();
    let mut connection = Connection::open(address);
    connection.write(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes());
    memchr::memmem::find(&connection.read_to_end(), b"PROTECTED").is_some()
}

/// Holds servers against the gateway. `echoes` is true for those that tell the target that they got.
fn check(name: &str, address: SocketAddr, echoes: bool) {
    let gateway = Gateway::start(&format!("{NO_DELAYS}{}{ROUTES}", api(address)));
    gateway.account("email,api,web").credential(API, "api");
    let mut through = Connection::open(gateway.api());
    let mut reached = 0;
    let targets = targets::mutations();
    for target in &targets {
        let said = ask(&mut through, target);
        let is_served = said.as_ref().is_some_and(|(_, text)| text.contains("PROTECTED"));
        assert!(!is_served, "{name} serves {target}: {said:?}");
        let gets_there = serves_protected(address, target);
        reached += usize::from(gets_there);
        // What it resolved to something protected was refused by the gateway itself.
        let status = said.as_ref().map(|(status, _)| *status);
        assert!(
            !gets_there || matches!(status, Some(400 | 403)),
            "{name} reads {target} as protected: {said:?}"
        );
    }
    // The canonical paths, at least.
    println!("{name}: {reached} of {} targets lead to something protected", targets.len());
    assert!(reached >= PROTECTED.len(), "{name} serves nothing: {reached}");
    for target in targets::ordinary() {
        let said = ask(&mut through, &target);
        let refused = matches!(&said, Some((400 | 403, text)) if text.contains("\"errors\""));
        assert!(said.is_some() && !refused, "{name}: {target}: {said:?}");
        if echoes && let Some((200, text)) = said {
            let raw = text.split("RAW:").nth(1).unwrap_or_default().trim_end();
            assert_eq!(raw, target, "{name}: {text}");
        }
    }
}

fn check_all(names: &[&str], host: IpAddr, ports: &[u16]) {
    std::thread::scope(|scope| {
        for (name, port) in names.iter().zip(ports) {
            scope.spawn(move || check(name, (host, *port).into(), true));
        }
    });
}

fn loopback() -> IpAddr {
    [127, 0, 0, 1].into()
}

// Case B1: Express, Fastify, koa and programs without a framework.
#[test]
fn node_serves_nothing_protected() {
    let modules = installed("routers/node_modules");
    let node = Server::start(Command::new("node").arg(script("paths.js")).arg(modules), 7);
    let names = ["express4", "express5", "express4-use", "express5-use", "node", "fastify5", "koa-router"];
    check_all(&names, loopback(), &node.ports);
}

// Case B1: Puma with a program of its own, and Sinatra.
#[test]
fn ruby_serves_nothing_protected() {
    let ruby = Server::start(Command::new("ruby").arg(script("paths.rb")), 2);
    check_all(&["rack", "sinatra"], loopback(), &ruby.ports);
}

// Case B1: a front controller, Werkzeug and Bottle.
#[test]
fn python_serves_nothing_protected() {
    let python = Server::start(Command::new(installed("parsers/bin/python")).arg(script("paths.py")), 3);
    check_all(&["python", "werkzeug", "bottle"], loopback(), &python.ports);
}

/// A tree of files.
fn tree(directory: &Path) {
    for (name, text) in [
        ("api/mail.send.json", "PROTECTED"),
        ("send.php", "PROTECTED"),
        ("v1/send", "PROTECTED"),
        ("x/a", "other"),
        ("index.html", "other"),
    ] {
        let file = directory.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

// Case B1: PHP's own server, with files and with a front controller.
#[test]
fn php_serves_nothing_protected() {
    let directory = tempfile::tempdir().unwrap();
    tree(directory.path());
    let files = Server::start(Command::new("php").args(["-S", "127.0.0.1:0", "-t"]).arg(directory.path()), 1);
    let front = Server::start(Command::new("php").args(["-S", "127.0.0.1:0"]).arg(script("paths.php")), 1);
    check("php -S", (loopback(), files.ports[0]).into(), false);
    check("php", (loopback(), front.ports[0]).into(), true);
}

// Case B1: nginx with exact locations, and in front of one that reads what it has decoded.
#[test]
fn nginx_serves_nothing_protected() {
    let directory = tempfile::tempdir().unwrap();
    let host = own_loopback();
    let locations: String =
        PROTECTED.iter().map(|path| format!("location = {path} {{ return 200 \"PROTECTED\"; }}\n")).collect();
    let files = directory.path().display();
    let config = format!(
        "daemon off; master_process off; error_log /dev/null; pid {files}/pid;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; keepalive_requests 100000; client_body_temp_path {files}/b; proxy_temp_path {files}/p;\n\
         fastcgi_temp_path {files}/f; scgi_temp_path {files}/s; uwsgi_temp_path {files}/u;\n\
         server {{ listen {host}:8001; {locations} location / {{ return 200 \"RAW:$request_uri\"; }} }}\n\
         server {{ listen {host}:8002; location / {{ proxy_pass http://{host}:8001$uri; }} }}\n\
         server {{ listen {host}:8003; location / {{ proxy_pass http://{host}:8001/; }} }}\n\
         server {{ listen {host}:8004; location / {{ proxy_pass http://{host}:8002$uri; }} }} }}\n"
    );
    let file = directory.path().join("nginx.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    let _nginx = Foreground::start(
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file).args(["-e", "/dev/null"]),
        (host, 8001).into(),
    );
    check("nginx", (host, 8001).into(), true);
    for (name, port) in [("nginx $uri", 8002), ("nginx proxy_pass /", 8003), ("nginx $uri twice", 8004)] {
        check(name, (host, port).into(), false);
    }
}

// Case B1: Apache with files, with MultiViews, and with a path that is rewritten into a parameter.
#[test]
fn apache_serves_nothing_protected() {
    let python = Server::start(Command::new(installed("parsers/bin/python")).arg(script("paths.py")), 3);
    let directory = tempfile::tempdir().unwrap();
    tree(&directory.path().join("tree"));
    let host = own_loopback();
    let (files, front) = (directory.path().display(), python.ports[0]);
    let modules: String =
        ["mpm_event", "authz_core", "dir", "mime", "negotiation", "rewrite", "proxy", "proxy_http", "alias"]
            .iter()
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .collect();
    let config = format!(
        "{modules}ServerRoot {files}\nPidFile {files}/pid\nErrorLog /dev/null\nServerName gate.test\nTypesConfig /dev/null\n\
         Listen {host}:8001\nListen {host}:8002\nListen {host}:8003\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
         DocumentRoot {files}/tree\n<Directory {files}/tree>\nAcceptPathInfo On\nRequire all granted\n</Directory>\n\
         AddType text/html .php .json\n\
         <VirtualHost {host}:8001>\nDocumentRoot {files}/tree\nAllowEncodedSlashes On\n</VirtualHost>\n\
         <VirtualHost {host}:8002>\nDocumentRoot {files}/tree\n<Directory {files}/tree>\nOptions MultiViews\n\
         MultiviewsMatch Any\n</Directory>\n</VirtualHost>\n\
         <VirtualHost {host}:8003>\nAllowEncodedSlashes On\nRewriteEngine On\n\
         RewriteRule ^(.*)$ http://127.0.0.1:{front}/?q=$1 [P]\n</VirtualHost>\n"
    );
    let file = directory.path().join("apache.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("apache2");
    let command = command.arg("-DFOREGROUND").arg("-f").arg(&file);
    let _apache = Foreground::start(command, (host, 8001).into());
    for (name, port) in [("apache", 8001), ("apache MultiViews", 8002), ("apache ?q=", 8003)] {
        check(name, (host, port).into(), false);
    }
}

// Case B1: lighttpd with files.
#[test]
fn lighttpd_serves_nothing_protected() {
    let directory = tempfile::tempdir().unwrap();
    tree(&directory.path().join("tree"));
    let host = own_loopback();
    let config = format!(
        "server.document-root = \"{}/tree\"\nserver.port = 8001\nserver.bind = \"{host}\"\n\
         server.max-keep-alive-requests = 1000\n",
        directory.path().display()
    );
    let file = directory.path().join("lighttpd.conf");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("lighttpd");
    let _lighttpd = Foreground::start(command.arg("-D").arg("-f").arg(&file), (host, 8001).into());
    check("lighttpd", (host, 8001).into(), false);
}
