//! The time that a revocation takes while all nodes are there, and after one was killed.

use std::time::Duration;

use crate::common::Gateway;
use crate::common::http::get;
use crate::common::postgres::PostgresDatabase;
use crate::gateways::{Holder, Starter, wait_until_settled};
use crate::report::{Report, Times, heading, line};

/// The most that a removal may take more than an addition, at p99, in milliseconds.
const MOST_OVER_ADDITION: f64 = 10.0;
/// Nodes that are killed, one after another.
const KILLS: usize = 5;
/// The most that a removal may take after a node was killed, in milliseconds: the longest lease, and the rest of the call.
const MOST_AFTER_KILL: f64 = 3_000.0 + 100.0;

/// Measures with all nodes, which take turns: so many credentials are added, edited and removed.
pub fn quiet(gateways: &[Gateway], rounds: usize, report: &mut Report) {
    heading("revocations with three nodes, quiet, from request to answer");
    let mut holders: Vec<Holder> = gateways.iter().map(Holder::at).collect();
    // The first call of a holder is checked with its hash.
    for (number, holder) in holders.iter_mut().enumerate() {
        holder.add(&format!("first{number}"));
        holder.call("remove", &format!("username=first{number}"));
    }
    let before = total(gateways);
    let [mut additions, mut grants, mut removals] = [Times::default(), Times::default(), Times::default()];
    for round in 0..rounds {
        let name = format!("quiet{round}");
        let holder = &mut holders[round % gateways.len()];
        additions.add(holder.add(&name));
        grants.add(holder.call("edit", &format!("username={name}&permissions[api]=1")));
        // What was announced before is applied everywhere, so that the removal is alone.
        std::thread::sleep(Duration::from_millis(10));
        removals.add(holder.call("remove", &format!("username={name}")));
    }
    let after = total(gateways);
    additions.print("addition, which nobody waits for; hash of cost 4");
    grants.print("permission given, which nobody waits for");
    removals.print("removal, which waits for all nodes");
    let mean = (after.0 - before.0) / (after.1 - before.1) * 1e3;
    line("commit to answer of a removal, by the metrics", &format!("mean {mean:.2} ms"));
    let over = |share| removals.quantile(share) - additions.quantile(share);
    line("removal over addition, p50", &format!("{:.2} ms", over(0.5)));
    report.at_most("removal over addition, p99", over(0.99), MOST_OVER_ADDITION, "ms");
}

/// Seconds and number of the revocations of these gateways so far.
fn total(gateways: &[Gateway]) -> (f64, f64) {
    let mut total = (0.0, 0.0);
    for gateway in gateways {
        let metrics = get("/metrics").send(gateway.address("ops.listen")).text();
        let value = |name: &str| -> f64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
        };
        total.0 += value("gatepost_revocation_seconds_sum");
        total.1 += value("gatepost_revocation_seconds_count");
    }
    total
}

/// Measures the removals after each of several kills of the last node, until nobody waits for it any more.
pub fn after_kill(
    gateways: &mut Vec<Gateway>,
    database: &PostgresDatabase<'_>,
    starter: &Starter,
    report: &mut Report,
) {
    heading("removals after one of three nodes was killed");
    let nodes = gateways.len();
    let [mut waits, mut next] = [Times::default(), Times::default()];
    for kill in 0..KILLS {
        wait_until_settled(database, nodes);
        let mut holder = Holder::at(&gateways[0]);
        let names: Vec<String> = (0..3).map(|number| format!("killed{kill}-{number}")).collect();
        for name in &names {
            holder.add(name);
        }
        // At another time between two beats for each.
        std::thread::sleep(Duration::from_millis(500 / KILLS as u64 * kill as u64));
        gateways.pop().unwrap().kill();
        for (number, name) in names.iter().enumerate() {
            let times = if number == 0 { &mut waits } else { &mut next };
            times.add(holder.call("remove", &format!("username={name}")));
        }
        gateways.push(starter.on_postgres(database));
    }
    wait_until_settled(database, nodes);
    waits.print("first removal, which waits for the lost node");
    next.print("next removals");
    let longest = waits.quantile(1.0).max(next.quantile(1.0));
    report.at_most("removal, longest", longest, MOST_AFTER_KILL, "ms");
}
