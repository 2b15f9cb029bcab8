//! Loops that are begun again after a panic: without them, a node decides nothing, and no revocation is confirmed.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tracing::error;

/// The time between a panic and the next beginning. Trust outlasts it.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs a loop to its end. One that panics is replaced by another one, which knows nothing of what the first one has done.
pub(super) async fn keep_running<L>(name: &'static str, mut begin: impl FnMut() -> L)
where
    L: Future<Output = ()> + Send + 'static,
{
    // A task that is cancelled belongs to a runtime that ends.
    while let Err(panic) = tokio::spawn(begin()).await
        && panic.is_panic()
    {
        error!(name, %panic, "a loop of the cluster has failed, and begins again");
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_begun_again_until_one_ends() {
        let begun = Arc::new(AtomicU32::new(0));
        let begin = || {
            let begun = begun.clone();
            async move {
                assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "as a test wants it");
            }
        };
        keep_running("test", begin).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
