//! `gatepost cluster …`: the processes that share the store.

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueHint};

use super::CommandError;
use super::output::{Listing, say, unless_broken};
use super::services::Services;
use crate::config::{Config, parse_duration, show_duration};
use crate::state::cluster::ClusterNodes;

/// The leases that can be set.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// The commands for the processes that share the store.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// List the running gateways on the store.
    Nodes {
        /// Print a JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Set the lease: the time for which a gateway that is cut off from PostgreSQL still decides, and for which a revocation
    /// waits for it.
    Lease {
        /// The new lease for all gateways, from 1s to 60s.
        #[arg(value_name = "DURATION", value_parser = lease, value_hint = ValueHint::Other)]
        lease: Duration,
    },
    /// Wait until every change so far is in effect in all gateways, also one that was made by SQL.
    Settle,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError`].
pub async fn run(command: ClusterCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let services = Services::open_to_read(config).await?;
    let done = execute(command, &services).await;
    services.finish(done).await.map(|()| ExitCode::SUCCESS)
}

async fn execute(command: ClusterCommand, services: &Services) -> Result<(), CommandError> {
    let cluster = &services.cluster;
    match command {
        ClusterCommand::Nodes { json } => {
            let nodes = cluster.nodes().await?;
            unless_broken(list(&nodes, json))?;
        }
        ClusterCommand::Lease { lease } => {
            cluster
                .change_lease(lease, |wait| {
                    say(&format!("waiting {}, until no gateway has the old lease", show_duration(wait)));
                })
                .await?;
            say(&format!("the lease is {}", show_duration(lease)));
        }
        ClusterCommand::Settle => {
            cluster.settle(None).await.map_err(CommandError::Unsettled)?;
            say("every change so far is in effect in all gateways");
        }
    }
    Ok(())
}

fn list(nodes: &ClusterNodes, json: bool) -> io::Result<()> {
    let mut listing = Listing::of_nodes(BufWriter::new(io::stdout()), json, nodes)?;
    match nodes {
        ClusterNodes::Sockets(nodes) => nodes.iter().try_for_each(|node| listing.socket(node))?,
        ClusterNodes::Fleet(nodes) => nodes.iter().try_for_each(|node| listing.node(node))?,
    }
    listing.end()
}

/// Parses a lease.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = parse_duration(text)?;
    match (SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease) {
        true => Ok(lease),
        false => Err(format!(
            "expected a lease from {} to {}",
            show_duration(SHORTEST_LEASE),
            show_duration(LONGEST_LEASE)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_have_bounds() {
        assert_eq!(lease("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(lease("2500ms"), Ok(Duration::from_millis(2500)));
        assert_eq!(lease("1m"), Ok(Duration::from_secs(60)));
        for wrong in ["999ms", "61s", "0s", "3", "-1s", ""] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }
}
