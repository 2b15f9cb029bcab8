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
//!
//! A socket, or the directory of all, may be deleted while a gateway runs. The sender finds out by a roll call, waits for
//! the gateway to listen again, and tells it (`roll_call`). The database itself may be replaced: then a gateway decides nothing
//! any more ([`Store::verify_files`]), and does not acknowledge a notice of a change in another file.

mod ledger;
mod nodes;
mod nodes_folder;
pub(super) mod notice;
mod roll_call;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

pub use self::nodes::SocketNode;

use self::ledger::Ledger;
use self::nodes_folder::NodesFolder;
use self::notice::{ACKNOWLEDGED, ANOTHER_FILE, LONGEST_NOTICE, LOOK, Notice, RETRY, tell};
use self::roll_call::{MemberSeat, RollCall};
use super::unconfirmed::Unconfirmed;
use crate::domain::Canonical;
use crate::state::Epochs;
use crate::state::audit::News;
use crate::state::file_access::{self, FileUse};
use crate::state::store::{Change, ChangePosition, FileId, Store, StoreError};

/// The interval at which a listener looks for changes without a notice, and the longest wait for an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Timing {
    look: Duration,
    patience: Duration,
}

const TIMING: Timing = Timing { look: LOOK, patience: Duration::from_secs(5) };

/// The longest time that the notice of a committed change may be under way before it counts as missing.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// The interval at which the same failure to listen is logged.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// The membership among the processes on the same store. It stops listening when dropped, so it must be kept as long as
/// cached data of the store is in use.
#[derive(Debug)]
pub struct SocketCluster {
    place: NodesFolder,
    timing: Timing,
    roll: RollCall,
    database: FileId,
    /// True if there was no directory of sockets beside a database that is not new: somebody has removed it.
    was_removed: bool,
    member: Option<SocketMember>,
    store: Store,
}

/// A process that listens.
#[derive(Debug)]
struct SocketMember {
    shared: Arc<MemberShared>,
    /// Dropped with the cluster, which ends the task.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct MemberShared {
    place: NodesFolder,
    store: Store,
    epochs: Arc<Epochs>,
    ledger: Ledger,
    seat: MemberSeat,
    /// The name of the own socket.
    name: Mutex<String>,
}

impl SocketCluster {
    /// Joins as a process that caches what it reads. Must be called before the first read that is cached.
    ///
    /// # Errors
    /// The directory `DATABASE.nodes` cannot be used, or the store is unavailable.
    pub(super) async fn join(store: &Store, epochs: Arc<Epochs>) -> Result<SocketCluster, StoreError> {
        SocketCluster::join_with(store, epochs, TIMING).await
    }

    /// Joins as a process that changes the store and caches nothing, such as the command line.
    ///
    /// # Errors
    /// The directory `DATABASE.nodes` cannot be used.
    pub(super) fn visit(store: &Store) -> Result<SocketCluster, StoreError> {
        let (path, database) = file(store)?;
        let place = NodesFolder::beside(path).map_err(StoreError::Unavailable)?;
        let was_removed = place.open().map_err(StoreError::Unavailable)?.is_new && !store.is_new();
        let roll = open_roll(path, database)?;
        let store = store.clone();
        Ok(SocketCluster { place, timing: TIMING, roll, database, was_removed, member: None, store })
    }

    async fn join_with(
        store: &Store,
        epochs: Arc<Epochs>,
        timing: Timing,
    ) -> Result<SocketCluster, StoreError> {
        let (path, database) = file(store)?;
        let place = NodesFolder::beside(path).map_err(StoreError::Unavailable)?;
        let folder = place.open().map_err(StoreError::Unavailable)?;
        let unusable =
            |error: io::Error| StoreError::Unavailable(format!("{}: {error}", place.path().display()));
        let seat = MemberSeat::random().map_err(unusable)?;
        let (listener, name) = folder.listen(seat).map_err(unusable)?;
        let roll = open_roll(path, database)?;
        roll.enroll(seat, timing.patience)
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        // Nothing is decided any more then, not even by the cache.
        store.on_replaced({
            let epochs = epochs.clone();
            move || epochs.raise_all()
        });
        let ledger = Ledger::new(store.changes().await?);
        let name = Mutex::new(name);
        let store = store.clone();
        let shared = MemberShared { place: place.clone(), store: store.clone(), epochs, ledger, seat, name };
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(shared.clone(), listener, timing));
        let member = Some(SocketMember { shared, tasks: Mutex::new(tasks) });
        Ok(SocketCluster { place, timing, roll, database, was_removed: false, member, store })
    }

    /// Tells every other process of a committed change, and returns when it is in effect in each of them. `news` is for their
    /// audit trails. Returns the number of gateways, this one included.
    ///
    /// # Errors
    /// [`Unconfirmed`] if a process has not acknowledged within 6 seconds. Processes that are gone are not waited for.
    pub(super) async fn announce(&self, change: &Change, news: Option<News>) -> Result<usize, Unconfirmed> {
        let ChangePosition::Counted { after, upto } = change.position else {
            return Err(Unconfirmed::Silent("the change is not one of this file".to_owned()));
        };
        if let Some(member) = &self.member {
            member.shared.note(after, upto);
        }
        let &Change { name, ends_login, .. } = change;
        let database = Some(self.database);
        let name = name.as_str().into();
        let notice = Notice { after, upto, name, ends_login, database, news, ..Notice::default() };
        let others = self.send(&notice).await?;
        Ok(others + usize::from(self.member.is_some()))
    }

    /// Waits until every process, this one included, knows all changes that the store holds by now.
    ///
    /// # Errors
    /// As [`SocketCluster::announce`], and if the store is unavailable.
    pub(super) async fn settle(&self) -> Result<(), Unconfirmed> {
        let upto = self.store.changes().await.map_err(|error| Unconfirmed::Silent(error.to_string()))?;
        let notice = Notice { upto, database: Some(self.database), settles: true, ..Notice::default() };
        let own = async {
            if let Some(member) = &self.member {
                member.shared.settle(upto).await;
            }
        };
        tokio::join!(own, self.send(&notice)).1.map(drop)
    }

    /// Sends a notice to every other process, and returns when each has acknowledged it, with their number.
    async fn send(&self, notice: &Notice) -> Result<usize, Unconfirmed> {
        let own = self.member.as_ref().map(|member| member.shared.name.lock().clone());
        let mut notice = serde_json::to_vec(notice).map_err(|e| Unconfirmed::Silent(e.to_string()))?;
        notice.push(b'\n');
        // A process that does not answer in time is named, before the whole is given up.
        let patience = self.timing.patience * 6 / 5;
        let told = timeout(patience, self.tell_all(notice.into(), own)).await;
        told.unwrap_or_else(|_| {
            Err(Unconfirmed::Silent(match self.roll.others() {
                Err(foreign) => foreign.to_owned(),
                Ok(_) => format!(
                    "it has the database open, and no socket of it answers in {}: restart it",
                    self.place.path().display()
                ),
            }))
        })
    }

    /// Tells each process that has a socket, until nobody is left who was not told.
    async fn tell_all(&self, notice: Arc<[u8]>, own: Option<String>) -> Result<usize, Unconfirmed> {
        let (mut told, mut seats) = (HashSet::new(), HashSet::new());
        let (mut pause, mut was_removed) = (Duration::from_millis(1), self.was_removed);
        loop {
            let folder = Arc::new(self.place.open().map_err(Unconfirmed::Silent)?);
            let names = folder.names().map_err(|error| {
                Unconfirmed::Silent(format!("{} cannot be read: {error}", self.place.path().display()))
            })?;
            let mut tellings = JoinSet::new();
            for name in names.into_iter().filter(|name| own.as_ref() != Some(name) && !told.contains(name)) {
                let told = tell(folder.clone(), name.clone(), notice.clone(), self.timing.patience);
                tellings.spawn(async move { told.await.map(|is_told| (name, is_told)) });
            }
            for result in tellings.join_all().await {
                if let (name, true) = result? {
                    seats.extend(nodes_folder::seat_of(&name));
                    told.insert(name);
                }
            }
            if std::mem::take(&mut was_removed) {
                // Perhaps together with the database. A gateway on the old file notices that at its next look.
                sleep(2 * self.timing.look).await;
                continue;
            }
            if self.roll.others().is_ok_and(|others| others.iter().all(|seat| seats.contains(seat))) {
                return Ok(told.len());
            }
            sleep(pause).await;
            pause = (2 * pause).min(RETRY);
        }
    }

    /// Stops listening, as dropping does. May be called once no cached data of the store is in use any more.
    pub(super) fn leave(&self) {
        if let Some(member) = &self.member {
            member.tasks.lock().abort_all();
            member.shared.place.remove(&member.shared.name.lock());
            self.roll.leave();
        }
    }
}

impl MemberShared {
    /// Notes the changes from `after + 1` to `upto`.
    fn note(&self, after: i64, upto: i64) {
        if self.ledger.note(after, upto, || self.epochs.raise_all()) {
            info!("number of a change was given before: all cached data is dropped");
        }
    }

    /// Makes the changes up to `upto` known. The notices of the last ones may be under way, and are waited for briefly.
    /// A process that died has sent none, so all cached data is dropped then.
    async fn settle(&self, upto: i64) {
        if timeout(UNDER_WAY, self.ledger.await_known(upto)).await.is_err() {
            info!("store changed without a notice: all cached data is dropped");
            self.epochs.raise_all();
            self.ledger.skip(upto);
        }
    }
}

impl Drop for SocketCluster {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Checks that the directory of sockets beside a database can be used, and changes nothing.
///
/// # Errors
/// The text for the operator.
pub fn check_folder(database: &Path) -> Result<(), String> {
    NodesFolder::beside(database)?.inspect()
}

/// Opens the lock on the database file.
fn open_roll(path: &Path, id: FileId) -> Result<RollCall, StoreError> {
    RollCall::open(path, id).map_err(|error| {
        let reason = file_access::explain(path, FileUse::Own, &error);
        StoreError::Unavailable(format!("{}: {reason}", path.display()))
    })
}

/// The database file and its ID.
fn file(store: &Store) -> Result<(&Path, FileId), StoreError> {
    store.file().ok_or_else(|| StoreError::Unavailable("the store is not a file".to_owned()))
}

/// Listens, and watches the store and the own socket.
async fn watch(shared: Arc<MemberShared>, listener: UnixListener, timing: Timing) {
    let mut listening = JoinSet::new();
    listening.spawn(listen(shared.clone(), listener, timing));
    let mut ticks = interval(timing.look);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_settled, mut failed) = (false, None);
    loop {
        ticks.tick().await;
        while listening.try_join_next().is_some() {}
        let before = shared.ledger.known();
        // The store logs its faults itself.
        match shared.store.changes().await {
            Ok(number) if shared.ledger.look(before, number, || shared.epochs.raise_all()) => {
                info!("store changed without a notice: all cached data is dropped");
            }
            Err(StoreError::Replaced(_)) if !is_settled => is_settled = shared.store.settle().await,
            Ok(_) => is_settled = false,
            Err(_) => {}
        }
        let name = shared.name.lock().clone();
        if !shared.place.has(&name) {
            let opened = shared.place.open();
            match opened.and_then(|folder| folder.listen(shared.seat).map_err(|error| error.to_string())) {
                Ok((listener, name)) => {
                    warn!("socket beside the database was removed: listening on a new one");
                    *shared.name.lock() = name;
                    failed = None;
                    // Nobody gets to the old one any more.
                    listening.abort_all();
                    listening.spawn(listen(shared.clone(), listener, timing));
                }
                Err(_) if failed.is_some_and(|at: Instant| at.elapsed() < COMPLAINTS) => {}
                Err(error) => {
                    failed = Some(Instant::now());
                    warn!(error, "listening beside the database failed");
                }
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
                    peers.spawn(async move { hear(&shared, stream, timing.patience).await; });
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

/// Hears one notice and acknowledges it.
async fn hear(shared: &MemberShared, stream: UnixStream, patience: Duration) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_NOTICE));
    let mut text = Vec::new();
    if !matches!(timeout(patience, reader.read_until(b'\n', &mut text)).await, Ok(Ok(_))) {
        return;
    }
    let notice: Option<Notice> = serde_json::from_slice(&text).ok();
    if notice
        .as_ref()
        .and_then(|notice| notice.database)
        .is_some_and(|id| shared.store.file().is_none_or(|(_, own)| own != id))
    {
        // If that finds the own file replaced, nothing is decided any more.
        let _ = shared.store.verify_files();
        let _ = timeout(patience, writer.write_all(ANOTHER_FILE)).await;
        return;
    }
    if notice.as_ref().is_some_and(|notice| notice.asks) {
        let _ = timeout(patience, writer.write_all(ACKNOWLEDGED)).await;
        return;
    }
    if let Some(notice) = notice.as_ref().filter(|notice| notice.settles) {
        shared.settle(notice.upto).await;
        let _ = timeout(patience, writer.write_all(ACKNOWLEDGED)).await;
        return;
    }
    match notice.and_then(|notice| Some((Canonical::of(notice.name.as_bytes())?, notice))) {
        Some((name, notice)) => {
            match notice.ends_login {
                true => shared.epochs.raise_and_forget(&name),
                false => shared.epochs.raise(&name),
            }
            shared.note(notice.after, notice.upto);
            if let Some(news) = notice.news {
                news.write();
            }
        }
        // Perhaps it comes from another version: something has changed.
        None => shared.epochs.raise_all(),
    }
    // If the peer does not receive it, the change is unconfirmed to it.
    let _ = timeout(patience, writer.write_all(ACKNOWLEDGED)).await;
}

#[cfg(test)]
mod tests;
