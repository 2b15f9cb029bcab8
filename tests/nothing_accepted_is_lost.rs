//! A change that was answered with success is on disk: also where the process is killed in the middle of others, and a
//! store that can't be written says so.
//!
//! Each test runs this same program again as a process of its own, with its part in the environment.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gatepost::config::{StoreSettings, StoreUrl};
use gatepost::domain::{AccountId, Canonical, PermissionEdit, Permissions, StoredHash, Username};
use gatepost::state::store::{Authority, CredentialEdit, MutationError, NewCredential, Store, StoreError};

const DATABASE: &str = "GATEPOST_TEST_DATABASE";
const ROUND: &str = "GATEPOST_TEST_ROUND";
const NOBODY: u32 = 65_534;

#[test]
fn killed_in_the_middle_of_a_thousand_changes() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("gatepost.db");
    let runtime = runtime();
    let account = runtime.block_on(async {
        let store = open(&database).await.unwrap();
        let holder = Username::parse("holder").unwrap();
        let account = store.add_account(&holder, &hash(), Permissions::ALL).await.unwrap().value;
        store.close().await;
        account
    });

    let mut accepted = Accepted::default();
    let mut round = 0;
    while accepted.answers < 1_000 {
        let mut child = again("part_of_the_killed", &database).env(ROUND, round.to_string()).spawn().unwrap();
        // Killed after another number of answers each time, and never at a quiet moment.
        let lifetime = 20 + (round * 37) % 150;
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in answers {
            // What was written to the pipe before the kill was answered, too: all of it is read.
            seen += usize::from(accepted.note(&line.unwrap()));
            if seen == lifetime {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= lifetime, "it ended by itself after {seen} answers");
        runtime.block_on(accepted.verify(&database, account));
        round += 1;
    }
}

#[test]
fn a_file_that_cannot_be_written_is_unavailability() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("gatepost.db");
    runtime().block_on(async {
        let store = open(&database).await.unwrap();
        let holder = Username::parse("holder").unwrap();
        let _ = store.add_account(&holder, &hash(), Permissions::ALL).await.unwrap();
        store.close().await;
    });
    std::fs::set_permissions(&database, PermissionsExt::from_mode(0o444)).unwrap();
    let mut command = again("part_of_the_reader", &database);
    if is_root() {
        // Modes mean nothing to root: the part is played by somebody else.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        chown(folder.path(), Some(NOBODY), None).unwrap();
        chown(&database, Some(NOBODY), None).unwrap();
        command.uid(NOBODY);
    }
    let output = command.stderr(Stdio::piped()).spawn().and_then(Child::wait_with_output).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("played to its end"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Adds, edits and removes by four tasks at once until it is killed; writes `+NAME` after an addition was answered,
/// `=NAME` after an edit, `?NAME` before a removal is asked for and `-NAME` after it was answered.
#[test]
#[ignore = "a part of killed_in_the_middle_of_a_thousand_changes"]
fn part_of_the_killed() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let round = std::env::var(ROUND).unwrap();
    let store = runtime();
    store.block_on(async {
        let store = open(Path::new(&database)).await.unwrap();
        let holder = Canonical::of(b"holder").unwrap();
        let account = store.account(&holder).await.unwrap().unwrap().id;
        let tasks =
            (0..4).map(|task| tokio::spawn(change(store.clone(), account, format!("r{round}t{task}"))));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

async fn change(store: Store, account: AccountId, prefix: String) {
    let say = |what: char, name: &str| {
        let mut out = std::io::stdout().lock();
        // One write: half a line is never taken for a whole one.
        out.write_all(format!("{what}{name}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
    };
    for number in 0..10_000 {
        let text = format!("{prefix}n{number}");
        let name = Username::parse(&text).unwrap();
        let new = NewCredential { name: name.clone(), hash: hash(), permissions: PermissionEdit::default() };
        let _ = store.add_credential(account, Authority::Holder, &new).await.unwrap();
        say('+', &text);
        let edit = CredentialEdit {
            hash: Some(StoredHash::new("edited".into())),
            permissions: PermissionEdit::exactly(Permissions::NONE),
        };
        if number % 3 == 0 {
            let _ =
                store.edit_credential(account, Authority::Holder, &name.canonical(), &edit).await.unwrap();
            say('=', &text);
        }
        if number % 2 == 0 {
            say('?', &text);
            let _ = store.remove_credential(account, Authority::Holder, &name.canonical()).await.unwrap();
            say('-', &text);
        }
    }
}

#[test]
#[ignore = "a part of a_file_that_cannot_be_written_is_unavailability"]
fn part_of_the_reader() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    runtime().block_on(async {
        let store = open(Path::new(&database)).await.unwrap();
        let holder = Canonical::of(b"holder").unwrap();
        let found = store.principal(&holder).await.unwrap().expect("reading goes on");
        let new = NewCredential {
            name: Username::parse("cred").unwrap(),
            hash: hash(),
            permissions: PermissionEdit::default(),
        };
        let refused = store.add_credential(found.account, Authority::Holder, &new).await.map(|w| w.value);
        assert!(matches!(refused, Err(MutationError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        let refused = store.renew_hash(&holder, &hash(), &StoredHash::new("other".into())).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    });
    std::io::stdout().write_all(b"played to its end\n").unwrap();
}

/// What was answered with success.
#[derive(Default)]
struct Accepted {
    answers: usize,
    there: HashMap<String, bool>,
    removed: HashSet<String>,
    open: HashSet<String>,
}

impl Accepted {
    fn note(&mut self, line: &str) -> bool {
        let mut letters = line.chars();
        let (what, name) = (letters.next(), letters.as_str().to_owned());
        match what {
            Some('+') => drop(self.there.insert(name, false)),
            Some('=') => drop(self.there.insert(name, true)),
            Some('-') => {
                self.there.remove(&name);
                self.removed.insert(name);
            }
            Some('?') => {
                self.open.insert(name);
                return false;
            }
            // The test runner's own lines.
            _ => return false,
        }
        self.answers += 1;
        true
    }

    async fn verify(&self, database: &Path, account: AccountId) {
        let store = open(database).await.unwrap();
        for (name, edited) in &self.there {
            let found = store.principal(&Canonical::of(name.as_bytes()).unwrap()).await.unwrap();
            let Some(found) = found else {
                assert!(self.open.contains(name), "{name} was added and is gone");
                continue;
            };
            // An edit that was not answered may have been made all the same.
            assert!(!edited || found.hash.expose() == "edited", "{name} was edited and is not");
            let pair = (found.hash.expose(), found.bits);
            assert!(
                matches!(pair, ("edited", Permissions::NONE) | ("hash", Permissions::ALL)),
                "half an edit"
            );
        }
        for name in &self.removed {
            let found = store.principal(&Canonical::of(name.as_bytes()).unwrap()).await.unwrap();
            assert!(found.is_none(), "{name} was removed and is there");
        }
        let listed = store.credentials(account, None, u32::MAX).await.unwrap().len();
        let holder = store.account(&Canonical::of(b"holder").unwrap()).await.unwrap().unwrap();
        assert_eq!(holder.credentials, listed as u64, "the count is the number of rows");
        store.close().await;
    }
}

/// This program once more, for one of its ignored tests.
fn again(part: &str, database: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", part, "--ignored", "--nocapture"]);
    command.env(DATABASE, PathBuf::from(database)).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

async fn open(database: &Path) -> Result<Store, StoreError> {
    let url = StoreUrl::Sqlite(database.to_path_buf());
    Store::open(&StoreSettings { url, ..StoreSettings::default() }).await
}

fn hash() -> StoredHash {
    StoredHash::new("hash".into())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
