//! The faults, one after another, each for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::checks::Tally;
use super::nodes::Nodes;
use crate::common::fake_clock::FakeClock;
use crate::common::postgres::Stop;
use crate::common::random::Random;

/// A fault of a process, a connection, or the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KillGateway,
    StopGatewayShortly,
    StopGatewayForTheLease,
    StopGatewayForLonger,
    StopBackendOfDirectConnection,
    CutDirectConnection,
    CutPool,
    StallDirectConnection,
    StallPool,
    HalfOpenDirectConnection,
    HalfOpenPool,
    /// The beat is under way for longer than the lease, and arrives then.
    DelayBeatBeyondLease,
    TerminateBackends,
    CancelBackends,
    LockCounter,
    NotifyOff,
    RestartFast,
    RestartImmediately,
    KillBackendAfterAsynchronousCommits,
    BulkUpdate,
    MoveClock,
    FillDisk,
}

impl Fault {
    /// Those that take little time.
    pub const QUICK: [Fault; 14] = [
        Fault::KillGateway,
        Fault::StopGatewayShortly,
        Fault::StopGatewayForTheLease,
        Fault::StopBackendOfDirectConnection,
        Fault::CutDirectConnection,
        Fault::CutPool,
        Fault::DelayBeatBeyondLease,
        Fault::HalfOpenDirectConnection,
        Fault::TerminateBackends,
        Fault::CancelBackends,
        Fault::LockCounter,
        Fault::NotifyOff,
        Fault::RestartImmediately,
        Fault::BulkUpdate,
    ];

    pub const ALL: [Fault; 22] = [
        Fault::KillGateway,
        Fault::StopGatewayShortly,
        Fault::StopGatewayForTheLease,
        Fault::StopGatewayForLonger,
        Fault::StopBackendOfDirectConnection,
        Fault::CutDirectConnection,
        Fault::CutPool,
        Fault::StallDirectConnection,
        Fault::StallPool,
        Fault::HalfOpenDirectConnection,
        Fault::HalfOpenPool,
        Fault::DelayBeatBeyondLease,
        Fault::TerminateBackends,
        Fault::CancelBackends,
        Fault::LockCounter,
        Fault::NotifyOff,
        Fault::RestartFast,
        Fault::RestartImmediately,
        Fault::KillBackendAfterAsynchronousCommits,
        Fault::BulkUpdate,
        Fault::MoveClock,
        Fault::FillDisk,
    ];
}

/// Lets the faults happen in a random order, each at a random node, until all were there and `stop` is set, or `rounds` are over.
pub struct Faults<'a> {
    pub nodes: &'a Nodes,
    pub lease: Duration,
    pub clock: &'a FakeClock,
    pub tally: &'a Tally,
}

impl Faults<'_> {
    /// Makes each of `faults` happen once for each round. Reports the share of checks that were answered with 503.
    pub fn happen(&self, faults: &[Fault], rounds: u32, pause: Duration, seed: u64, stop: &AtomicBool) {
        let mut random = Random::new(seed);
        for round in 0..rounds {
            let mut left = faults.to_vec();
            while !left.is_empty() && !stop.load(Ordering::Relaxed) {
                let fault = left.swap_remove(random.below(left.len() as u64) as usize);
                let before = self.counts();
                self.happens(fault, &mut random);
                std::thread::sleep(pause);
                self.nodes.forget_requests();
                let [passed, refused, unavailable] = self.counts();
                let all = passed + refused + unavailable - before.iter().sum::<u64>();
                let share = (unavailable - before[2]) as f64 * 100.0 / all.max(1) as f64;
                println!("round {round}: {fault:?}: {all} checks, {share:.1} % of them 503");
            }
        }
    }

    fn counts(&self) -> [u64; 3] {
        let Tally { passed, refused, unavailable, .. } = self.tally;
        [passed, refused, unavailable].map(|counter| counter.load(Ordering::Relaxed))
    }

    fn happens(&self, fault: Fault, random: &mut Random) {
        let (server, lease) = (&self.nodes.server, self.lease);
        let node = &self.nodes.nodes[random.below(self.nodes.nodes.len() as u64) as usize];
        let network = |is_direct: bool| if is_direct { &node.direct } else { &node.pool };
        let stop_gateway = |time: Duration| {
            node.signal("STOP");
            std::thread::sleep(time);
            node.signal("CONT");
        };
        let stall = |is_direct: bool, time: Duration| {
            network(is_direct).stall();
            std::thread::sleep(time);
            network(is_direct).resume();
        };
        match fault {
            Fault::KillGateway => node.kill(),
            Fault::StopGatewayShortly => stop_gateway(lease / 3),
            Fault::StopGatewayForTheLease => stop_gateway(lease),
            Fault::StopGatewayForLonger => stop_gateway(lease * 2),
            Fault::StopBackendOfDirectConnection => self.stop_backend(lease * 3 / 2),
            Fault::CutDirectConnection => network(true).cut(),
            Fault::CutPool => network(false).cut(),
            Fault::StallDirectConnection => stall(true, lease / 2),
            Fault::StallPool => stall(false, lease / 2),
            Fault::HalfOpenDirectConnection => network(true).swallow(),
            Fault::HalfOpenPool => network(false).swallow(),
            Fault::DelayBeatBeyondLease => stall(true, lease * 6 / 5),
            Fault::TerminateBackends => self.at_backends("pg_terminate_backend"),
            Fault::CancelBackends => {
                for _ in 0..50 {
                    self.at_backends("pg_cancel_backend");
                }
            }
            Fault::LockCounter => {
                let seconds = lease.as_secs_f64() * 0.6;
                let script = format!(
                    "BEGIN; SELECT number FROM counter FOR UPDATE; SELECT pg_sleep({seconds}); ROLLBACK"
                );
                let _ = self.nodes.psql(&script);
            }
            Fault::NotifyOff => {
                let _ = self.nodes.psql("UPDATE lease SET notify = 0");
                std::thread::sleep(lease / 2);
                let _ = self.nodes.psql("UPDATE lease SET notify = 1");
            }
            Fault::RestartFast => {
                server.stop(Stop::Fast);
                server.start_again();
            }
            Fault::RestartImmediately => {
                server.stop(Stop::Immediate);
                server.start_again();
            }
            Fault::KillBackendAfterAsynchronousCommits => self.kill_backend(),
            Fault::BulkUpdate => {
                let _ = self.nodes.psql("UPDATE principal SET bits = bits WHERE account_id IS NOT NULL");
            }
            Fault::MoveClock => {
                self.clock.set(if random.chance(50) { "+10m" } else { "-10m" });
                std::thread::sleep(lease / 2);
                self.clock.set("+0");
            }
            Fault::FillDisk => self.fill_disk(),
        }
    }

    fn at_backends(&self, function: &str) {
        let script = format!(
            "SELECT {function}(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
        );
        let _ = self.nodes.psql(&script);
    }

    /// Stops the backend that serves the direct connection of a node, which is the one that listens.
    fn stop_backend(&self, time: Duration) {
        let listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
             AND query ~ 'node' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
        let pid = self.nodes.psql(listening).ok().and_then(|pid| pid.trim().parse().ok());
        let Some(pid) = pid else { return };
        self.nodes.server.signal_backend(pid, Signal::STOP);
        std::thread::sleep(time);
        self.nodes.server.signal_backend(pid, Signal::CONT);
    }

    /// Kills a backend whose commits may not be on disk: all others end with it, and recover without them.
    fn kill_backend(&self) {
        let Ok(pid) = self.nodes.psql(
            "SET synchronous_commit = off; UPDATE node SET applied = applied; SELECT pid FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() LIMIT 1",
        ) else {
            return;
        };
        if let Some(pid) = pid.lines().last().and_then(|pid| pid.trim().parse().ok()) {
            self.nodes.server.signal_backend(pid, Signal::KILL);
        }
    }

    /// Fills the disk of the server, and makes room again.
    fn fill_disk(&self) {
        let file = self.nodes.server.data().join("filler");
        let Ok(mut filler) = std::fs::File::create(&file) else { return };
        let block = vec![1; 1 << 20];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {
            if filler.metadata().is_ok_and(|metadata| metadata.len() > 2 << 30) {
                // The disk is not a small one of this test's own.
                break;
            }
        }
        std::thread::sleep(self.lease);
        let _ = std::fs::remove_file(file);
        if self.nodes.psql("SELECT 1").is_err() {
            self.nodes.server.stop(Stop::Immediate);
            self.nodes.server.start_again();
        }
    }
}
