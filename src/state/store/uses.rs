//! The networks from which principals were used lately. They are kept so that an owner is let in while others guess, and never
//! decide on a permission: writing them is no change.

use std::net::IpAddr;

use super::{Connection, Store, StoreError, now, sql, sqlite, unavailable};
use crate::domain::{ClientNetwork, Entry, PrincipalId};

/// The time for which a use counts, in seconds.
const LASTS: i64 = 30 * 24 * 60 * 60;
/// The interval at which the same principal and network is written, in seconds.
const EVERY: i64 = 60 * 60;
/// The most networks of a principal.
const MOST: i64 = 8;

/// A use of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrincipalUse {
    /// The account or credential.
    pub principal: PrincipalId,
    /// The client's address.
    pub address: IpAddr,
    /// The entry of the request.
    pub entry: Entry,
    /// The time, in seconds since 1970 UTC.
    pub used_at: i64,
}

impl PrincipalUse {
    /// A use at this moment.
    pub fn now(principal: PrincipalId, address: IpAddr, entry: Entry) -> PrincipalUse {
        PrincipalUse { principal, address: address.to_canonical(), entry, used_at: now() }
    }

    /// The network that is kept.
    pub fn network(&self) -> ClientNetwork {
        ClientNetwork::of(self.address)
    }
}

impl Store {
    /// Writes uses in one transaction, and drops what is too old or too much. A principal that was removed meanwhile is skipped,
    /// and so is a use within an hour of the one that is stored. Does not count as a change, see [`Store::changes`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`].
    pub async fn write_uses(&self, uses: &[PrincipalUse]) -> Result<(), StoreError> {
        self.pools.verify_files()?;
        let mut transaction = self.pools.writer.begin_with(sqlite::BEGIN).await.map_err(unavailable)?;
        for used in uses {
            write(&mut transaction, used).await.map_err(unavailable)?;
        }
        let drop_old = sqlx::query(sql::DROP_OLD_USES).bind(now() - LASTS);
        drop_old.execute(&mut *transaction).await.map_err(unavailable)?;
        transaction.commit().await.map_err(unavailable)
    }

    /// Returns true if the principal was used from that network within the last 30 days. One indexed read, also if there is no
    /// such principal.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn was_used_from(
        &self,
        principal: Option<PrincipalId>,
        network: ClientNetwork,
    ) -> Result<bool, StoreError> {
        // No row has the number 0.
        let id = principal.map_or(0, |principal| principal.0);
        let query = sqlx::query(sql::USED_FROM).bind(id).bind(network.to_string()).bind(now() - LASTS);
        Ok(self.pools.read(query.fetch_optional(&self.pools.readers)).await?.is_some())
    }
}

async fn write(connection: &mut Connection, used: &PrincipalUse) -> Result<(), sqlx::Error> {
    let written = sqlx::query(sql::WRITE_USE)
        .bind(used.principal.0)
        .bind(used.network().to_string())
        .bind(used.used_at)
        .bind(used.entry.as_str())
        .bind(used.address.to_string())
        .bind(EVERY)
        .execute(&mut *connection)
        .await?;
    if written.rows_affected() > 0 {
        sqlx::query(sql::DROP_EXCESS_USES).bind(used.principal.0).bind(MOST).execute(connection).await?;
    }
    Ok(())
}
