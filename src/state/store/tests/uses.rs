//! The table `principal_use`.

use std::net::IpAddr;

use super::*;
use crate::domain::{ClientNetwork, Entry, PrincipalId};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

impl Fixture {
    async fn used(&self, account: AccountId, address: &str, used_at: i64) {
        let principal = PrincipalId(account.0);
        let used = PrincipalUse { used_at, ..PrincipalUse::now(principal, at(address), Entry::Smtp) };
        self.store.write_uses(&[used]).await.unwrap();
    }

    async fn is_known(&self, account: AccountId, address: &str) -> bool {
        let network = ClientNetwork::of(at(address));
        self.store.was_used_from(Some(PrincipalId(account.0)), network).await.unwrap()
    }

    /// The rows: network, time, entry, address.
    async fn uses(&self) -> Vec<(String, i64, String, String)> {
        let query = "SELECT network, used_at, entry, address FROM principal_use ORDER BY used_at";
        sqlx::query_as(query).fetch_all(&self.store.pools.readers).await.unwrap()
    }
}

// Case F3: the networks of an owner are in the store.
#[tokio::test]
async fn a_use_is_kept_with_its_network_and_counts_as_no_change() {
    let f = fixture().await;
    let (one, other) = (f.account("holder").await, f.account("other").await);
    let before = f.store.changes().await.unwrap();
    let used_at = now();
    f.used(one, "192.0.2.77", used_at).await;
    f.used(one, "2001:db8:1:2::3", used_at + 1).await;
    assert_eq!(f.store.changes().await.unwrap(), before);
    let row = |network: &str, at, address: &str| {
        (network.to_owned(), used_at + at, "smtp".to_owned(), address.to_owned())
    };
    let rows = vec![row("192.0.2.0/24", 0, "192.0.2.77"), row("2001:db8:1::/48", 1, "2001:db8:1:2::3")];
    assert_eq!(f.uses().await, rows);
    assert!(f.is_known(one, "192.0.2.1").await && f.is_known(one, "2001:db8:1:ffff::").await);
    assert!(!f.is_known(one, "192.0.3.1").await && !f.is_known(other, "192.0.2.1").await);
    let nobody = f.store.was_used_from(None, ClientNetwork::of(at("192.0.2.1"))).await;
    assert_eq!(nobody, Ok(false));
    // The same network again within the hour is not written.
    f.used(one, "192.0.2.78", used_at + HOUR - 1).await;
    assert_eq!(f.uses().await, rows);
    f.used(one, "192.0.2.78", used_at + HOUR).await;
    assert_eq!(f.uses().await[1], row("192.0.2.0/24", HOUR, "192.0.2.78"));
    // A new password leaves them as they are: the owner is still there.
    let _ = f.store.set_password(&canonical("holder"), &hash("other")).await.unwrap();
    assert!(f.is_known(one, "192.0.2.1").await);
}

// Case F3: they are bounded.
#[tokio::test]
async fn eight_networks_of_thirty_days_stay() {
    let f = fixture().await;
    let (one, other) = (f.account("holder").await, f.account("other").await);
    let began = now() - 40 * DAY;
    f.used(other, "198.51.100.1", began + 20 * DAY).await;
    for n in 0..10 {
        f.used(one, &format!("192.0.{n}.1"), now() - 9 + n).await;
    }
    let kept: Vec<String> = f.uses().await.into_iter().map(|row| row.0).collect();
    let expected: Vec<String> = (2..10).map(|n| format!("192.0.{n}.0/24")).collect();
    assert_eq!((&kept[0], &kept[1..]), (&"198.51.100.0/24".to_owned(), &expected[..]));
    // What is older than 30 days counts no more, and goes with the next write.
    let mut writer = f.store.pools.writer.acquire().await.unwrap();
    let age =
        AssertSqlSafe(format!("UPDATE principal_use SET used_at = {began} WHERE address = '192.0.5.1'"));
    sqlx::query(age).execute(&mut *writer).await.unwrap();
    drop(writer);
    assert!(!f.is_known(one, "192.0.5.1").await && f.is_known(one, "192.0.6.1").await);
    f.store.write_uses(&[]).await.unwrap();
    assert_eq!(f.uses().await.len(), 8);
}

#[tokio::test]
async fn they_go_with_their_principal() {
    let f = fixture().await;
    let (one, other) = (f.account("holder").await, f.account("other").await);
    f.used(one, "192.0.2.1", now()).await;
    f.used(other, "192.0.2.1", now()).await;
    let _ = f.store.remove_account(&canonical("holder")).await.unwrap();
    assert_eq!(f.uses().await.len(), 1);
    // Who is removed in the meantime is skipped, and another one of that name is not known.
    f.used(one, "192.0.2.1", now()).await;
    let again = f.account("holder").await;
    assert_eq!(f.uses().await.len(), 1);
    assert!(!f.is_known(again, "192.0.2.1").await && f.is_known(other, "192.0.2.1").await);
}

/// Makes the schema that of the version before the networks.
async fn make_older(f: &Fixture) {
    let older = "DROP TABLE principal_use; DROP TABLE secret; ALTER TABLE principal DROP COLUMN senders; \
         ALTER TABLE principal DROP COLUMN expires_at; ALTER TABLE principal DROP COLUMN networks; \
         DELETE FROM _sqlx_migrations WHERE version > 2";
    sqlx::raw_sql(older).execute(&f.store.pools.writer).await.unwrap();
    f.store.close().await;
}

#[tokio::test]
async fn who_only_reads_does_not_migrate() {
    let f = fixture().await;
    f.account("someone").await;
    make_older(&f).await;
    let is_older = async || Store::inspect(&f.settings).await;
    assert_eq!(is_older().await, Ok(true));
    let refused = Store::open_to_read(&f.settings).await.unwrap_err().to_string();
    assert!(
        refused.ends_with("made by an older version of Gatepost: it is migrated when the gateway starts"),
        "{refused}"
    );
    assert_eq!(is_older().await, Ok(true));
    Store::open(&f.settings).await.unwrap().close().await;
    assert_eq!(is_older().await, Ok(false));
    let read = Store::open_to_read(&f.settings).await.unwrap();
    assert!(read.principal(&canonical("someone")).await.unwrap().is_some());
}
