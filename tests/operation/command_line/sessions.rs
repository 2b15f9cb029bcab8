//! `gatepost session`: the sessions of browsers, listed and ended by the operator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::domain::{Entry, SessionDigest, SessionId};
use gatepost::state::store::NewSession;

use super::*;

impl Place {
    /// Begins a session as a login does.
    async fn begin(&self, name: &str, n: u8) -> SessionId {
        let url = StoreUrl::Sqlite(database(self.0.path()));
        let store = Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
        let principal = store.principal(&Canonical::of(name.as_bytes()).unwrap()).await.unwrap().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let new = NewSession {
            principal,
            entry: Entry::Web,
            digest: SessionDigest::from_bytes([n; 32]),
            source: "192.0.2.1".parse().unwrap(),
            browser: format!("Browser {n}"),
            created_at: now.try_into().unwrap(),
            idle: Duration::from_secs(600),
            lifetime: Duration::from_secs(3600),
        };
        let begun = store.begin_session(new).await.unwrap();
        store.close().await;
        begun.session.id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_and_ended_by_the_operator() {
    let p = Place::new();
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    p.done("credential add john --account holder --password-stdin", "passw0rd-at-home\n");
    assert_eq!(p.json("session list john --json"), serde_json::json!([]));
    let mut ids = Vec::new();
    for n in 1..4 {
        ids.push(p.begin("john", n).await);
    }
    p.begin("holder", 4).await;
    let listed = p.json("session list John --json");
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!((&listed[0]["id"], &listed[0]["entry"]), (&ids[0].0.into(), &"web".into()));
    assert_eq!((&listed[0]["source"], &listed[0]["browser"]), (&"192.0.2.1".into(), &"Browser 1".into()));
    let text = p.done("session list john", "");
    assert_eq!(text.lines().count(), 4);
    for word in ["LOGIN", "web", "192.0.2.1", "Browser 3"] {
        assert!(text.contains(word), "{text}");
    }
    let one = ids[1].0;
    assert_eq!(p.done(&format!("session end john {one}"), ""), format!("session {one} of john ended\n"));
    assert!(p.refused(&format!("session end john {one}"), "").contains("no such session"));
    assert!(p.refused(&format!("session end holder {}", ids[0].0), "").contains("no such session"));
    assert_eq!(p.done("session end john", ""), "2 sessions of john ended\n");
    assert_eq!(p.done("session end john", ""), "0 sessions of john ended\n");
    assert_eq!(p.json("session list holder --json").as_array().unwrap().len(), 1);
    for line in ["session list nobody", "session end nobody", "session end nobody 1"] {
        assert!(p.refused(line, "").contains("no account and no credential"), "{line}");
    }
}
