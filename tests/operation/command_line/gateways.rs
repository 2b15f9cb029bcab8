//! `gatepost cluster`: the gateways on a file.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_on_a_file_are_listed_and_settled() {
    let p = Place::new();
    assert!(p.refused("cluster nodes", "").contains("there is no such file"));
    p.done("account add holder --password-stdin", "passw0rd-at-home\n");
    assert_eq!(p.json("cluster nodes --json"), serde_json::json!([]));
    let url = StoreUrl::Sqlite(database(p.0.path()));
    let settings = StoreSettings { url, ..StoreSettings::default() };
    let store = Store::open(&settings).await.unwrap();
    let epochs = Arc::new(Epochs::new());
    let _cluster = Cluster::join(&store, &settings, epochs.clone(), Arc::new(Metrics::new())).await.unwrap();
    let nodes = p.json("cluster nodes --json");
    assert_eq!(
        (&nodes[0]["pid"], &nodes[0]["answers"]),
        (&std::process::id().into(), &true.into()),
        "{nodes}"
    );
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    assert!(p.done("cluster nodes", "").contains(" answers\n"));

    // As by a process that died before it told anybody.
    let before = epochs.now();
    let name = Canonical::of(b"holder").unwrap();
    let _untold = store.set_active(&name, false).await.unwrap();
    p.done("cluster settle", "");
    assert!(!epochs.is_fresh(before, &name, &name));
    // And repeated, as after an error: there is no such credential, and that is so everywhere.
    let before = epochs.now();
    let _untold = store.set_active(&name, true).await.unwrap();
    p.refused("credential remove john --account holder", "");
    assert!(!epochs.is_fresh(before, &name, &name));
    let before = epochs.now();
    let _untold = store.remove_account(&name).await.unwrap();
    p.refused("account remove holder --yes", "");
    assert!(!epochs.is_fresh(before, &name, &name));

    assert!(p.refused("cluster lease 2s", "").contains("needs no lease"));
    for wrong in ["cluster lease 100ms", "cluster lease 2h", "cluster lease 3", "cluster lease", "cluster"] {
        assert_eq!(p.run(wrong, "").status.code(), Some(2), "{wrong}");
    }
}
