//! The networks from which principals were used lately. They are kept so that an owner is let in while others guess, and never
//! decide on a permission: writing them is no change.

use std::net::IpAddr;

use super::statement::Statement;
use super::{Mutation, MutationError, Store, StoreError, now, sql};
use crate::domain::{ClientNetwork, Entry, LatestUse, PrincipalId};

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

    /// The same use as the last one of its principal.
    pub fn as_last(&self) -> LatestUse {
        LatestUse { used_at: self.used_at, entry: Some(self.entry), address: Some(self.address) }
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
        let written = async {
            let mut mutation = Mutation::begin(self).await?;
            // Processes that write the same rows at once do so in the same order, and so none waits for another in a circle.
            let mut uses: Vec<(String, &PrincipalUse)> =
                uses.iter().map(|used| (used.network().to_string(), used)).collect();
            uses.sort_by(|one, other| (one.1.principal.0, &one.0).cmp(&(other.1.principal.0, &other.0)));
            for (network, used) in uses {
                write(&mut mutation, used, &network).await?;
            }
            mutation.execute(Statement::new(sql::DROP_OLD_USES).number(now() - LASTS)).await?;
            mutation.finish().await?;
            Ok(())
        };
        written.await.map_err(|error: MutationError| error.into_store_error())
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
        let statement = Statement::new(sql::USED_FROM).number(id).text(&network.to_string());
        Ok(self.fetch(statement.number(now() - LASTS)).await?.is_some())
    }
}

async fn write(mutation: &mut Mutation, used: &PrincipalUse, network: &str) -> Result<(), MutationError> {
    let statement = Statement::new(sql::WRITE_USE)
        .number(used.principal.0)
        .text(network)
        .number(used.used_at)
        .text(used.entry.as_str())
        .text(&used.address.to_string())
        .number(EVERY);
    if mutation.execute(statement).await? > 0 {
        let excess = Statement::new(sql::DROP_EXCESS_USES).number(used.principal.0).number(MOST);
        mutation.execute(excess).await?;
    }
    Ok(())
}
