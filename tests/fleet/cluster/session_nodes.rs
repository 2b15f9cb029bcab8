//! Sessions on nodes within this process: good on all of them, and ended on all of them when that is answered.

use std::sync::Arc;
use std::time::Duration;

use gatepost::config::AuthSettings;
use gatepost::domain::{Entry, Permission, Permissions, Presented, SessionCookie};
use gatepost::service::access::{ConnectionMemory, Peer};
use gatepost::service::sessions::{BeginOutcome, SessionTerms, Sessions};
use gatepost::service::{Access, Accounts, Granted, Mutations, Origin, SessionDecision};
use gatepost::state::cluster::Cluster;
use gatepost::state::store::{MOST_SESSIONS, Store};
use gatepost::state::{Epochs, Hasher, Metrics};
use tokio::time::timeout;

use super::gateways::settings;
use super::nodes::settled;
use crate::common::PATIENCE;
use crate::common::postgres::{PostgresDatabase, PostgresServer};

const PASSWORD: &[u8] = b"passw0rd-1";
const TERMS: SessionTerms =
    SessionTerms { idle: Duration::from_secs(600), lifetime: Duration::from_secs(3600) };

/// A node within this process, with all that decides and changes.
struct SessionNode {
    access: Arc<Access>,
    sessions: Sessions,
    accounts: Accounts,
    cluster: Arc<Cluster>,
    store: Store,
}

async fn node(database: &PostgresDatabase<'_>) -> SessionNode {
    let settings = settings(database);
    let store = Store::open(&settings).await.unwrap();
    let (epochs, metrics) = (Arc::new(Epochs::without_trust()), Arc::new(Metrics::new()));
    let cluster = Cluster::join(&store, &settings, epochs.clone(), metrics.clone()).await.unwrap();
    let cluster = Arc::new(cluster);
    let hasher = Arc::new(Hasher::start(4, 1, 100, metrics.clone()).unwrap());
    let auth = AuthSettings::default();
    let access = Access::new(store.clone(), hasher.clone(), epochs.clone(), metrics.clone(), &auth).unwrap();
    let access = Arc::new(access);
    let mutations = Mutations::new(store.clone(), hasher, epochs, cluster.clone(), metrics);
    let accounts = Accounts::new(mutations.clone(), Origin::CommandLine);
    let sessions = Sessions::new(mutations, access.clone());
    SessionNode { access, sessions, accounts, cluster, store }
}

fn peer() -> Peer<'static> {
    Peer::from("192.0.2.1".parse::<std::net::IpAddr>().unwrap())
}

fn origin() -> Origin {
    Origin::Remote { source: peer().source, request_id: String::new(), entry: Entry::Web }
}

impl SessionNode {
    async fn login(&self, name: &str) -> (SessionCookie, Granted) {
        let presented = Presented { username: name.as_bytes(), secret: PASSWORD };
        let permission = Some(Permission::Web);
        match self.sessions.begin(presented, permission, Entry::Web, peer(), "", &TERMS).await {
            BeginOutcome::Begun { cookie, granted } => (cookie, granted),
            other => panic!("{other:?}"),
        }
    }

    async fn is_good(&self, memory: &ConnectionMemory, cookie: &SessionCookie) -> bool {
        if self.access.check_session(memory, cookie, Permission::Web, Entry::Web).is_some() {
            return true;
        }
        match self.access.authorize_session(cookie, Some(Permission::Web), Entry::Web, peer()).await {
            SessionDecision::Allowed(_) => true,
            SessionDecision::NoSession => false,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, cookie: &SessionCookie) -> bool {
        self.is_good(&ConnectionMemory::default(), cookie).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_on_one_node_ends_the_session_on_all_before_it_is_answered() {
    let database = PostgresServer::shared().database();
    let nodes = [node(&database).await, node(&database).await, node(&database).await];
    nodes[0].accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    settled(&database).await;
    for round in 0..50 {
        let (cookie, granted) = nodes[round % 3].login("holder").await;
        let memories: Vec<ConnectionMemory> = nodes.iter().map(|_| ConnectionMemory::default()).collect();
        for (node, memory) in nodes.iter().zip(&memories) {
            for _ in 0..3 {
                assert!(node.is_good(memory, &cookie).await, "round {round}: a login is good on all nodes");
            }
        }
        let effect = nodes[(round + 1) % 3].sessions.end(&granted, origin()).await.unwrap();
        assert_eq!(effect.nodes, 3);
        for (node, memory) in nodes.iter().zip(&memories) {
            assert!(!node.is_good(memory, &cookie).await, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_else_ends_a_session_ends_it_on_all_nodes() {
    let database = PostgresServer::shared().database();
    let nodes = [node(&database).await, node(&database).await];
    nodes[0].accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    settled(&database).await;
    let everywhere = async |cookie: &SessionCookie| {
        let found = [nodes[0].ask(cookie).await, nodes[1].ask(cookie).await];
        assert_eq!(found[0], found[1]);
        found[0]
    };
    let cookie = nodes[0].login("holder").await.0;
    assert!(everywhere(&cookie).await);
    nodes[1].accounts.set_password("holder", PASSWORD).await.unwrap();
    assert!(!everywhere(&cookie).await, "a new password");
    let cookie = nodes[1].login("holder").await.0;
    assert!(everywhere(&cookie).await);
    nodes[1].accounts.suspend("holder").await.unwrap();
    assert!(!everywhere(&cookie).await, "a suspension");
    nodes[0].accounts.resume("holder").await.unwrap();
    assert!(!everywhere(&cookie).await, "for good");

    // The seventeenth login, wherever.
    wait_until_applied(&nodes).await;
    let mut cookies = Vec::new();
    for n in 0..MOST_SESSIONS {
        cookies.push(nodes[usize::from(n % 2 == 0)].login("holder").await.0);
    }
    for cookie in &cookies {
        assert!(everywhere(cookie).await);
    }
    nodes[0].login("holder").await;
    assert!(!everywhere(&cookies[0]).await && everywhere(&cookies[1]).await);

    // By plain SQL, which waits for nobody: the names are in the log.
    let raised = nodes[1].access.subscribe();
    database.psql("DELETE FROM session");
    let mut raised = raised;
    timeout(PATIENCE, async {
        while nodes[1].ask(&cookies[1]).await {
            raised.changed().await.unwrap();
        }
    })
    .await
    .expect("it never hears of the end");
    nodes[0].cluster.settle(None).await.unwrap();
    assert!(!everywhere(&cookies[1]).await);
    nodes[0].accounts.remove("holder").await.unwrap();
}

// A node decides by its own clock, and by uses that are not written yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_run_out_by_its_row_ends_on_all_nodes_as_well() {
    let database = PostgresServer::shared().database();
    let nodes = [node(&database).await, node(&database).await];
    nodes[0].accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    settled(&database).await;
    for column in ["used_at = used_at - 50000, idle_until = idle_until", "ends_at = ends_at"] {
        let (cookie, granted) = nodes[0].login("holder").await;
        let memories = [ConnectionMemory::default(), ConnectionMemory::default()];
        for (node, memory) in nodes.iter().zip(&memories) {
            assert!(node.is_good(memory, &cookie).await);
        }
        database.psql(&format!("UPDATE session SET {column} - 50000"));
        nodes[0].sessions.end(&granted, origin()).await.unwrap();
        for (node, memory) in nodes.iter().zip(&memories) {
            assert!(!node.is_good(memory, &cookie).await, "{column}");
            assert!(!node.ask(&cookie).await, "{column}");
        }
    }
}

/// Waits until all nodes know what was changed, also what was only granted.
async fn wait_until_applied(nodes: &[SessionNode]) {
    for node in nodes {
        node.cluster.settle(None).await.unwrap();
    }
}

// A node that joins later, as after a restart, knows nothing but the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_logs_nobody_out() {
    let database = PostgresServer::shared().database();
    let first = node(&database).await;
    first.accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    let (cookie, _) = first.login("holder").await;
    let ended = first.login("holder").await;
    first.sessions.end(&ended.1, origin()).await.unwrap();
    first.access.write_uses().await;
    first.cluster.leave().await;
    first.store.close().await;
    drop(first);
    let second = node(&database).await;
    assert!(second.ask(&cookie).await);
    assert!(!second.ask(&ended.0).await, "a cookie that is replayed after its logout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_tunnel_hears_of_a_logout_elsewhere() {
    let database = PostgresServer::shared().database();
    let nodes = [node(&database).await, node(&database).await];
    nodes[0].accounts.add("holder", PASSWORD, Permissions::ALL).await.unwrap();
    settled(&database).await;
    let (cookie, granted) = nodes[0].login("holder").await;
    let decision = nodes[1].access.authorize_session(&cookie, None, Entry::Web, peer()).await;
    let SessionDecision::Allowed(open) = decision else { panic!("{decision:?}") };
    let mut changes = nodes[1].access.subscribe();
    changes.mark_unchanged();
    assert_eq!(nodes[1].access.still_holds(&open, Permission::Web).await, Ok(true));
    nodes[0].sessions.end(&granted, origin()).await.unwrap();
    assert!(changes.has_changed().unwrap(), "it is woken before the logout is answered");
    assert_eq!(nodes[1].access.still_holds(&open, Permission::Web).await, Ok(false));
}
