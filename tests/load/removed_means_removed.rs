//! A check that begins after a change was answered never sees the state before it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gatepost::config::{AuthSettings, StoreSettings, StoreUrl};
use gatepost::domain::{
    Canonical, Denial, Entry, Permission, PermissionEdit, Permissions, Presented, Principal, StoredHash,
    Username,
};
use gatepost::service::access::ConnectionMemory;
use gatepost::service::credentials::{Addition, Edit, Manager};
use gatepost::service::{Access, Accounts, Credentials, Decision, Granted, Mutations, Origin};
use gatepost::state::cluster::Cluster;
use gatepost::state::store::{Authority, NewCredential, Store};
use gatepost::state::{Epochs, Hasher, Metrics};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

const TASKS: usize = 32;
/// The tasks take turns: at each step of a change one in so many checks.
const TURNS: u64 = 4;
const ROUNDS: u64 = 1_000;
const NAME: &str = "wanderer";
const PASSWORDS: [&str; 2] = ["one password 1", "another one 2"];
/// Changes in a round: see [`state`].
const CHANGES: u64 = 3;
/// Rounds in which a cache that is told to forget has to be caught, and how often that is tried.
const FEW_ROUNDS: u64 = 100;
const TRIES: usize = 20;

/// The state of the credential after so many changes: its password and its one permission, if it exists.
fn state(changes: u64) -> Option<(usize, Permission)> {
    let round = changes.div_ceil(CHANGES);
    let other = (round % 2) as usize;
    match changes % CHANGES {
        // Removed, and so it begins.
        1 => None,
        _ if changes == 0 => None,
        // Added.
        2 => Some((other, Permission::Api)),
        // Edited: in one round its password, in the next its bits.
        _ if round.is_multiple_of(2) => Some((1 - other, Permission::Api)),
        _ => Some((other, Permission::Web)),
    }
}

/// The result that a check must have in that state.
fn expected(
    state: Option<(usize, Permission)>,
    password: usize,
    permission: Permission,
) -> Result<(), Denial> {
    match state {
        None => Err(Denial::Unknown),
        Some((right, _)) if right != password => Err(Denial::Wrong),
        Some((_, held)) if held != permission => Err(Denial::Lacks(permission)),
        Some(_) => Ok(()),
    }
}

/// The progress of the changes, visible to all tasks.
struct Published {
    /// Each change begins and is answered, and this is the last of these.
    last_step: u64,
    begun: AtomicU64,
    answered: AtomicU64,
    /// Counts both, and wakes the tasks that check.
    steps: watch::Sender<u64>,
    /// Checks that have ended.
    checks: AtomicU64,
}

impl Published {
    fn new(rounds: u64) -> Arc<Published> {
        Arc::new(Published {
            last_step: 2 * rounds * CHANGES,
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            steps: watch::Sender::new(0),
            checks: AtomicU64::new(0),
        })
    }

    fn begin(&self, changes: u64) {
        self.begun.store(changes, Ordering::SeqCst);
        self.steps.send_modify(|steps| *steps += 1);
    }

    /// Every few changes this waits until some checks have come to their end before the next change begins.
    async fn answer(&self, changes: u64) {
        let awaited = u64::from(changes.is_multiple_of(4)) * TASKS as u64 / TURNS;
        let until = self.checks.load(Ordering::SeqCst) + awaited;
        self.answered.store(changes, Ordering::SeqCst);
        self.steps.send_modify(|steps| *steps += 1);
        while self.checks.load(Ordering::SeqCst) < until {
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Default)]
struct Tally {
    checks: u64,
    /// During which nothing was going on, so that one state alone was right.
    settled: u64,
    allowed: u64,
    seen_too_early: Vec<String>,
}

async fn house() -> (TempDir, Store, Arc<Access>, Accounts, Credentials) {
    // In memory, where there is such a place: it is not the disk that is tried here, and there are three thousand commits.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(&StoreSettings {
        url: StoreUrl::Sqlite(folder.path().join("gatepost.db")),
        read_connections: 4,
        busy_timeout: Duration::from_secs(60),
        ..StoreSettings::default()
    })
    .await
    .unwrap();
    let (epochs, metrics) = (Arc::new(Epochs::new()), Arc::new(Metrics::new()));
    let cluster = Arc::new(
        Cluster::join(&store, &StoreSettings::default(), Arc::clone(&epochs), Arc::clone(&metrics))
            .await
            .unwrap(),
    );
    let hasher = Arc::new(Hasher::start(4, 1, 256, Arc::clone(&metrics)).unwrap());
    let mutations = Mutations::new(
        store.clone(),
        Arc::clone(&hasher),
        Arc::clone(&epochs),
        cluster,
        Arc::clone(&metrics),
    );
    let settings = AuthSettings { throttle: false, ..AuthSettings::default() };
    let access = Arc::new(Access::new(store.clone(), hasher, epochs, metrics, &settings).unwrap());
    let accounts = Accounts::new(mutations.clone(), Origin::CommandLine);
    (folder, store, access, accounts, Credentials::new(mutations))
}

fn only(permission: Permission) -> PermissionEdit {
    let bit = |other| u8::from(other == permission);
    let [email, api, web] = Permission::ALL.map(bit);
    PermissionEdit::from_json(&format!(r#"{{"email": {email}, "api": {api}, "web": {web}}}"#)).unwrap()
}

/// Makes the change that leads to the state after `changes`.
async fn change(credentials: &Credentials, by: &Manager, changes: u64) {
    let before = state(changes - 1);
    let answer = match state(changes) {
        None if changes == 1 => return,
        None => credentials.remove(by, NAME).await,
        Some((password, permission)) if before.is_none() => {
            let permissions = only(permission);
            let password = PASSWORDS[password].as_bytes();
            credentials
                .add(by, Addition { username: NAME, password, permissions, ..Addition::default() })
                .await
        }
        Some((password, permission)) => {
            let changed = before.is_some_and(|(old, _)| old != password);
            let password = changed.then_some(PASSWORDS[password].as_bytes());
            credentials
                .edit(by, Edit { username: NAME, password, permissions: only(permission), ..Edit::default() })
                .await
        }
    };
    answer.unwrap();
}

/// The party that decides during the test.
#[derive(Clone)]
enum Decides {
    /// Gatepost.
    Epochs(Arc<Access>),
    /// The alternative to epochs: a cache that loads what it misses, and is told of each change.
    Invalidation { cache: moka::sync::Cache<&'static str, Option<Loaded>>, store: Store },
}

/// The entry of such a cache: the index of the right password, and the permissions.
#[derive(Clone, Copy)]
struct Loaded {
    password: usize,
    permissions: Permissions,
}

impl Decides {
    fn invalidation(store: &Store) -> Decides {
        Decides::Invalidation { cache: moka::sync::Cache::new(100), store: store.clone() }
    }

    /// After a change is on disk, and before it is answered. (Gatepost's own changes see to that by themselves.)
    fn tell(&self) {
        if let Decides::Invalidation { cache, .. } = self {
            cache.invalidate(NAME);
        }
    }

    /// Decides, and returns what an open session would keep.
    async fn check(
        &self,
        memory: &ConnectionMemory,
        password: usize,
        permission: Permission,
    ) -> (Result<(), Denial>, Option<Granted>) {
        match self {
            Decides::Epochs(access) => {
                let presented =
                    Presented { username: NAME.as_bytes(), secret: PASSWORDS[password].as_bytes() };
                let source = IpAddr::from([192, 0, 2, 1]);
                if let Some(granted) = access.check_remembered(memory, &presented, permission, Entry::Api) {
                    return (Ok(()), Some(granted));
                }
                match access.authorize(presented, permission, Entry::Api, source).await {
                    Decision::Allowed(granted) => (Ok(()), Some(granted)),
                    Decision::Denied(denial) => (Err(denial), None),
                    Decision::Unavailable(why) => panic!("{why}"),
                }
            }
            Decides::Invalidation { cache, store } => {
                let (cache, store, runtime) = (cache.clone(), store.clone(), Handle::current());
                let load = move || runtime.block_on(load(&store));
                let loaded = spawn_blocking(move || cache.get_with(NAME, load)).await.unwrap();
                let found = match loaded {
                    None => Err(Denial::Unknown),
                    Some(loaded) if loaded.password != password => Err(Denial::Wrong),
                    Some(loaded) if !loaded.permissions.contains(permission) => {
                        Err(Denial::Lacks(permission))
                    }
                    Some(_) => Ok(()),
                };
                (found, None)
            }
        }
    }

    async fn still_holds(&self, granted: &Granted, permission: Permission) -> bool {
        match self {
            Decides::Epochs(access) => access.still_holds(granted, permission).await.unwrap(),
            Decides::Invalidation { .. } => false,
        }
    }
}

async fn load(store: &Store) -> Option<Loaded> {
    let row = store.principal(&Canonical::of(NAME.as_bytes()).unwrap()).await.unwrap()?;
    let is = |password: &&str| bcrypt::verify(password, row.hash.expose()).unwrap();
    let password = PASSWORDS.iter().position(is).unwrap();
    Some(Loaded { password, permissions: row.effective() })
}

async fn check_until_the_end(decides: Decides, published: Arc<Published>, task: usize) -> Tally {
    let mut tally = Tally::default();
    let mut held: Option<Granted> = None;
    // Each task is a connection, which remembers.
    let memory = ConnectionMemory::default();
    let mut steps = published.steps.subscribe();
    let mut nth = task;
    while steps.changed().await.is_ok() {
        let step = *steps.borrow_and_update();
        if step % TURNS != task as u64 % TURNS && step != published.last_step {
            continue;
        }
        nth += 1;
        let (password, permission) = (nth % 2, [Permission::Api, Permission::Web][nth / 2 % 2]);
        let from = published.answered.load(Ordering::SeqCst);
        let (found, granted) = decides.check(&memory, password, permission).await;
        let still = match &held {
            Some(granted) => decides.still_holds(granted, permission).await,
            None => false,
        };
        let upto = published.begun.load(Ordering::SeqCst);

        tally.allowed += u64::from(found.is_ok());
        held = granted.or(held);
        if !(from..=upto).any(|changes| expected(state(changes), password, permission) == found) {
            tally.seen_too_early.push(format!("between {from} and {upto}: {found:?}"));
        }
        if still && !(from..=upto).any(|changes| state(changes).is_some_and(|(_, held)| held == permission)) {
            tally.seen_too_early.push(format!("between {from} and {upto}: still held {permission}"));
        }
        tally.checks += 1;
        tally.settled += u64::from(from == upto);
        published.checks.fetch_add(1, Ordering::SeqCst);
        if step == published.last_step {
            break;
        }
    }
    tally
}

/// Changes the credential for so many rounds while all tasks check it.
async fn hammer(decides: &Decides, credentials: &Credentials, by: &Manager, rounds: u64) -> Tally {
    let published = Published::new(rounds);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(check_until_the_end(decides.clone(), Arc::clone(&published), task));
    }
    for changes in 1..=rounds * CHANGES {
        published.begin(changes);
        change(credentials, by, changes).await;
        decides.tell();
        published.answer(changes).await;
    }
    let mut all = Tally::default();
    for tally in tasks.join_all().await {
        all.checks += tally.checks;
        all.settled += tally.settled;
        all.allowed += tally.allowed;
        all.seen_too_early.extend(tally.seen_too_early);
    }
    let early = all.seen_too_early.len();
    println!("{} checks, {} settled, {} allowed, {early} wrong", all.checks, all.settled, all.allowed);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_check_sees_a_state_from_before_an_answer() {
    let (_folder, _store, access, accounts, credentials) = house().await;
    accounts.add("holder", b"correct horse 1", Permissions::ALL).await.unwrap();
    let by = credentials.operator("holder", Origin::CommandLine).await.unwrap();

    let all = hammer(&Decides::Epochs(access), &credentials, &by, ROUNDS).await;
    let early = &all.seen_too_early;
    assert!(
        early.is_empty(),
        "{} of {} checks, the first: {:?}",
        early.len(),
        all.checks,
        &early[..early.len().min(5)]
    );
    let telling = all.checks.min(all.settled).min(all.allowed);
    assert!(telling > ROUNDS, "too few checks to tell anything");
}

/// Proves that the test can fail: the same checks, decided by a cache that is told to forget, are caught.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_that_is_told_to_forget_is_caught() {
    let (_folder, store, _access, accounts, credentials) = house().await;
    accounts.add("holder", b"correct horse 1", Permissions::ALL).await.unwrap();
    let by = credentials.operator("holder", Origin::CommandLine).await.unwrap();

    for _ in 0..TRIES {
        let all = hammer(&Decides::invalidation(&store), &credentials, &by, FEW_ROUNDS).await;
        if !all.seen_too_early.is_empty() {
            return;
        }
        // The next try begins with nobody there, as this one did.
        credentials.remove(&by, NAME).await.unwrap();
    }
    panic!("not caught in {TRIES} times {FEW_ROUNDS} rounds: the hammer is too soft");
}

/// Why epochs: `get_with` of moka, which loads a missing entry, puts in what it loaded also where `invalidate` came while
/// it was loading. What was removed then stays for as long as the entry lives. The same two steps with an epoch tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidation_alone_would_bring_back_what_was_removed() {
    let (_folder, store, _access, accounts, _credentials) = house().await;
    let account = accounts.add("holder", b"correct horse 1", Permissions::ALL).await.unwrap();
    let new = NewCredential {
        name: Username::parse(NAME).unwrap(),
        hash: StoredHash::new("hash".to_owned()),
        permissions: PermissionEdit::default(),
        note: None,
    };
    let _ = store.add_credential(account, Authority::Operator, &new).await.unwrap();

    let name = Canonical::of(NAME.as_bytes()).unwrap();
    let cache: moka::sync::Cache<String, Option<Arc<Principal>>> = moka::sync::Cache::new(100);
    let epochs = Epochs::new();
    let (has_read, reads) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let loader = {
        let (cache, store, runtime) = (cache.clone(), store.clone(), Handle::current());
        let seen = epochs.now();
        std::thread::spawn(move || {
            cache.get_with(NAME.to_owned(), || {
                let row = runtime.block_on(store.principal(&name)).unwrap();
                has_read.send(()).unwrap();
                goes_on.recv().unwrap();
                row.map(Arc::new)
            });
            seen
        })
    };
    spawn_blocking(move || reads.recv().unwrap()).await.unwrap();
    // The loader has read the row. The credential is removed, the cache is told, and the caller is answered.
    let _ = store.remove_credential(account, Authority::Operator, &name).await.unwrap();
    cache.invalidate(NAME);
    epochs.raise(&name);
    // Only now it puts in what it has read.
    go_on.send(()).unwrap();
    let seen = spawn_blocking(move || loader.join().unwrap()).await.unwrap();

    assert_eq!(store.principal(&name).await.unwrap().map(|row| row.name), None, "it is removed");
    let found = cache.get(NAME).expect("what was loaded is in the cache");
    assert!(found.is_some(), "a check that begins now finds the credential, and would let it pass");
    assert!(!epochs.is_fresh(seen, &name, &name), "its epoch tells that it may not");
}
