//! Notices of changes, and how they are sent to a process.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::nodes_folder::{NodesFolder, OpenFolder, seat_of};
use super::roll_call::RollCall;
use crate::state::audit::News;
use crate::state::cluster::unconfirmed::Unconfirmed;
use crate::state::store::{FileId, StoreError};

/// The most bytes of a notice. A real one has a few hundred.
pub(super) const LONGEST_NOTICE: u64 = 4096;
pub(super) const ACKNOWLEDGED: &[u8] = b"ok\n";
/// The answer to a notice of a change in a file that is not the listener's.
pub(super) const ANOTHER_FILE: &[u8] = b"no\n";
/// The pause between two attempts to reach a process that is too busy to accept, or that has just ended.
pub(super) const RETRY: Duration = Duration::from_millis(20);
/// The time after which a listener that does not answer is taken for one of an earlier version, which waits for the end of
/// the notice.
const GRACE: Duration = Duration::from_millis(500);

/// The interval at which a listener looks for changes without a notice, and for its socket.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// The reason for which a process cannot be told of a change.
const OTHER_FILE: &str = "has another file open as its database, which was replaced: restart it";

/// The notice of a change, as it is sent to the sockets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) after: i64,
    pub(super) upto: i64,
    pub(super) name: String,
    /// The same as in [`crate::state::store::Change`].
    #[serde(default)]
    pub(super) ends_login: bool,
    /// The file that was changed.
    #[serde(default)]
    pub(super) database: Option<FileId>,
    /// True if nothing has changed, and the sender only asks if the listener has the same file open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) asks: bool,
    /// True if the listener has to make sure that it knows all changes up to `upto`. An earlier version, which does not know this
    /// field, takes the empty name for a change of everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) settles: bool,
    /// The line for the audit trail of the listener, if the sender has no lasting one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) news: Option<News>,
}

/// Waits if the directory of sockets beside a database is missing or new. Perhaps it was moved together with the database, and a gateway
/// that has the old file open listens again at its next look.
///
/// # Errors
/// The directory `DATABASE.nodes` cannot be used.
pub async fn await_running(path: &Path) -> Result<(), StoreError> {
    let (true, Ok(place)) = (path.exists(), NodesFolder::beside(path)) else { return Ok(()) };
    let settling = 2 * LOOK;
    if place.open().map_err(StoreError::Unavailable)?.is_fresh(settling) {
        sleep(settling).await;
    }
    Ok(())
}

/// Checks that each running gateway beside a database has that file open, before it is opened. Otherwise it was replaced, and SQLite
/// would take the write-ahead log of the replaced one for its own.
///
/// # Errors
/// [`StoreError::Replaced`] if a gateway has another file open. It decides nothing from then on.
pub async fn ask_running(path: &Path) -> Result<(), StoreError> {
    let (Ok(metadata), Ok(place)) = (path.metadata(), NodesFolder::beside(path)) else { return Ok(()) };
    if place.path().symlink_metadata().is_err() {
        return Ok(());
    }
    let folder = Arc::new(place.open().map_err(StoreError::Unavailable)?);
    let database = Some((metadata.dev(), metadata.ino()));
    let notice = Notice { database, asks: true, ..Notice::default() };
    let mut notice = serde_json::to_vec(&notice).map_err(|e| StoreError::Unavailable(e.to_string()))?;
    notice.push(b'\n');
    let mut askings = JoinSet::new();
    for name in folder.names().unwrap_or_default() {
        let (folder, notice, path) = (folder.clone(), notice.clone(), path.to_path_buf());
        let id = (metadata.dev(), metadata.ino());
        askings.spawn(async move {
            let reason = match timeout(GRACE / 2, exchange(&folder, &name, &notice)).await {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Other => error.to_string(),
                // One that has this file open has its say at the change.
                Err(_) if !has_seat_in(&path, id, &name) => format!("it does not answer, and {OTHER_FILE}"),
                _ => return None,
            };
            Some(format!("a running gateway, {name}: {reason}"))
        });
    }
    match askings.join_all().await.into_iter().flatten().next() {
        Some(reason) => Err(StoreError::Replaced(format!("{reason}; nothing was changed"))),
        None => Ok(()),
    }
}

/// Returns true if the listener with that name has this file open, as far as can be told.
fn has_seat_in(database: &Path, id: FileId, name: &str) -> bool {
    let Some(seat) = seat_of(name) else { return true };
    let others = RollCall::open(database, id).map(|roll| roll.others());
    others.is_ok_and(|others| others.map_or(true, |others| others.contains(&seat)))
}

/// Sends a notice to one process, and returns true if it has acknowledged it, false if nobody listens. If the process disappears in
/// the middle, tries again: it has either ended, or listens on a new socket.
pub(super) async fn tell(
    folder: Arc<OpenFolder>,
    name: String,
    notice: Arc<[u8]>,
    patience: Duration,
) -> Result<bool, Unconfirmed> {
    let told = timeout(patience, async {
        loop {
            match exchange(&folder, &name, &notice).await {
                Ok(()) => return Ok(true),
                Err(e) => match e.kind() {
                    // It has ended, or its socket was removed.
                    io::ErrorKind::NotFound => return Ok(false),
                    // It has crashed and left its socket behind.
                    io::ErrorKind::ConnectionRefused => {
                        folder.remove(&name);
                        return Ok(false);
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
        Ok(Ok(is_told)) => Ok(is_told),
        Ok(Err(e)) => Err(Unconfirmed::Silent(format!("{name}: {e}"))),
        Err(_) => Err(Unconfirmed::Silent(format!("{name}: no answer within {} s", patience.as_secs_f32()))),
    }
}

pub(super) async fn exchange(folder: &OpenFolder, name: &str, notice: &[u8]) -> io::Result<()> {
    let mut stream = folder.connect(name).await?;
    stream.write_all(notice).await?;
    let mut answer = [0; ACKNOWLEDGED.len()];
    let answered = timeout(GRACE, stream.read_exact(&mut answer)).await;
    match answered {
        Ok(read) => read?,
        Err(_) => {
            stream.shutdown().await?;
            stream.read_exact(&mut answer).await?
        }
    };
    match &answer[..] {
        ACKNOWLEDGED => Ok(()),
        ANOTHER_FILE => Err(io::Error::other(format!("it {OTHER_FILE}"))),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
