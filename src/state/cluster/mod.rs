//! The other processes on the same store, and what they have to be told.
//!
//! A process that remembers what it read (a gateway) listens on a unix socket beside the database. A process that
//! changes the store (a gateway, the command line) connects to each such socket after its commit, tells whose state
//! changed, and answers its caller once every one has acknowledged. Who starts listening too late to be told
//! has read nothing before the change either.
//!
//! A process that dies between commit and telling has answered nobody; all the same its change must not stay unseen:
//! every listener looks at the store's number of changes a few times a second and forgets everything it has read where it
//! finds one that nobody told it of.

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

/// A notice is a few hundred bytes; what is longer is none.
const LONGEST_NOTICE: u64 = 4096;
const ACKNOWLEDGED: &[u8] = b"ok\n";
/// Between two attempts to reach a process that has too much to do to be connected to, or that has just gone.
const RETRY: Duration = Duration::from_millis(20);

/// The interval at which a listener looks for unannounced changes, and the longest wait for an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Timing {
    look: Duration,
    patience: Duration,
}

const TIMING: Timing = Timing { look: Duration::from_millis(250), patience: Duration::from_secs(5) };

/// Our place among the processes on the same store. Dropped, it listens no more: keep it as long as anything that was
/// read from the store is believed.
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
    /// Ends with the cluster.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct MemberShared {
    place: NodesFolder,
    epochs: Arc<Epochs>,
    ledger: Ledger,
    /// The name of this process's own socket.
    name: Mutex<String>,
}

/// At least one running process has not acknowledged a change: it is written, and may not be in force everywhere yet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the change is written, but a running gateway has not confirmed it: {0}")]
pub struct Unconfirmed(String);

/// The message to the socket of a listener.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    after: i64,
    upto: i64,
    name: String,
    /// As in [`Change`].
    #[serde(default)]
    ends_login: bool,
    /// For the listener's audit trail, where the sender has none that lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    news: Option<News>,
}

impl Cluster {
    /// Joins as a process that remembers what it reads. To be done before the first read that is remembered.
    ///
    /// # Errors
    /// The folder `DATABASE.nodes` can't be used, or the store can't be asked.
    pub async fn join(store: &Store, epochs: Arc<Epochs>) -> Result<Cluster, StoreError> {
        Cluster::join_with(store, epochs, TIMING).await
    }

    /// Comes by as a process that changes the store and remembers nothing, such as the command line.
    ///
    /// # Errors
    /// The folder `DATABASE.nodes` can't be used.
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

    /// Listens no more. To be done once nothing that was read from the store is believed any more; dropping does it as well.
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

/// Tells one process, again where it goes away in the middle: then it either is gone for good, or listens anew.
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
                    // It has left.
                    io::ErrorKind::NotFound => return Ok(()),
                    // It has died and left its socket behind.
                    io::ErrorKind::ConnectionRefused => {
                        folder.remove(&name);
                        return Ok(());
                    }
                    // It has too much to do, or has gone in the middle.
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

/// Listens, and looks after the store and after our own socket.
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
                    info!("the store was changed without notice: everything is read anew");
                    shared.epochs.raise_all();
                }
                reachable = true;
            }
            Err(error) => {
                if reachable {
                    warn!(%error, "can't see whether the store was changed by others");
                }
                reachable = false;
            }
        }
        let name = shared.name.lock().clone();
        if !shared.place.has(&name) {
            match shared.place.open().and_then(|folder| folder.listen()) {
                Ok((listener, name)) => {
                    warn!("our socket beside the database was removed: listening on a new one");
                    *shared.name.lock() = name;
                    listening.spawn(listen(shared.clone(), listener, timing));
                }
                Err(error) => warn!(%error, "can't listen beside the database"),
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
                    // A peer that says nothing gets no answer, and counts us as unconfirmed.
                    peers.spawn(async move { timeout(timing.patience, hear(&shared, stream)).await.ok(); });
                }
                Err(error) => {
                    // Out of file handles, say: those who tell wait for us, and go without a confirmation.
                    if std::mem::take(&mut able) {
                        warn!(%error, "can't be told of changes");
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
        // Out of another version, perhaps: something has changed.
        None => shared.epochs.raise_all(),
    }
    // Where the peer doesn't hear it, the peer has nothing confirmed.
    let _ = writer.write_all(ACKNOWLEDGED).await;
}

fn unusable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the folder of sockets beside the database: {error}"))
}

#[cfg(test)]
mod tests;
