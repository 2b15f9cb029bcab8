//! The other processes on the same store, and the notices of changes between them.
//!
//! A process that caches data of the store (a gateway) listens on a unix socket beside the database. A process that changes
//! the store (a gateway, the command line) connects to each such socket after its commit, sends a notice of the change, and
//! answers its caller once every process has acknowledged. A process that starts to listen too late for a notice has read
//! nothing before the change.
//!
//! A process that dies between commit and notice has answered no caller. Its change must be seen nevertheless: every
//! listener reads the store's number of changes a few times a second, and drops all cached data if there is a change
//! without a notice.

mod ledger;
mod nodes_folder;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use self::ledger::Ledger;
use self::nodes_folder::{NodesFolder, OpenFolder};
use super::Epochs;
use super::audit::News;
use super::store::{Change, Store, StoreError};
use crate::domain::Canonical;

/// The most bytes of a notice. A real one has a few hundred.
const LONGEST_NOTICE: u64 = 4096;
const ACKNOWLEDGED: &[u8] = b"ok\n";
/// The pause between two attempts to reach a process that is too busy to accept, or that has just ended.
const RETRY: Duration = Duration::from_millis(20);

/// The interval at which a listener looks for changes without a notice, and the longest wait for an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Timing {
    look: Duration,
    patience: Duration,
}

const TIMING: Timing = Timing { look: Duration::from_millis(250), patience: Duration::from_secs(5) };

/// The membership among the processes on the same store. It stops listening when dropped, so it must be kept as long as
/// cached data of the store is in use.
#[derive(Debug)]
pub struct Cluster {
    place: NodesFolder,
    timing: Timing,
    member: Option<Member>,
}

/// A process that listens.
#[derive(Debug)]
struct Member {
    shared: Arc<MemberShared>,
    /// Dropped with the cluster, which ends the task.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct MemberShared {
    place: NodesFolder,
    epochs: Arc<Epochs>,
    ledger: Ledger,
    /// The name of the own socket.
    name: Mutex<String>,
}

/// At least one running process has not acknowledged a change. The change is written, and may not be in effect everywhere yet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the change is written, but a running gateway has not confirmed it: {0}")]
pub struct Unconfirmed(String);

/// The notice of a change, as it is sent to the sockets.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    after: i64,
    upto: i64,
    name: String,
    /// As in [`Change`].
    #[serde(default)]
    ends_login: bool,
    /// The line for the audit trail of the listener, if the sender has no lasting one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    news: Option<News>,
}

impl Cluster {
    /// Joins as a process that caches what it reads. Must be called before the first read that is cached.
    ///
    /// # Errors
    /// The directory `DATABASE.nodes` cannot be used, or the store is unavailable.
    pub async fn join(store: &Store, epochs: Arc<Epochs>) -> Result<Cluster, StoreError> {
        Cluster::join_with(store, epochs, TIMING).await
    }

    /// Joins as a process that changes the store and caches nothing, such as the command line.
    ///
    /// # Errors
    /// The directory `DATABASE.nodes` cannot be used.
    pub fn visit(store: &Store) -> Result<Cluster, StoreError> {
        let place = NodesFolder::beside(store.path()).map_err(|e| unusable(&e))?;
        place.open().map_err(|e| unusable(&e))?;
        Ok(Cluster { place, timing: TIMING, member: None })
    }

    async fn join_with(store: &Store, epochs: Arc<Epochs>, timing: Timing) -> Result<Cluster, StoreError> {
        let place = NodesFolder::beside(store.path()).map_err(|e| unusable(&e))?;
        let (listener, name) = place.open().and_then(|f| f.listen()).map_err(|e| unusable(&e))?;
        let ledger = Ledger::new(store.changes().await?);
        let shared = Arc::new(MemberShared { place: place.clone(), epochs, ledger, name: Mutex::new(name) });
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(shared.clone(), store.clone(), listener, timing));
        Ok(Cluster { place, timing, member: Some(Member { shared, tasks: Mutex::new(tasks) }) })
    }

    /// Tells every other process of a committed change, and returns when it is in effect in each of them. `news` is for their
    /// audit trails.
    ///
    /// # Errors
    /// [`Unconfirmed`] if a process has not acknowledged within 5 seconds. Processes that are gone are not waited for.
    pub async fn announce(&self, change: &Change, news: Option<News>) -> Result<(), Unconfirmed> {
        let own = self.member.as_ref().map(|member| {
            member.shared.ledger.note(change.after, change.upto);
            member.shared.name.lock().clone()
        });
        let unconfirmed = |e: io::Error| Unconfirmed(e.to_string());
        let folder = Arc::new(self.place.open().map_err(unconfirmed)?);
        let &Change { after, upto, name, ends_login } = change;
        let notice = Notice { after, upto, name: name.as_str().into(), ends_login, news };
        let notice: Arc<[u8]> = serde_json::to_vec(&notice).map_err(|e| Unconfirmed(e.to_string()))?.into();

        let mut tellings = JoinSet::new();
        for name in folder.names().map_err(unconfirmed)? {
            if own.as_ref() != Some(&name) {
                tellings.spawn(tell(folder.clone(), name, notice.clone(), self.timing.patience));
            }
        }
        let told = tellings.join_all().await;
        told.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    /// Stops listening, as dropping does. May be called once no cached data of the store is in use any more.
    pub fn leave(&self) {
        if let Some(member) = &self.member {
            member.tasks.lock().abort_all();
            member.shared.place.remove(&member.shared.name.lock());
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Sends a notice to one process. If the process disappears in the middle, tries again: it has either ended, or listens on
/// a new socket.
async fn tell(
    folder: Arc<OpenFolder>,
    name: String,
    notice: Arc<[u8]>,
    patience: Duration,
) -> Result<(), Unconfirmed> {
    let told = timeout(patience, async {
        loop {
            match exchange(&folder, &name, &notice).await {
                Ok(()) => return Ok(()),
                Err(e) => match e.kind() {
                    // It has ended.
                    io::ErrorKind::NotFound => return Ok(()),
                    // It has crashed and left its socket behind.
                    io::ErrorKind::ConnectionRefused => {
                        folder.remove(&name);
                        return Ok(());
                    }
                    // It is too busy, or has ended in the middle.
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe => sleep(RETRY).await,
                    _ => return Err(e),
                },
            }
        }
    });
    match told.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(Unconfirmed(format!("{name}: {e}"))),
        Err(_) => Err(Unconfirmed(format!("{name}: no answer within {} s", patience.as_secs_f32()))),
    }
}

async fn exchange(folder: &OpenFolder, name: &str, notice: &[u8]) -> io::Result<()> {
    let mut stream = folder.connect(name).await?;
    stream.write_all(notice).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.take(ACKNOWLEDGED.len() as u64).read_to_end(&mut answer).await?;
    if answer == ACKNOWLEDGED { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Listens, and watches the store and the own socket.
async fn watch(shared: Arc<MemberShared>, store: Store, listener: UnixListener, timing: Timing) {
    let mut listening = JoinSet::new();
    listening.spawn(listen(shared.clone(), listener, timing));
    let mut ticks = interval(timing.look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reachable = true;
    loop {
        ticks.tick().await;
        let before = shared.ledger.known();
        match store.changes().await {
            Ok(number) => {
                if shared.ledger.look(before, number) {
                    info!("store changed without a notice: all cached data is dropped");
                    shared.epochs.raise_all();
                }
                reachable = true;
            }
            Err(error) => {
                if reachable {
                    warn!(%error, "reading the number of changes of the store failed");
                }
                reachable = false;
            }
        }
        let name = shared.name.lock().clone();
        if !shared.place.has(&name) {
            match shared.place.open().and_then(|folder| folder.listen()) {
                Ok((listener, name)) => {
                    warn!("socket beside the database was removed: listening on a new one");
                    *shared.name.lock() = name;
                    listening.spawn(listen(shared.clone(), listener, timing));
                }
                Err(error) => warn!(%error, "listening beside the database failed"),
            }
        }
    }
}

async fn listen(shared: Arc<MemberShared>, listener: UnixListener, timing: Timing) {
    let mut peers = JoinSet::new();
    let mut able = true;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    able = true;
                    let shared = shared.clone();
                    // A peer that sends nothing gets no acknowledgement.
                    peers.spawn(async move { timeout(timing.patience, hear(&shared, stream)).await.ok(); });
                }
                Err(error) => {
                    // For example, there are no file handles left. Senders of notices wait, and get no acknowledgement.
                    if std::mem::take(&mut able) {
                        warn!(%error, "accepting notices of changes failed");
                    }
                    sleep(RETRY).await;
                }
            },
            Some(_) = peers.join_next() => {}
        }
    }
}

async fn hear(shared: &MemberShared, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut text = Vec::new();
    if reader.take(LONGEST_NOTICE).read_to_end(&mut text).await.is_err() {
        return;
    }
    let notice: Option<Notice> = serde_json::from_slice(&text).ok();
    match notice.and_then(|notice| Some((Canonical::of(notice.name.as_bytes())?, notice))) {
        Some((name, notice)) => {
            match notice.ends_login {
                true => shared.epochs.raise_and_forget(&name),
                false => shared.epochs.raise(&name),
            }
            shared.ledger.note(notice.after, notice.upto);
            if let Some(news) = notice.news {
                news.write();
            }
        }
        // Perhaps it comes from another version: something has changed.
        None => shared.epochs.raise_all(),
    }
    // If the peer does not receive it, the change is unconfirmed to it.
    let _ = writer.write_all(ACKNOWLEDGED).await;
}

fn unusable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the folder of sockets beside the database: {error}"))
}

#[cfg(test)]
mod tests;
