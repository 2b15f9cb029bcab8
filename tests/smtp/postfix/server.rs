//! A real Postfix that is started for one test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::common::PATIENCE;

/// The service that the README tells to add.
pub(super) const SERVICE: &str = include_str!("../../../config/postfix-master.cf");
pub(super) const ITS_ADDRESS: &str = "127.0.0.1:10587";

/// A Postfix with everything in a directory of its own; stopped when dropped.
pub(super) struct Postfix {
    directory: tempfile::TempDir,
    pub(super) address: SocketAddr,
}

impl Postfix {
    pub(super) fn start() -> Postfix {
        Postfix::with("", |service| service)
    }

    /// Starts it with these lines at the end of main.cf, and the service of the README as `adapt` returns it.
    pub(super) fn with(main_end: &str, adapt: impl FnOnce(String) -> String) -> Postfix {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, owner) in [("etc", "root"), ("queue", "root"), ("data", "postfix"), ("mail", "nobody")] {
            fs::create_dir(home.join(name)).unwrap();
            chown(home.join(name), Some(id_of(owner)), None).unwrap();
        }
        let address = crate::common::nobody();
        let (nobody, shown) = (id_of("nobody"), home.display());
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {shown}/queue\ndata_directory = {shown}/data\n\
             mail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {shown}/mail/postfix.log\n\
             maillog_file_prefixes = {shown}\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             myhostname = backend.test\nmydestination =\nalias_maps =\nlocal_recipient_maps =\n\
             virtual_mailbox_domains = example.net\nvirtual_mailbox_base = {shown}/mail\n\
             virtual_mailbox_maps = inline:{{jane@example.net=jane}}\n\
             virtual_uid_maps = static:{nobody}\nvirtual_gid_maps = static:{nobody}\nvirtual_minimum_uid = 1\n\
             message_size_limit = 100000\nvirtual_mailbox_limit = 10000000\n{main_end}\n"
        );
        let services = "pickup unix n - n 60 1 pickup|cleanup unix n - n - 0 cleanup|\
                        qmgr unix n - n 300 1 qmgr|rewrite unix - - n - - trivial-rewrite|bounce unix - - n - 0 bounce|\
                        defer unix - - n - 0 bounce|trace unix - - n - 0 bounce|verify unix - - n - 1 verify|\
                        flush unix n - n 1000? 0 flush|proxymap unix - - n - - proxymap|error unix - - n - - error|\
                        retry unix - - n - - error|virtual unix - n n - - virtual|anvil unix - - n - 1 anvil|\
                        tlsmgr unix - - n 1000? 1 tlsmgr|postlog unix-dgram n - n - 1 postlogd|\
                        smtp unix - - n - - smtp";
        let own = SERVICE.replacen(&format!("\n{ITS_ADDRESS} inet"), &format!("\n{address} inet"), 1);
        let master = services.replace('|', "\n") + "\n" + &adapt(own);
        fs::write(home.join("etc/main.cf"), main).unwrap();
        fs::write(home.join("etc/master.cf"), master).unwrap();
        let postfix = Postfix { directory, address };
        let output = postfix.control("start");
        assert!(output.status.success(), "{output:?}\n{}", postfix.log());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "{}", postfix.log());
            std::thread::yield_now();
        }
        postfix
    }

    fn control(&self, what: &str) -> std::process::Output {
        Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(self.directory.path().join("etc"))
            .arg(what)
            .output()
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("mail").join(name)
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("postfix.log")).unwrap_or_default()
    }

    /// The mailbox, once there is `text` in it.
    pub(super) fn mailbox(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mailbox = fs::read_to_string(self.path("jane")).unwrap_or_default();
            if mailbox.contains(text) {
                return mailbox;
            }
            assert!(Instant::now() < deadline, "it never came:\n{mailbox}\n{}", self.log());
            std::thread::yield_now();
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.control("stop");
    }
}

fn id_of(user: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.split(':').next() == Some(user)).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

/// Runs a test of this file as root; whether this process isn't root, and so has nothing left to do.
pub(super) fn done_by_root(test: &str) -> bool {
    assert!(Path::new("/usr/sbin/postfix").exists(), "there is no Postfix: `make test` installs it");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return false;
    }
    let sudo = |command: &mut Command| command.stdin(Stdio::null()).output();
    let becomes = sudo(Command::new("sudo").args(["-n", "id", "-u"]));
    let may = becomes.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if may {
        let name = format!("postfix::{test}");
        let test = ["--exact", &name, "--nocapture"];
        let output =
            sudo(Command::new("sudo").arg("-n").arg(std::env::current_exe().unwrap()).args(test)).unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    } else {
        let allowed = std::env::var_os("GATEPOST_WITHOUT_POSTFIX").is_some_and(|value| value == "1");
        assert!(
            allowed,
            "{test} can't run: Postfix's master process has to be started by root, and this is another user without sudo; \
             GATEPOST_WITHOUT_POSTFIX=1 does without"
        );
    }
    true
}
