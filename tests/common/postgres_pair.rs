//! A primary and its standby, for failovers.

use super::postgres::PostgresServer;

/// The name of the standby in the settings of the primary.
const STANDBY: &str = "standby";

/// What the primary does before it reports a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Waits for the standby to have it on disk.
    Synchronous,
    /// Waits for its own disk only: a failover can lose what was reported.
    Asynchronous,
}

/// Two servers, of which the second follows the first until it is promoted.
pub struct PostgresPair {
    pub primary: PostgresServer,
    pub standby: PostgresServer,
}

impl PostgresPair {
    /// Starts both, and waits until the standby follows.
    pub fn start(replication: Replication) -> PostgresPair {
        let primary = PostgresServer::start(&[]);
        let standby = PostgresServer::standby_of(&primary, STANDBY, &[]);
        let state = match replication {
            Replication::Synchronous => {
                primary.set(&[("synchronous_standby_names", STANDBY)]);
                "sync"
            }
            Replication::Asynchronous => "async",
        };
        primary.wait_until("postgres", &format!("(SELECT sync_state FROM pg_stat_replication) = '{state}'"));
        PostgresPair { primary, standby }
    }

    /// The URL of a database with both hosts, the primary's first.
    pub fn url(&self, database: &str) -> String {
        let (first, second) = (self.primary.address(), self.standby.address());
        self.primary.url(database).replace(&first.to_string(), &format!("{first},{second}"))
    }

    /// Waits until the standby shows all that the primary has committed so far.
    pub fn wait_until_replayed(&self) {
        let written = self.primary.psql("postgres", "SELECT pg_current_wal_lsn()");
        self.standby.wait_until("postgres", &format!("pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"));
    }

    /// Lets the standby receive nothing more. Commits of a synchronous pair wait from then on.
    pub fn detach(&self) {
        self.standby.set(&[("primary_conninfo", "")]);
        self.primary.wait_until("postgres", "(SELECT count(*) FROM pg_stat_replication) = 0");
    }

    /// Ends [`PostgresPair::detach`].
    pub fn attach(&self) {
        self.standby.psql("postgres", "ALTER SYSTEM RESET primary_conninfo; SELECT pg_reload_conf();");
    }

    /// Makes the standby a primary. The old one runs on, as if nobody could reach it to stop it.
    pub fn promote(&self) {
        self.standby.promote();
    }
}
