//! A change that was answered with success is on disk: also where the gateway is killed in the middle of others, and a
//! store that can't be written says so.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use crate::common::http::{Connection, get, request};
use crate::common::{Gateway, HOLDER, command, configured};
use gatepost::config::{StoreSettings, StoreUrl};
use gatepost::domain::{Canonical, Permissions, StoredHash};
use gatepost::state::store::Store;

const ADDED: &str = "added-passw0rd";
const EDITED: &str = "edited-passw0rd";
const NOBODY: u32 = 65_534;

fn configuration(cost: u32, upstream: SocketAddr) -> String {
    format!("[auth]\nbcrypt_cost = {cost}\n{}", crate::common::api(upstream))
}

#[test]
fn killed_in_the_middle_of_a_thousand_changes() {
    let backend = crate::common::backend::Backend::hello();
    let mut gateway = Gateway::start(&configuration(4, backend.address));
    gateway.account("email,api,web");
    let database = crate::common::database::file_of(&gateway);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let mut accepted = Accepted::default();
    let mut round = 0;
    while accepted.answers < 1_000 {
        // Killed after another number of answers each time, and never at a quiet moment.
        let lifetime = 20 + (round * 37) % 150;
        let address = gateway.api();
        let (say, said) = channel();
        std::thread::scope(|scope| {
            for task in 0..4 {
                let say = say.clone();
                scope.spawn(move || change(address, &format!("r{round}t{task}"), &say));
            }
            drop(say);
            let mut seen = 0;
            for event in said {
                seen += usize::from(accepted.note(event));
                if seen == lifetime {
                    gateway.kill();
                }
            }
            assert!(seen >= lifetime, "it ended by itself after {seen} answers");
        });
        runtime.block_on(accepted.verify(&database));
        gateway.restart();
        round += 1;
    }
}

/// A note of a client that makes changes, with the name of the credential.
enum Event {
    Added(String),
    Edited(String),
    /// Not answered yet.
    Removing(String),
    Removed(String),
}

/// Adds, edits and removes until the gateway is gone.
fn change(address: SocketAddr, prefix: &str, say: &Sender<Event>) {
    let mut connection = Connection::open(address);
    let mut done = |action: &str, parameters: &str| {
        let request = request("POST", &format!("/api/credentials/{action}.json"))
            .basic(HOLDER)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(parameters);
        connection.write(&request.bytes());
        let response = connection.try_response()?;
        assert_eq!(response.status, 200, "{action}: {}", response.text());
        Some(())
    };
    let mut change = |number: usize| {
        let name = format!("{prefix}n{number}");
        done("add", &format!("username={name}&password={ADDED}"))?;
        say.send(Event::Added(name.clone())).ok()?;
        if number.is_multiple_of(3) {
            let none = r#"{"email":0,"api":0,"web":0}"#;
            done("edit", &format!("username={name}&password={EDITED}&permissions={none}"))?;
            say.send(Event::Edited(name.clone())).ok()?;
        }
        if number.is_multiple_of(2) {
            say.send(Event::Removing(name.clone())).ok()?;
            done("remove", &format!("username={name}"))?;
            say.send(Event::Removed(name)).ok()?;
        }
        Some(())
    };
    (0..).try_for_each(&mut change);
}

/// The changes that were answered with success.
#[derive(Default)]
struct Accepted {
    answers: usize,
    /// True if it was edited.
    there: HashMap<String, bool>,
    removed: HashSet<String>,
    open: HashSet<String>,
}

impl Accepted {
    /// Returns true for an answer.
    fn note(&mut self, event: Event) -> bool {
        match event {
            Event::Added(name) => drop(self.there.insert(name, false)),
            Event::Edited(name) => drop(self.there.insert(name, true)),
            Event::Removed(name) => {
                self.there.remove(&name);
                self.removed.insert(name);
            }
            Event::Removing(name) => {
                self.open.insert(name);
                return false;
            }
        }
        self.answers += 1;
        true
    }

    async fn verify(&self, database: &Path) {
        let store = open(database).await;
        for (name, edited) in &self.there {
            let found = store.principal(&canonical(name)).await.unwrap();
            let Some(found) = found else {
                assert!(self.open.contains(name), "{name} was added and is gone");
                continue;
            };
            // An edit that was not answered may have been made all the same.
            let is_edited = found.bits == Permissions::NONE;
            assert!(!edited || is_edited, "{name} was edited and is not");
            assert!(is_edited || found.bits == Permissions::ALL, "half an edit");
            assert!(is(&found.hash, if is_edited { EDITED } else { ADDED }), "half an edit");
        }
        for name in &self.removed {
            let found = store.principal(&canonical(name)).await.unwrap();
            assert!(found.is_none(), "{name} was removed and is there");
        }
        let holder = store.account(&canonical("acme")).await.unwrap().unwrap();
        let listed = store.credentials(holder.id, None, u32::MAX).await.unwrap().len();
        assert_eq!(holder.credentials, listed as u64, "the count is the number of rows");
        store.close().await;
    }
}

#[test]
fn a_file_that_cannot_be_written_is_unavailability() {
    let backend = crate::common::backend::Backend::hello();
    let directory = configured(&configuration(5, backend.address));
    let mut gateway = Gateway::start_in(directory);
    gateway.account("email,api,web");
    gateway.signal("TERM");
    assert!(gateway.child.wait().unwrap().success());
    let database = crate::common::database::file_of(&gateway);

    // At another cost, so that it wants to renew what it can't write.
    let directory = configured(&configuration(4, backend.address));
    let copy = directory.path().join("gatepost.db");
    std::fs::copy(&database, &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o444)).unwrap();
    let gateway = if rustix::process::geteuid().is_root() {
        // Modes mean nothing to root: the part is played by somebody else.
        let mine = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        for path in mine.chain([directory.path().to_path_buf()]) {
            chown(path, Some(NOBODY), None).unwrap();
        }
        Gateway::start_as(directory, NOBODY)
    } else {
        Gateway::start_in(directory)
    };

    assert_eq!(get("/v3/stats").basic(HOLDER).send(gateway.api()).status, 200, "reading goes on");
    let (status, text) = gateway.manage("add", &format!("username=cred&password={ADDED}"));
    assert_eq!(status, 503, "{text}");
    gateway.log().wait_for(&["an outdated password hash could not be renewed"]);
    assert_eq!(get("/v3/stats").basic(HOLDER).send(gateway.api()).status, 200, "and goes on");
    gateway.log().wait_for(&["it is read-only: check owner and mode"]);
    gateway.log().wait_for(&["it cannot be written, so no change can be made"]);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let backend = crate::common::backend::Backend::hello();
    let directory = configured(&configuration(4, backend.address));
    let config = directory.path().join("gatepost.toml");
    let disk = directory.path().join("disk");
    let text = std::fs::read_to_string(&config).unwrap().replace("gatepost.db", "disk/gatepost.db");
    std::fs::write(&config, text + "\n[ops]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let (name, password) = HOLDER.split_once(':').unwrap();
    let made = command(&config, &["account", "add", name, "--password-stdin"], password);
    assert!(made.status.success(), "{made:?}");
    std::fs::write(disk.join("filler"), [b'x'; 128 << 10]).unwrap();

    let gateway = Gateway::start_on_small_disk(directory, &disk, 768);
    let add = |nth: u32| gateway.manage("add", &format!("username=cred{nth}&password={ADDED}"));
    let full = (0..1_000).find(|nth| {
        let (status, text) = add(*nth);
        assert!(matches!(status, 200 | 503), "{status}: {text}");
        status == 503
    });
    let full = full.expect("a thousand credentials are larger than the disk");
    assert!(full > 0, "there was room for one");
    gateway.log().wait_for(&["full"]);
    let used = |nth: u32| get("/v3/stats").basic(&format!("cred{nth}:{ADDED}")).send(gateway.api()).status;
    assert_eq!(used(0), 200, "reading goes on");
    assert_eq!(used(full - 1), 200, "what was answered with success is there");
    assert_eq!(used(full), 401, "what was refused isn't");
    assert_eq!(get("/readyz").send(gateway.address("ops.listen")).status, 200, "it can decide");

    // Room is made: its folder is the disk that only it sees.
    std::fs::remove_file(format!("/proc/{}/cwd/filler", gateway.child.id())).unwrap();
    let (status, text) = add(full);
    assert_eq!(status, 200, "{text}");
    assert_eq!(used(full), 200);
}

async fn open(database: &Path) -> Store {
    let url = StoreUrl::Sqlite(database.to_path_buf());
    Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap()
}

fn canonical(name: &str) -> Canonical {
    Canonical::of(name.as_bytes()).unwrap()
}

fn is(hash: &StoredHash, password: &str) -> bool {
    bcrypt::verify(password, hash.expose()).unwrap()
}
