//! The table `principal_use`.

use std::net::IpAddr;

use super::*;
use gatepost::domain::{ClientNetwork, Entry, PrincipalId};
use gatepost::state::store::PrincipalUse;

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
        let rows =
            self.query("SELECT network, used_at, entry, address FROM principal_use ORDER BY used_at").await;
        let row = |row: &str| {
            let mut columns = row.split('|').map(str::to_owned);
            let mut next = || columns.next().unwrap();
            (next(), next().parse().unwrap(), next(), next())
        };
        rows.lines().map(row).collect()
    }
}

// Case F3: the networks of an owner are in the store.
#[tokio::test]
async fn a_use_is_kept_with_its_network_and_counts_as_no_change() {
    for f in both().await {
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
}

// Case F3: they are bounded.
#[tokio::test]
async fn eight_networks_of_thirty_days_stay() {
    for f in both().await {
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
        f.query(&format!("UPDATE principal_use SET used_at = {began} WHERE address = '192.0.5.1'")).await;
        assert!(!f.is_known(one, "192.0.5.1").await && f.is_known(one, "192.0.6.1").await);
        f.store.write_uses(&[]).await.unwrap();
        assert_eq!(f.uses().await.len(), 8);
    }
}

#[tokio::test]
async fn they_go_with_their_principal() {
    for f in both().await {
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
}
