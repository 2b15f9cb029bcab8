//! Several members of one cluster; each stands for a process, since all they share is the file and the folder.

use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;

use tempfile::TempDir;

use super::notice::exchange;
use super::*;
use crate::config::{StoreSettings, StoreUrl};
use crate::domain::{AccountId, Permissions, StoredHash, Username};

const QUICK: Timing = Timing { look: Duration::from_millis(20), patience: Duration::from_millis(300) };
/// A listener that doesn't look for changes that nobody told it of.
const BLIND: Timing = Timing { look: Duration::from_secs(3600), patience: Duration::from_secs(5) };

struct Node {
    store: Store,
    epochs: Arc<Epochs>,
    cluster: SocketCluster,
}

/// The number of changes including it.
fn upto(change: &Change) -> i64 {
    let ChangePosition::Counted { upto, .. } = change.position else { unreachable!("SQLite counts changes") };
    upto
}

async fn node(folder: &TempDir, timing: Timing) -> Node {
    let url = StoreUrl::Sqlite(folder.path().join("gatepost.db"));
    let store = Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
    let epochs = Arc::new(Epochs::new());
    let cluster = SocketCluster::join_with(&store, epochs.clone(), timing).await.unwrap();
    Node { store, epochs, cluster }
}

impl Node {
    async fn add(&self, name: &str) -> Change {
        let hash = StoredHash::new("h".into());
        let name = Username::parse(name).unwrap();
        let written: crate::state::store::Written<AccountId> =
            self.store.add_account(&name, &hash, Permissions::ALL).await.unwrap();
        written.change
    }

    fn ledger(&self) -> &Ledger {
        &self.cluster.member.as_ref().unwrap().shared.ledger
    }

    /// A name whose epoch is not raised along with `other`'s.
    fn bystander(&self, other: &Canonical) -> Canonical {
        let names = (0..).map(|n| Canonical::of(format!("bystander{n}").as_bytes()).unwrap());
        names.into_iter().find(|n| self.epochs.shard(n) != self.epochs.shard(other)).unwrap()
    }
}

fn sockets(folder: &TempDir) -> PathBuf {
    folder.path().canonicalize().unwrap().join("gatepost.db.nodes")
}

#[tokio::test]
async fn when_it_is_announced_every_other_has_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, three) =
        (node(&folder, BLIND).await, node(&folder, BLIND).await, node(&folder, BLIND).await);
    for round in 0..50 {
        let before = [two.epochs.now(), three.epochs.now()];
        let change = one.add(&format!("holder{round}")).await;
        one.cluster.announce(&change, None).await.unwrap();
        for (peer, before) in [(&two, before[0]), (&three, before[1])] {
            assert!(!peer.epochs.is_fresh(before, &change.name, &change.name));
            let bystander = peer.bystander(&change.name);
            assert!(peer.epochs.is_fresh(before, &bystander, &bystander));
            assert_eq!(peer.ledger().known(), peer.store.changes().await.unwrap());
        }
        assert_eq!(one.ledger().known(), upto(&change));
    }
}

/// A removal and a new password free the memory of a name in the other processes, too, and other changes don't.
#[tokio::test]
async fn the_memory_of_an_ended_login_is_freed_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, BLIND).await, node(&folder, BLIND).await);
    let forgotten = Arc::new(Mutex::new(Vec::new()));
    let names = forgotten.clone();
    two.epochs.on_forget(move |name| names.lock().push(*name));
    let added = one.add("holder").await;
    let hash = StoredHash::new("h2".into());
    let suspended = one.store.set_active(&added.name, false).await.unwrap().change;
    let password = one.store.set_password(&added.name, &hash).await.unwrap().change;
    let removed = one.store.remove_account(&added.name).await.unwrap().change;
    for (change, times) in [(added, 0), (suspended, 0), (password, 1), (removed, 2)] {
        let before = two.epochs.now();
        one.cluster.announce(&change, None).await.unwrap();
        assert!(!two.epochs.is_fresh(before, &change.name, &change.name));
        assert_eq!(*forgotten.lock(), vec![added.name; times]);
    }
}

#[tokio::test]
async fn announcements_cross() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = Arc::new([node(&folder, BLIND).await, node(&folder, BLIND).await]);
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let nodes = nodes.clone();
        tasks.spawn(async move {
            for round in 0..10 {
                let change = nodes[task % 2].add(&format!("holder{task}.{round}")).await;
                nodes[task % 2].cluster.announce(&change, None).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    for node in nodes.iter() {
        assert_eq!(node.ledger().known(), 80);
    }
}

#[tokio::test]
async fn a_visitor_announces_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let member = node(&folder, BLIND).await;
    let visitor = SocketCluster::visit(&member.store).unwrap();
    let before = member.epochs.now();
    let change = member.add("holder").await;
    visitor.announce(&change, None).await.unwrap();
    assert!(!member.epochs.is_fresh(before, &change.name, &change.name));
    member.cluster.announce(&change, None).await.unwrap();
}

#[tokio::test]
async fn who_is_gone_is_skipped_and_who_hangs_is_unconfirmed() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(&folder, QUICK).await;
    let dead = sockets(&folder).join("1-dead.sock");
    drop(StdListener::bind(&dead).unwrap());
    let change = one.add("holder").await;
    one.cluster.announce(&change, None).await.unwrap();
    assert!(!dead.exists());

    let hung = sockets(&folder).join("1-hung.sock");
    let listener = StdListener::bind(&hung).unwrap();
    let error = one.cluster.announce(&change, None).await.unwrap_err();
    assert!(error.to_string().contains("1-hung.sock"), "{error}");
    drop(listener);
    one.cluster.announce(&change, None).await.unwrap();
}

#[tokio::test]
async fn who_dies_before_acknowledging_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(&folder, BLIND).await;
    let listener = StdListener::bind(sockets(&folder).join("1-dying.sock")).unwrap();
    let dying = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let change = one.add("holder").await;
    one.cluster.announce(&change, None).await.unwrap();
    dying.join().unwrap();
}

#[tokio::test]
async fn a_change_without_notice_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, QUICK).await, node(&folder, QUICK).await);
    let (before, mut raised) = (two.epochs.now(), two.epochs.subscribe());
    let _killed_before_announcing = one.add("holder").await;
    raised.changed().await.unwrap();
    let anyone = Canonical::of(b"anyone").unwrap();
    assert!(!two.epochs.is_fresh(before, &anyone, &anyone));
}

#[tokio::test]
async fn what_died_before_its_notice_is_in_effect_once_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, BLIND).await, node(&folder, BLIND).await);
    let visitor = SocketCluster::visit(&one.store).unwrap();
    for settles in [&one.cluster, &visitor] {
        let before = [one.epochs.now(), two.epochs.now()];
        let killed_before_announcing = one.add(&format!("holder{}", before[0])).await;
        settles.settle().await.unwrap();
        for (node, before) in [(&one, before[0]), (&two, before[1])] {
            let anyone = Canonical::of(b"anyone").unwrap();
            assert!(!node.epochs.is_fresh(before, &anyone, &anyone));
            assert_eq!(node.ledger().known(), upto(&killed_before_announcing));
        }
        // Now it is known, and nothing is dropped a second time.
        let before = two.epochs.now();
        settles.settle().await.unwrap();
        assert_eq!(two.epochs.now(), before);
    }
}

#[tokio::test]
async fn settling_waits_for_a_notice_that_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, BLIND).await, node(&folder, BLIND).await);
    let change = one.add("holder").await;
    let before = two.epochs.now();
    let (settled, announced) = tokio::join!(one.cluster.settle(), one.cluster.announce(&change, None));
    settled.unwrap();
    announced.unwrap();
    assert!(!two.epochs.is_fresh(before, &change.name, &change.name));
    let bystander = two.bystander(&change.name);
    assert!(two.epochs.is_fresh(before, &bystander, &bystander));
}

#[tokio::test]
async fn nonsense_counts_as_a_change_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(&folder, BLIND).await;
    for nonsense in [&b"\xff"[..], b"", br#"{"after":1,"upto":2,"name":"x"}"#, &[b' '; 5000]] {
        let before = one.epochs.now();
        let place = NodesFolder::beside(one.store.file().unwrap().0).unwrap().open().unwrap();
        let name = one.cluster.member.as_ref().unwrap().shared.name.lock().clone();
        // Of an overlong notice the end is never read, so the sender may miss the answer.
        let _ = exchange(&place, &name, nonsense).await;
        let anyone = Canonical::of(b"anyone").unwrap();
        assert!(!one.epochs.is_fresh(before, &anyone, &anyone));
    }
}

#[tokio::test]
async fn it_listens_again_where_its_socket_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, BLIND).await, node(&folder, QUICK).await);
    let first = two.cluster.member.as_ref().unwrap().shared.name.lock().clone();
    std::fs::remove_dir_all(sockets(&folder)).unwrap();
    while *two.cluster.member.as_ref().unwrap().shared.name.lock() == first {
        tokio::task::yield_now().await;
    }
    let change = one.add("holder").await;
    one.cluster.announce(&change, None).await.unwrap();
    assert_eq!(two.ledger().known(), upto(&change));
}

// Case E12: the directory, or a socket in it, is removed between two looks of the gateway.
#[tokio::test]
async fn who_lost_its_socket_is_told_all_the_same_or_the_change_is_unconfirmed() {
    const SLOW: Timing = Timing { look: Duration::from_millis(400), patience: Duration::from_secs(5) };
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, SLOW).await, node(&folder, SLOW).await);
    let moved = folder.path().join("moved");
    let remove_one = || {
        let name = one.cluster.member.as_ref().unwrap().shared.name.lock().clone();
        std::fs::remove_file(sockets(&folder).join(name)).unwrap();
    };
    let remove_all = || std::fs::remove_dir_all(sockets(&folder)).unwrap();
    let move_all = || std::fs::rename(sockets(&folder), &moved).unwrap();
    for (index, remove) in [&remove_one as &dyn Fn(), &remove_all, &move_all].into_iter().enumerate() {
        let visitor = SocketCluster::visit(&one.store).unwrap();
        let before = [one.epochs.now(), two.epochs.now()];
        let change = one.add(&format!("holder{index}")).await;
        remove();
        visitor.announce(&change, None).await.unwrap();
        for (peer, before) in [(&one, before[0]), (&two, before[1])] {
            assert!(!peer.epochs.is_fresh(before, &change.name, &change.name), "{index}");
        }
    }

    // As one whose sockets are elsewhere, for example because its container has only the file.
    let hidden = open_roll(one.store.file().unwrap().0, one.store.file().unwrap().1).unwrap();
    hidden.enroll(MemberSeat::random().unwrap(), QUICK.patience).await.unwrap();
    let change = one.add("last").await;
    let mut visitor = SocketCluster::visit(&one.store).unwrap();
    visitor.timing = QUICK;
    let error = visitor.announce(&change, None).await.unwrap_err();
    assert!(error.to_string().contains("gatepost.db.nodes: restart it"), "{error}");
    hidden.leave();
    visitor.announce(&change, None).await.unwrap();
}

// Case E12: the same while others make changes all the time, each of which is told to everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_lost_its_socket_is_not_taken_for_told_because_others_were_answered() {
    const SLOW: Timing = Timing { look: Duration::from_millis(100), patience: Duration::from_secs(5) };
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Arc::new(node(&folder, SLOW).await), node(&folder, SLOW).await);
    let mut editors = JoinSet::new();
    for number in 0..6 {
        let one = one.clone();
        editors.spawn(async move {
            let added = one.add(&format!("editor{number}")).await;
            for active in [false, true].into_iter().cycle() {
                let change = one.store.set_active(&added.name, active).await.unwrap().change;
                one.cluster.announce(&change, None).await.unwrap();
            }
        });
    }
    // One for all, since its end ends SQLite's locks in this process, see `RollCall`.
    let visitor = SocketCluster::visit(&two.store).unwrap();
    for round in 0..20 {
        // By the connection that the editors queue for: another one might wait for too long.
        let change = one.add(&format!("holder{round}")).await;
        let before = [one.epochs.now(), two.epochs.now()];
        for node in [&*one, &two] {
            let name = node.cluster.member.as_ref().unwrap().shared.name.lock().clone();
            let _ = std::fs::remove_file(sockets(&folder).join(name));
        }
        visitor.announce(&change, None).await.unwrap();
        for (peer, before) in [(&*one, before[0]), (&two, before[1])] {
            assert!(!peer.epochs.is_fresh(before, &change.name, &change.name), "{round}");
        }
    }
    editors.abort_all();
    while let Some(ended) = editors.join_next().await {
        assert!(ended.unwrap_err().is_cancelled());
    }
}

// Case E12: a program that has nothing to do with Gatepost has the file locked by flock(2), for example a script of backups.
#[tokio::test]
async fn the_lock_of_another_program_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (node(&folder, BLIND).await, node(&folder, BLIND).await);
    let other = std::fs::File::open(one.store.file().unwrap().0).unwrap();
    other.lock().unwrap();
    let change = one.add("holder").await;
    timeout(BLIND.patience, one.cluster.announce(&change, None)).await.unwrap().unwrap();
    assert_eq!(two.ledger().known(), upto(&change));
    // Closing it would end SQLite's locks, see `RollCall`.
    std::mem::forget(other);
}

// Case E17: a command changes the file that has replaced the gateway's.
#[tokio::test]
async fn a_change_of_another_file_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let one = node(&folder, BLIND).await;
    let change = one.add("holder").await;
    let (file, copy) = (one.store.file().unwrap().0.to_path_buf(), folder.path().join("copy"));
    std::fs::copy(&file, &copy).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    let before = one.epochs.now();
    let [dev, ino] = {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().unwrap();
        [metadata.dev(), metadata.ino()]
    };
    let roll = RollCall::open(&file, (dev, ino)).unwrap();
    let place = NodesFolder::beside(&file).unwrap();
    let timing = TIMING;
    let store = one.store.clone();
    let visitor =
        SocketCluster { place, timing, roll, database: (dev, ino), was_removed: false, member: None, store };
    let error = visitor.announce(&change, None).await.unwrap_err();
    assert!(error.to_string().contains("was replaced: restart it"), "{error}");
    let settings = StoreSettings { url: StoreUrl::Sqlite(file), ..StoreSettings::default() };
    let asked = crate::state::cluster::ask_running(&settings).await.unwrap_err();
    assert!(matches!(&asked, StoreError::Replaced(text) if text.contains("nothing was changed")), "{asked}");
    let anyone = Canonical::of(b"anyone").unwrap();
    assert!(!one.epochs.is_fresh(before, &anyone, &anyone), "it decides nothing from now on");
    assert!(matches!(one.store.principal(&anyone).await, Err(StoreError::Replaced(_))));
}

#[tokio::test]
async fn it_leaves_nothing_behind_and_paths_may_be_long() {
    let outer = tempfile::tempdir().unwrap();
    let folder = tempfile::Builder::new().prefix(&"long".repeat(50)).tempdir_in(outer.path()).unwrap();
    let (one, two) = (node(&folder, BLIND).await, node(&folder, BLIND).await);
    let change = one.add("holder").await;
    one.cluster.announce(&change, None).await.unwrap();
    assert_eq!(two.ledger().known(), upto(&change));
    assert_eq!(std::fs::read_dir(sockets(&folder)).unwrap().count(), 2);
    drop((one, two));
    assert_eq!(std::fs::read_dir(sockets(&folder)).unwrap().count(), 0);
}
