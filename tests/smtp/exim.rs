//! A real Exim: as a backend of Gatepost, and as a mail server that submits by Gatepost. tests/clients/install unpacks it. It runs
//! from a directory of its own, as a user that only a wrapper of the name service knows, and nothing of it stays.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::common::mail::{ANN, Client, JOE, smtp};
use crate::common::sink::Sink;
use crate::common::{Gateway, PATIENCE, installed, nobody};

/// The rule of Exim in the document on backends.
const RULE: &str = "headers_remove = X-Gatepost-User";

/// An Exim in a directory of its own.
struct Exim {
    directory: tempfile::TempDir,
}

impl Exim {
    /// Unpacks it, with a configuration that begins with `main` and ends with `sections`.
    fn with(main: &str, sections: &str) -> Exim {
        let directory = tempfile::tempdir().unwrap();
        let exim = Exim { directory };
        let home = exim.directory.path();
        fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
        // Elsewhere, its user may not be allowed to see it.
        let copied = Command::new("cp").arg("-r").arg(installed("exim/usr")).arg(home).status().unwrap();
        assert!(copied.success());
        let libraries = fs::read_dir(home.join("usr/lib")).unwrap().map(|entry| entry.unwrap().path());
        let libraries = libraries.into_iter().find(|path| path.join("libnss_wrapper.so").exists()).unwrap();
        let me = fs::metadata("/proc/self").unwrap();
        // Exim does not run as root.
        let (user, group) = if me.uid() == 0 { (65534, 65534) } else { (me.uid(), me.gid()) };
        for name in ["spool", "log", "mail"] {
            fs::create_dir(home.join(name)).unwrap();
            chown(home.join(name), Some(user), Some(group)).unwrap();
        }
        let users = format!("root:x:0:0::/:/bin/sh\nDebian-exim:x:{user}:{group}::/:/bin/false\n");
        fs::write(home.join("passwd"), users).unwrap();
        fs::write(home.join("group"), format!("root:x:0:\nadm:x:4:\nmail:x:8:\nDebian-exim:x:{group}:\n"))
            .unwrap();
        let (shown, libraries) = (home.display(), libraries.display());
        let wrapper = format!(
            "#!/bin/sh\nexport LD_LIBRARY_PATH={libraries} LD_PRELOAD={libraries}/libnss_wrapper.so\n\
             export NSS_WRAPPER_PASSWD={shown}/passwd NSS_WRAPPER_GROUP={shown}/group\n\
             exec {shown}/usr/sbin/exim4 \"$@\"\n"
        );
        fs::write(home.join("exim"), wrapper).unwrap();
        fs::set_permissions(home.join("exim"), fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "exim_path = {shown}/exim\nspool_directory = {shown}/spool\nlog_file_path = {shown}/log/%slog\n\
             pid_file_path = {shown}/spool/exim.pid\nprimary_hostname = exim.test\ntls_advertise_hosts =\n\
             keep_environment = ^LD_ : ^NSS_\ndeliver_drop_privilege = true\nnever_users =\n\
             host_lookup =\n{main}\n{sections}begin retry\n* * F,1h,1m\n"
        );
        fs::write(home.join("exim.conf"), config).unwrap();
        exim
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("exim"));
        command.arg("-C").arg(self.path("exim.conf")).args(arguments);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        let logs = ["log/mainlog", "log/paniclog", "log/rejectlog"];
        logs.map(|name| fs::read_to_string(self.path(name)).unwrap_or_default()).concat()
    }

    /// The file, once there is `text` in it.
    fn wait_for(&self, name: &str, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = fs::read_to_string(self.path(name)).unwrap_or_default();
            if found.contains(text) {
                return found;
            }
            assert!(Instant::now() < deadline, "it never came:\n{found}\n{}", self.log());
            std::thread::yield_now();
        }
    }
}

/// An Exim that serves; stopped when dropped.
struct Serving {
    exim: Exim,
    address: SocketAddr,
    child: Child,
}

impl Serving {
    /// A backend that logs the submitter, marks what joe submits, and delivers everything into one mailbox.
    fn start() -> Serving {
        let address = nobody();
        let main = format!(
            "local_interfaces = {}\ndaemon_smtp_ports = {}\nacl_smtp_rcpt = recipients\nacl_smtp_data = content\n",
            address.ip(),
            address.port()
        );
        let sections = "begin acl\nrecipients:\n  deny local_parts = nobody\n       message = no such user\n  accept\ncontent:\n  \
             warn condition = ${if eq{$h_X-Gatepost-User:}{joe}}\n       add_header = X-Department: sales\n  \
             warn log_message = submitted by <$h_X-Gatepost-User:>\n  accept\n\
             begin routers\nall:\n  driver = accept\n  transport = mailbox\n\
             begin transports\nmailbox:\n  driver = appendfile\n  file = HOME/mail/all\n  user = Debian-exim\n  RULE\n";
        let exim = Exim::with(&main, "");
        let sections =
            sections.replace("HOME", &exim.directory.path().display().to_string()).replace("RULE", RULE);
        let config = exim.path("exim.conf");
        let begun = fs::read_to_string(&config).unwrap();
        fs::write(&config, begun.replace("begin retry", &(sections + "begin retry"))).unwrap();
        let child = exim.command(&["-bdf"]).stdin(Stdio::null()).spawn().unwrap();
        let serving = Serving { exim, address, child };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{}", serving.exim.log());
            std::thread::yield_now();
        }
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// Case D9: Exim uses the field with the submitter, and removes it
#[test]
fn exim_as_a_backend_uses_the_submitter_and_removes_the_field() {
    assert!(include_str!("../../docs/mail-backends.md").contains(&format!("`{RULE}`")));
    let backend = Serving::start();
    let gateway = Gateway::start(&smtp(&[backend.address], "identity = [\"xclient\", \"header\"]"));
    gateway.account("email").credential(JOE, "email").credential(ANN, "email");
    for (login, greeting) in [(JOE, "EHLO My Mac"), (ANN, "HELO ПК")] {
        let name = login.split(':').next().unwrap();
        let mut client = Client::open(gateway.address("smtp.listen"));
        assert_eq!(
            [client.say(greeting).code, client.say(&crate::common::mail::plain(login)).code],
            [250, 235]
        );
        assert_eq!(client.say("MAIL FROM:sender@example.com").code, 250);
        let refused = client.say("RCPT TO:<nobody@example.net>");
        assert!(refused.text().starts_with("550 no such user"), "{refused:?}");
        assert_eq!(client.say("RCPT TO: jane@example.net").code, 250);
        assert_eq!(client.say("DATA").code, 354);
        let answer = client.say(&format!("Subject: of {name}\r\nX-Gatepost-User: forged\r\n\r\n..dot\r\n."));
        assert!(answer.text().starts_with("250 OK id="), "{answer:?}\n{}", backend.exim.log());
        let mailbox = backend.exim.wait_for("mail/all", &format!("Subject: of {name}"));
        assert!(mailbox.contains("\n.dot\n") && !mailbox.contains("X-Gatepost-User"), "{mailbox}");
        assert_eq!(mailbox.matches("X-Department: sales").count(), 1, "{mailbox}");
        backend.exim.wait_for("log/mainlog", &format!("submitted by <{name}>"));
    }
}

#[test]
fn exim_submits_as_a_client() {
    let sink = Sink::good();
    let gateway = Gateway::start(&smtp(&[sink.address], ""));
    gateway.account("email").credential(JOE, "email");
    let port = gateway.address("smtp.listen").port();
    let sections = format!(
        "begin routers\ngatepost:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n  transport = gatepost\n\
         begin transports\ngatepost:\n  driver = smtp\n  port = {port}\n  allow_localhost\n  hosts_require_auth = *\n\
         begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  client_send = ^joe^passw0rd-of-joe\n"
    );
    let exim = Exim::with("", &sections);
    let large = "0123456789abcdef\n".repeat(100_000);
    for (nth, body) in ["a line\n.\n..two\n", "Grüße\n", &large].into_iter().enumerate() {
        let mut command =
            exim.command(&["-odf", "-oi", "-f", "sender@example.com", "jane@example.net", "jim@example.net"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let message = format!("From: sender@example.com\nSubject: number {nth}\n\n{body}");
        child.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}", exim.log());
        let messages = sink.wait_for_messages(nth + 1);
        assert_eq!(messages[nth].rcpts.len(), 2, "{}", exim.log());
        assert!(messages[nth].mail.starts_with("<sender@example.com>"));
        let content = String::from_utf8_lossy(&messages[nth].content).replace("\r\n", "\n");
        assert!(content.contains(&format!("Subject: number {nth}\n")), "{content}");
        let expected = if nth == 0 { body.replace("\n.", "\n..") } else { body.to_owned() };
        let sent = content.ends_with(body) || content.trim_end().ends_with(expected.trim_end());
        assert!(sent, "{}", exim.log());
    }
    assert!(!exim.log().contains(" == ") && !exim.log().contains(" ** "), "{}", exim.log());
    assert!(Path::new(&exim.path("spool/input")).read_dir().is_ok_and(|mut left| left.next().is_none()));
}
