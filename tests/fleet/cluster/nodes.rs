//! Nodes within this process, by the parts that gateways have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatepost::config::Config;
use gatepost::domain::fleet::{ChangeToken, Era};
use gatepost::domain::{AccountError, Canonical};
use gatepost::state::cluster::{Cluster, ClusterNodes, Unconfirmed};
use gatepost::state::store::{Change, ChangePosition, ChangeScope, MutationError, Store};
use gatepost::state::{Epochs, Metrics};
use tokio::time::timeout;

use super::gateways::settings;
use crate::common::PATIENCE;
use crate::common::postgres::{PostgresDatabase, PostgresServer, Stop};
use crate::common::postgres_pair::{PostgresPair, Replication};

/// A node within this process.
struct Node {
    epochs: Arc<Epochs>,
    cluster: Cluster,
    store: Store,
}

async fn node(database: &PostgresDatabase<'_>) -> Node {
    let settings = settings(database);
    let store = Store::open(&settings).await.unwrap();
    let epochs = Arc::new(Epochs::without_trust());
    let metrics = Arc::new(Metrics::new());
    let cluster = Cluster::join(&store, &settings, epochs.clone(), metrics).await.unwrap();
    Node { epochs, cluster, store }
}

impl Node {
    /// Waits until it knows that the name has changed since `seen`.
    async fn hears(&self, name: &Canonical, seen: u64) {
        let mut raised = self.epochs.subscribe();
        let heard = async {
            while self.epochs.is_fresh(seen, name, name) {
                raised.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, heard).await.expect("it never hears of the change");
    }
}

/// Waits until a node has known the era for the longest lease: revocations wait for no longer than they have to from then on.
pub async fn settled(database: &PostgresDatabase<'_>) {
    let settled = async {
        while database.psql("SELECT count(*) FROM node WHERE settled = 1") == "0" {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, settled).await.expect("no node ever settles");
}

/// Makes a change of a name in plain SQL, as a mutation makes it.
fn change(database: &PostgresDatabase<'_>, name: &str) -> Change {
    let row = database.psql(&format!(
        "BEGIN; INSERT INTO principal (name, hash, bits, created_at, updated_at) VALUES ('{name}', 'x', 7, 0, 0) \
         ON CONFLICT (lower(name)) DO UPDATE SET bits = 7 - principal.bits; \
         SET CONSTRAINTS ALL IMMEDIATE; SELECT number, token, gatepost_era() FROM counter; COMMIT"
    ));
    let parts: Vec<&str> = row.split('|').collect();
    let era: Era = parts[2].parse().unwrap();
    let (number, token) = (parts[0].parse().unwrap(), ChangeToken(parts[1].parse().unwrap()));
    let position = ChangePosition::Logged { number, token, era };
    Change { position, name: canonical(name), ends_login: false, revokes: true }
}

fn canonical(name: &str) -> Canonical {
    Canonical::of(name.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_was_announced_is_applied_on_every_node() {
    let database = PostgresServer::shared().database();
    let nodes = [node(&database).await, node(&database).await, node(&database).await];
    let name = canonical("holder");
    settled(&database).await;
    let bystander = (0..).map(|n| canonical(&format!("bystander{n}")));
    let bystander = bystander
        .into_iter()
        .find(|other| nodes.iter().all(|node| node.epochs.shard(other) != node.epochs.shard(&name)));
    let bystander = bystander.unwrap();
    for round in 0..20 {
        assert!(nodes.iter().all(|node| node.epochs.trust().holds_now()));
        let before = nodes.each_ref().map(|node| node.epochs.now());
        let change = change(&database, "holder");
        let teller = &nodes[round % 3];
        // As a mutation does it.
        teller.epochs.raise(&name);
        teller.cluster.announce(&change, None).await.unwrap();
        for (node, before) in nodes.iter().zip(before) {
            assert!(!node.epochs.is_fresh(before, &name, &name));
            assert!(node.epochs.is_fresh(before, &bystander, &bystander), "nothing else is dropped");
        }
    }
    let ClusterNodes::Fleet(listed) = nodes[0].cluster.nodes().await.unwrap() else { panic!() };
    assert_eq!(listed.len(), 3);
    nodes[2].cluster.leave().await;
    assert!(!nodes[2].epochs.trust().holds_now());
    assert_eq!(database.psql("SELECT count(*) FROM node"), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_plain_sql_is_noticed_at_once_and_settled() {
    let database = PostgresServer::shared().database();
    let (one, two) = (node(&database).await, node(&database).await);
    let (name, before) = (canonical("holder"), [one.epochs.now(), two.epochs.now()]);
    change(&database, "holder");
    let changed_at = Instant::now();
    one.hears(&name, before[0]).await;
    two.hears(&name, before[1]).await;
    let took = changed_at.elapsed();
    assert!(took < Duration::from_millis(400), "it was told, and not found at a beat: {took:?}");

    let before = [one.epochs.now(), two.epochs.now()];
    change(&database, "holder");
    let visitor = Cluster::visit(&one.store, &settings(&database)).unwrap();
    visitor.settle(None).await.unwrap();
    assert!(!one.epochs.is_fresh(before[0], &name, &name) && !two.epochs.is_fresh(before[1], &name, &name));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_notifications_changes_are_found_by_looking() {
    let database = PostgresServer::shared().database();
    let (one, two) = (node(&database).await, node(&database).await);
    database.psql("UPDATE lease SET notify = 0");
    settled(&database).await;
    let name = canonical("holder");
    for _ in 0..5 {
        let (before, change) = (two.epochs.now(), change(&database, "holder"));
        let changed_at = Instant::now();
        one.cluster.announce(&change, None).await.unwrap();
        assert!(!two.epochs.is_fresh(before, &name, &name));
        let took = changed_at.elapsed();
        assert!(took < Duration::from_millis(400), "40 times a second, and not only at a beat: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_nodes_are_back_within_a_second() {
    let server = PostgresServer::start(&[]);
    let database = server.database();
    let node = node(&database).await;
    for how in [Stop::Fast, Stop::Immediate] {
        server.stop(how);
        let mut raised = node.epochs.subscribe();
        let ended = async {
            while node.epochs.trust().holds_now() {
                raised.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, ended).await.expect("trust never ends");
        server.start_again();
        let started_at = Instant::now();
        let back = async {
            while !node.epochs.trust().holds_now() {
                raised.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, back).await.expect("trust never comes back");
        let took = started_at.elapsed();
        // Below a second on a machine with nothing else to do.
        assert!(took < Duration::from_secs(3), "{how:?}: {took:?}");
    }
}

/// Set by a test that wants the next node to fail that notes a loss of changes.
static FAILS: AtomicBool = AtomicBool::new(false);

/// A log that makes a thread of a node panic.
struct FailingLog;

impl tracing::Subscriber for FailingLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR && metadata.target().contains("member_loop")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        assert!(!FAILS.swap(false, Ordering::SeqCst), "as a test wants it");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_loop_panics_joins_again_with_another_row() {
    let database = PostgresServer::shared().database();
    let (one, two) = (node(&database).await, node(&database).await);
    settled(&database).await;
    change(&database, "holder");
    let rows = || -> Vec<String> {
        database.psql("SELECT id FROM node ORDER BY id").lines().map(str::to_owned).collect()
    };
    let before = rows();
    assert_eq!(before.len(), 2);
    two.cluster.leave().await;
    tracing::subscriber::set_global_default(FailingLog).unwrap();
    FAILS.store(true, Ordering::SeqCst);
    // The number of the last change stands for another one: the node says that PostgreSQL went back.
    database.psql(
        "WITH last AS (UPDATE counter SET token = token # 1 RETURNING number, token) \
         UPDATE log SET token = last.token FROM last WHERE seq = last.number",
    );
    database.wait_until("(SELECT count(*) FROM node) = 2");
    assert!(!FAILS.load(Ordering::SeqCst));
    // The first row stays until nobody waits for it any more, which is after the longest lease.
    database.wait_until("(SELECT count(*) FROM node) = 1");
    assert!(!before.contains(&rows()[0]), "it is another one");
    assert!(one.epochs.trust().holds_now());
    let (name, before) = (canonical("holder"), one.epochs.now());
    change(&database, "holder");
    one.hears(&name, before).await;
}

// A change that was seen on a primary that the others have left is perhaps not on theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_on_another_server_is_not_confirmed_by_this_one() {
    let pair = PostgresPair::start(Replication::Asynchronous);
    let settings = |server: &PostgresServer| {
        let text =
            format!("[store]\nurl = \"{}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n", server.url("postgres"));
        Config::parse(&text, "test").unwrap().store
    };
    let (left, present) = (settings(&pair.primary), settings(&pair.standby));
    let store = Store::open(&left).await.unwrap();
    pair.primary.psql("postgres", "UPDATE lease SET lease_ms = 100, longest_ms = 100");
    pair.wait_until_replayed();
    pair.promote();

    let cluster = Cluster::visit(&store, &present).unwrap();
    let scope = ChangeScope::new(None);
    let refused = scope.run(store.remove_account(&canonical("holder"))).await.map(drop).unwrap_err();
    assert_eq!(refused, MutationError::NotAllowed(AccountError::NoSuchAccount));
    assert_eq!(scope.seen().unwrap().timeline, 1);
    let settled = cluster.settle(scope.seen()).await;
    assert!(matches!(settled, Err(Unconfirmed::Unknown { .. })), "{settled:?}");

    // On the server that the others have, it is confirmed: after a read as well as after a change.
    let store = Store::open(&present).await.unwrap();
    let (after_read, after_change) = (ChangeScope::new(None), ChangeScope::new(None));
    assert_eq!(after_read.run(store.account(&canonical("holder"))).await, Ok(None));
    assert!(after_change.run(store.remove_account(&canonical("holder"))).await.is_err());
    for scope in [after_read, after_change] {
        assert_eq!(scope.seen().unwrap().timeline, 2);
        assert_eq!(cluster.settle(scope.seen()).await, Ok(()));
    }
}
