use std::sync::Arc;

use super::*;
use crate::config::{StoreSettings, StoreUrl};
use crate::service::Origin;
use crate::state::hashing::LOWEST_COST;

#[tokio::test]
async fn a_change_that_never_ends_is_noted_as_failed() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(folder.path().join("gatepost.db"));
    let store = Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.unwrap();
    let (epochs, metrics) = (Arc::new(Epochs::new()), Arc::new(Metrics::new()));
    let hasher = Arc::new(Hasher::start(LOWEST_COST, 1, 1, metrics.clone()).unwrap());
    let cluster = Arc::new(
        Cluster::join(&store, &StoreSettings::default(), epochs.clone(), metrics.clone()).await.unwrap(),
    );
    let mutations = Mutations::new(store, hasher, epochs.clone(), cluster, metrics.clone());
    let asked = |action| RequestedChange {
        action,
        actor: "holder".to_owned(),
        subject: "john".to_owned(),
        change: String::new(),
        origin: Origin::CommandLine,
        account: None,
    };
    let name = Canonical::of(b"john").unwrap();
    let failed = |action: &str| {
        let line = format!("gatepost_mutations_total{{action=\"{action}\",outcome=\"failed\"}} 1");
        metrics.encode().contains(&line)
    };

    let text = metrics.encode();
    let counted = AuditAction::ALL.into_iter().filter(|action| action.is_counted());
    for action in counted.map(AuditAction::as_str) {
        let line = format!("gatepost_mutations_total{{action=\"{action}\",outcome=\"failed\"}} 0");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    // Case E9: nobody changes an account in a gateway, except that its holder changes the own password.
    assert!(!text.replace("\"account.passwd\"", "").contains("\"account."), "{text}");

    let seen = epochs.now();
    let work = async { panic!("as a test wants it") };
    let ended = mutations.run::<()>(asked(AuditAction::CredentialRemove), name, work).await;
    assert!(matches!(ended, Err(ManagementError::Store(_))));
    assert!(failed("credential.remove") && !epochs.is_fresh(seen, &name, &name));

    // The process ends in its middle: as when a runtime is dropped, nobody is there to be answered.
    let other = tokio::task::spawn_blocking({
        let mutations = mutations.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let change = mutations.run::<()>(asked(AuditAction::CredentialAdd), name, std::future::pending());
            runtime.block_on(async {
                let _ = begin(change);
                tokio::task::yield_now().await;
            });
        }
    });
    other.await.unwrap();
    assert!(failed("credential.add"));
}

/// Begins it.
fn begin<F: Future>(future: F) -> std::task::Poll<F::Output> {
    std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
