//! The loop that waits for all revocations of this process, and removes the rows of dead nodes.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, info};

use super::connection::late;
use super::member_loop::sleep_until;
use super::node_view::NodeView;
use super::requests::{CommittedChange, FleetRequest};
use super::{rows, statements};
use crate::domain::fleet::{Era, NodesRead, RevocationVerdict, Revoker, RevokerAction, WaitId};
use crate::state::clock;
use crate::state::store::StoreError;
use crate::state::store::postgres::{ReadMinimum, Servers};

/// The receiver of the end of a wait.
#[derive(Debug)]
enum WaitEnd {
    Revocation(oneshot::Sender<RevocationVerdict>),
    /// Calls that wait for the same write.
    Settle(Vec<SettleEnd>),
}

type SettleEnd = oneshot::Sender<Result<RevocationVerdict, StoreError>>;

/// The loop, with all that it uses.
pub(super) struct RevokerLoop {
    servers: Servers,
    view: Arc<NodeView>,
    minimum: Arc<ReadMinimum>,
    revoker: Revoker,
    waiting: HashMap<WaitId, WaitEnd>,
    settling: Vec<(Option<Era>, SettleEnd)>,
    /// A connection of its own, so that no wait depends on what requests do with those of the pool.
    connection: Option<PgConnection>,
}

impl RevokerLoop {
    /// Waits for nothing yet.
    pub(super) fn new(servers: Servers, view: Arc<NodeView>, minimum: Arc<ReadMinimum>) -> RevokerLoop {
        let (revoker, waiting, settling) = (Revoker::new(), HashMap::new(), Vec::new());
        RevokerLoop { servers, view, minimum, revoker, waiting, settling, connection: None }
    }

    /// Runs until nobody can send a request any more. Requests that were not taken are there for the next loop.
    pub(super) async fn run(mut self, requests: Arc<Mutex<mpsc::UnboundedReceiver<FleetRequest>>>) {
        let mut requests = requests.lock().await;
        loop {
            while let Ok(request) = requests.try_recv() {
                self.take(request).await;
            }
            self.settle().await;
            if let Some((era, since)) = self.view.now().era {
                self.revoker.know_era(era, since);
            }
            match self.revoker.next(clock::now()) {
                RevokerAction::Look => self.look().await,
                RevokerAction::Delete { id, beat, silence } => {
                    match self.execute(statements::delete(id, beat, silence.as_millis())).await {
                        Ok(_) => {
                            info!(node = %id, ?silence, "row of a silent node removed");
                            self.revoker.deleted();
                        }
                        Err(error) => self.fail(&error),
                    }
                }
                RevokerAction::WaitUntil(until) => tokio::select! {
                    request = requests.recv() => match request {
                        Some(request) => self.take(request).await,
                        None => return,
                    },
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    async fn take(&mut self, request: FleetRequest) {
        match request {
            FleetRequest::Wait(change, end) => self.begin(change, WaitEnd::Revocation(end)),
            FleetRequest::Settle(seen, end) => self.settling.push((seen, end)),
            FleetRequest::Run(sql, end) => {
                // Its caller may be gone.
                let _ = end.send(self.execute(sql).await);
            }
        }
    }

    fn begin(&mut self, change: CommittedChange, end: WaitEnd) {
        let CommittedChange { number, era, since } = change;
        self.waiting.insert(self.revoker.wait(since, number, era), end);
    }

    /// Makes the write of all that settle, and begins their wait.
    async fn settle(&mut self) {
        let settling = std::mem::take(&mut self.settling);
        if settling.is_empty() {
            return;
        }
        let written = self.execute(statements::settle()).await;
        let change = written.and_then(|rows| {
            let row = rows::only(&rows, "written")?;
            let (number, era) = (rows::number(row, "number")?, rows::era(row)?);
            Ok(CommittedChange { number, era, since: clock::now() })
        });
        match change {
            Ok(change) => {
                // Whoever settles raises epochs afterwards, and reads what was there.
                self.minimum.raise(change.number, change.era);
                let is_same = |seen: &Option<Era>| seen.is_none_or(|seen| seen == change.era);
                let (same, other): (Vec<_>, Vec<_>) =
                    settling.into_iter().partition(|(seen, _)| is_same(seen));
                for (_, end) in other {
                    let _ = end.send(Ok(RevocationVerdict::Unknown));
                }
                self.begin(change, WaitEnd::Settle(same.into_iter().map(|(_, end)| end).collect()));
            }
            Err(error) => settling.into_iter().for_each(|(_, end)| {
                let _ = end.send(Err(error.clone()));
            }),
        }
    }

    async fn look(&mut self) {
        let mut read = self.read_nodes().await;
        if read.as_ref().is_ok_and(|read| self.is_elsewhere(read)) {
            // Perhaps it is a primary that the others have left, and tells nothing about their changes.
            self.close();
            read = self.read_nodes().await;
        }
        let read = match read {
            Ok(read) => read,
            Err(error) => return self.fail(&error),
        };
        self.view.set_nodes(read.nodes.len());
        let ended = self.revoker.looked(clock::now(), &read, self.view.now().id);
        if self.is_elsewhere(&read) || ended.iter().any(|(_, verdict)| *verdict == RevocationVerdict::Unknown)
        {
            self.close();
        }
        self.end(ended);
    }

    async fn read_nodes(&mut self) -> Result<NodesRead, StoreError> {
        self.execute(statements::LOOK.to_owned()).await.and_then(|rows| rows::nodes(&rows))
    }

    /// Returns true if the node of this process is connected to another server, or was before a restart.
    fn is_elsewhere(&self, read: &NodesRead) -> bool {
        self.view.now().era.is_some_and(|(era, _)| era != read.era)
    }

    fn fail(&mut self, error: &StoreError) {
        debug!(%error, "looking at the nodes failed");
        let ended = self.revoker.failed(clock::now());
        self.end(ended);
    }

    fn end(&mut self, ended: Vec<(WaitId, RevocationVerdict)>) {
        for (id, verdict) in ended {
            // Their callers may be gone.
            match self.waiting.remove(&id) {
                Some(WaitEnd::Revocation(end)) => drop(end.send(verdict)),
                Some(WaitEnd::Settle(ends)) => ends.into_iter().for_each(|end| drop(end.send(Ok(verdict)))),
                None => {}
            }
        }
    }

    /// Runs a text of statements, a second time if the connection was lost while nobody needed it. All texts may run twice.
    async fn execute(&mut self, sql: String) -> Result<Vec<PgRow>, StoreError> {
        if self.connection.is_some()
            && let Ok(rows) = self.attempt(sql.clone()).await
        {
            return Ok(rows);
        }
        self.attempt(sql).await
    }

    async fn attempt(&mut self, sql: String) -> Result<Vec<PgRow>, StoreError> {
        let limit = self.view.now().terms.trust();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.servers.connect(limit).await?,
        };
        let ran = timeout(limit, rows::run(&mut connection, sql, limit)).await;
        let ran = ran.unwrap_or_else(|_| Err(late(limit)));
        match ran {
            Ok(rows) => {
                self.connection = Some(connection);
                Ok(rows)
            }
            Err(error) => {
                self.servers.skip();
                Err(error)
            }
        }
    }

    fn close(&mut self) {
        if self.connection.take().is_some() {
            self.servers.skip();
        }
    }
}
