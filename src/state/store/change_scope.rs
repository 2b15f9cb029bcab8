//! The request that a change is made for: its line for the audit trails, and the server on which it was refused.
//!
//! A service begins a scope around its calls of the store. They take part in it without a parameter each.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::fleet::Era;
use crate::state::audit::News;

tokio::task_local! {
    /// The scope of the request that this task works for.
    static SCOPE: Arc<ChangeScope>;
}

/// The scope of one request. SQLite needs none.
#[derive(Debug, Default)]
pub struct ChangeScope {
    /// The line as JSON. PostgreSQL keeps it in the log, in the transaction of the change: it is there exactly if the change is.
    news: Option<String>,
    /// The server that was asked first.
    seen: Mutex<Option<Era>>,
}

impl ChangeScope {
    /// A scope that nothing was asked in. `news` is left out by a process that writes the line itself.
    pub fn new(news: Option<&News>) -> Arc<ChangeScope> {
        let news = news.and_then(|news| serde_json::to_string(news).ok());
        Arc::new(ChangeScope { news, seen: Mutex::default() })
    }

    /// Runs `work` within this scope.
    pub async fn run<T>(self: &Arc<ChangeScope>, work: impl Future<Output = T>) -> T {
        SCOPE.scope(self.clone(), work).await
    }

    /// The server whose state was seen in this scope, the first if there were several; `None` if PostgreSQL was not asked.
    pub fn seen(&self) -> Option<Era> {
        *self.seen.lock()
    }

    /// The line of the scope that this task is in.
    pub(super) fn news() -> Option<String> {
        SCOPE.try_with(|scope| scope.news.clone()).ok().flatten()
    }

    /// Notes the server whose state this task has seen.
    pub(super) fn note(era: Era) {
        // Outside of a scope, nobody asks.
        let _ = SCOPE.try_with(|scope| *scope.seen.lock().get_or_insert(era));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn era(timeline: u32) -> Era {
        Era { system: 7, timeline, started_at: 1 }
    }

    #[tokio::test]
    async fn each_task_has_the_scope_of_its_own_request() {
        let scopes = [ChangeScope::new(None), ChangeScope::new(None)];
        let note = async |scope: &Arc<ChangeScope>, timelines: &[u32]| {
            scope
                .run(async { timelines.iter().for_each(|timeline| ChangeScope::note(era(*timeline))) })
                .await;
        };
        tokio::join!(note(&scopes[0], &[1, 2]), note(&scopes[1], &[3]));
        ChangeScope::note(era(4));
        assert_eq!([scopes[0].seen(), scopes[1].seen()], [Some(era(1)), Some(era(3))]);
        assert_eq!(ChangeScope::news(), None);
    }
}
