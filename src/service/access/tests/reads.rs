//! RowReads of rows that open sessions share.

use super::*;
use crate::service::access::reads::RowReads;
use crate::state::store::StoreError;

fn complain(_: &StoreError) -> Unavailable {
    Unavailable::Store
}

#[tokio::test]
async fn a_row_is_read_once_for_all_until_something_changes() {
    let house = house().await;
    let (reads, access) = (RowReads::new(Duration::from_secs(600)), &house.access);
    let granted = house.granted("seer", PASSWORD, Permission::Web).await;
    let row = async |later: u64| {
        let now = house.now + Duration::from_millis(later);
        let found =
            reads.row(&access.store, &access.epochs, granted.verified(), now, complain).await.unwrap();
        (found.row.is_some(), found.own)
    };
    assert_eq!(row(0).await, (true, true));
    assert_eq!(row(999).await, (true, false));
    assert_eq!(row(1000).await, (true, true), "it is old");
    house.remove("seer").await;
    assert_eq!(row(1000).await, (false, true), "there was a change");
    assert_eq!(row(1000).await, (false, false));
    access.epochs.raise(&canonical("holder"));
    assert_eq!(row(1000).await, (false, true), "a change of the account is one, too");
}

#[tokio::test]
async fn who_asks_at_once_shares_a_read_also_where_it_is_cut_off() {
    let house = house().await;
    let (reads, access) = (RowReads::new(Duration::from_secs(600)), &house.access);
    let granted = house.granted("seer", PASSWORD, Permission::Web).await;
    let row = || Box::pin(reads.row(&access.store, &access.epochs, granted.verified(), house.now, complain));
    let (first, second, third) = tokio::join!(row(), row(), row());
    let own = [first, second, third].map(|found| found.unwrap().own);
    assert_eq!(own, [true, false, false]);

    // The store may have answered by the end of the first look.
    let cut_off = loop {
        access.epochs.raise_all();
        let mut read = row();
        if is_pending(&mut read).await {
            break read;
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(30), row());
    let (found, ()) = tokio::join!(waiting, async { drop(cut_off) });
    assert!(found.unwrap().unwrap().own, "the one that waited reads by itself");
}

/// Returns true if the future is pending after one poll.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

#[tokio::test]
async fn a_read_that_failed_is_not_taken_over() {
    let house = house().await;
    let (reads, access) = (RowReads::new(Duration::from_secs(600)), &house.access);
    let granted = house.granted("seer", PASSWORD, Permission::Web).await;
    access.store.close().await;
    for _ in 0..2 {
        let found = reads.row(&access.store, &access.epochs, granted.verified(), house.now, complain).await;
        assert!(matches!(found, Err(Unavailable::Store)));
    }
    let other = house_with(COST, AuthSettings::default()).await;
    let found = reads.row(&other.access.store, &access.epochs, granted.verified(), house.now, complain).await;
    assert!(found.unwrap().own);
}
