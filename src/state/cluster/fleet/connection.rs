//! The connection of a node to the primary, over which it takes part in the cluster, and hears of changes.

use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgListener, PgRow};
use tokio::time::timeout;

use super::rows::{era, only, run};
use super::statements;
use crate::domain::fleet::{Bell, Era};
use crate::state::store::StoreError;
use crate::state::store::postgres::{Servers, unavailable};

/// The longest time that a notification of one's own takes, if notifications arrive at all.
const PROBE: Duration = Duration::from_millis(250);

/// The open connection. It is dropped at the first failure, and never opened again silently.
pub(super) struct FleetConnection {
    listener: PgListener,
    bell: Bell,
}

impl FleetConnection {
    /// Connects to the primary, listens for changes, and probes if notifications arrive. Each step takes `step` at most.
    ///
    /// # Errors
    /// [`StoreError`], if no server is reached that takes changes, or it has no schema yet.
    pub(super) async fn open(
        servers: &Servers,
        step: Duration,
    ) -> Result<(FleetConnection, Era), StoreError> {
        let (listener, mut other) = servers.listen(step).await?;
        let mut connection = FleetConnection { listener, bell: Bell::Silent };
        let opened = timeout(step, async {
            let rows = connection.run(statements::ERA.to_owned(), step).await?;
            let era = era(only(&rows, "era")?)?;
            connection.bell = connection.probe(&mut other, step).await?;
            // Behind a pooler, the notifications would reach other clients, which do not expect them.
            if connection.bell == Bell::Rings {
                connection.listen(statements::CHANNEL).await?;
            }
            Ok(era)
        });
        let era = opened.await.unwrap_or_else(|_| Err(late(step)))?;
        let _ = timeout(step, other.close()).await;
        Ok((connection, era))
    }

    /// The arrival of notifications, as it was found when the connection was opened.
    pub(super) fn bell(&self) -> Bell {
        self.bell
    }

    /// Runs a text of statements, each of which may take this long.
    pub(super) async fn run(&mut self, sql: String, limit: Duration) -> Result<Vec<PgRow>, StoreError> {
        run(&mut self.listener, sql, limit).await
    }

    /// Waits for a notification.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the connection is lost.
    pub(super) async fn rung(&mut self) -> Result<(), StoreError> {
        match self.listener.try_recv().await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(StoreError::Unavailable("PostgreSQL has closed the connection".to_owned())),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Takes all notifications that have arrived. Returns true if there were any.
    pub(super) fn drain(&mut self) -> bool {
        std::iter::from_fn(|| self.listener.next_buffered()).count() > 0
    }

    async fn listen(&mut self, channel: &str) -> Result<(), StoreError> {
        self.listener.listen(channel).await.map_err(unavailable)
    }

    /// Sends a notification over another connection. Over the same one, it would also arrive if a pooler is in between.
    async fn probe(&mut self, other: &mut sqlx::PgConnection, step: Duration) -> Result<Bell, StoreError> {
        let mut random = [0; 8];
        // Without random numbers, two nodes hear each other's probes, which do arrive then.
        let _ = getrandom::fill(&mut random);
        let channel = format!("gatepost_probe_{:016x}", u64::from_ne_bytes(random));
        self.listen(&channel).await?;
        // A pooler may have given it the very connection that listens, and then it gets the notification itself, which is an error.
        if run(other, statements::notify(&channel), step).await.is_err() {
            return Ok(Bell::Silent);
        }
        let arrived = timeout(PROBE, async {
            loop {
                match self.listener.try_recv().await {
                    Ok(Some(notification)) if notification.channel() == channel => return Ok(()),
                    Ok(Some(_)) => {}
                    Ok(None) => return Err(late(PROBE)),
                    Err(error) => return Err(unavailable(error)),
                }
            }
        });
        let bell = match arrived.await {
            Ok(arrived) => arrived.map(|()| Bell::Rings)?,
            Err(_) => Bell::Silent,
        };
        self.listener.unlisten(&channel).await.map_err(unavailable)?;
        Ok(bell)
    }
}

/// The error of a step that took too long.
pub(super) fn late(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!("no answer within {limit:?}"))
}
