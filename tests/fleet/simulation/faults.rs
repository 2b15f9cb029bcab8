//! The workload of changes, and the faults.

use std::time::Duration;

use gatepost::domain::fleet::{LeaseAction, LeaseChange, LeaseOutcome};

use super::database::{NAMES, Reply, Request};
use super::world::{Event, Role, World};

/// The time after which a client gives up a change, in leases.
const PATIENCE: u32 = 3;

impl World {
    /// Changes a credential, by a node, a command, or with a tool of somebody's own.
    pub fn change(&mut self) {
        self.after(self.size.change_interval, Event::Changes);
        let name = self.random.below(NAMES as u64) as usize;
        let limit = self.size.lease * PATIENCE;
        if self.is_faulty && self.random.chance(self.size.plain_changes) {
            let is_on_disk = self.random.chance(50);
            let connection = self.connect(usize::MAX, Role::Plain);
            return self.send(connection, Request::Change { name, is_on_disk }, limit);
        }
        let place = match self.is_faulty && self.random.chance(10) {
            true => self.start_command(),
            false => self.random.below(self.size.nodes as u64) as usize,
        };
        let process = &self.processes[place];
        if !process.is_running || process.is_stopped(self.now) {
            return;
        }
        let is_change = self.random.chance(90);
        // A command has no cache, and may wait for everything that is there.
        let waits_for_all = process.is_command && !is_change;
        let role = Role::Change((!waits_for_all).then_some(name), self.now);
        let connection = self.connect(place, role);
        let request = match is_change {
            true => Request::Change { name, is_on_disk: true },
            false => Request::Write,
        };
        self.send(connection, request, limit);
    }

    /// A command in a place that is free.
    fn start_command(&mut self) -> usize {
        let nodes = self.size.nodes;
        let free = self.processes[nodes..].iter().position(|process| !process.is_running);
        self.start(free.map(|place| nodes + place), true)
    }

    /// Lets something fail.
    pub fn fail(&mut self) {
        let Some(interval) = self.size.fault_interval.filter(|_| self.is_faulty) else { return };
        self.after(interval, Event::Fails);
        let lease = self.size.lease;
        let place = self.random.below(self.size.nodes as u64) as usize;
        let crashes = self.random.chance(self.size.crashes);
        match if crashes { 5 } else { self.random.below(12) } {
            0 => self.kill(place),
            1 | 2 => {
                // Stopped for less than a lease, for about one, or for longer.
                let process = &mut self.processes[place];
                let tenths = self.random.between(1, 25) as u32;
                process.stopped_until = self.now + (lease * tenths / 10).as_nanos() as u64;
            }
            3 | 4 => self.cut(place),
            5 => {
                let database = self.primary;
                self.databases[database].crash_backends(&mut self.random);
                self.tell_of_end(database);
            }
            6 => {
                let database = self.primary;
                self.databases[database].restart(&mut self.random);
                self.tell_of_end(database);
            }
            7 => self.fail_over(),
            8 => {
                let database = self.primary;
                self.databases[database].trim(&mut self.random);
            }
            9 => self.begin_lease_change(),
            10 => {
                // A slow network for a while.
                self.jitter = lease.as_nanos() as u64;
                let after = lease * 2;
                self.after(after, Event::Heals { connection_loss: false });
            }
            _ => {
                // Nobody reaches the database.
                for place in 0..self.size.nodes {
                    self.cut(place);
                }
            }
        }
    }

    pub fn heal(&mut self, connection_loss: bool) {
        self.jitter = 2_000_000;
        if connection_loss {
            let database = self.primary;
            self.tell_of_end(database);
        }
    }

    fn kill(&mut self, place: usize) {
        self.processes[place].is_running = false;
        for link in self.connections.iter_mut().filter(|link| link.process == place) {
            link.is_open = false;
        }
        let delay = self.random.below(2 * self.size.lease.as_nanos() as u64);
        self.at(self.now + delay, Event::Starts { process: place });
    }

    /// Cuts the connections of a process, so that each side waits for the other.
    fn cut(&mut self, place: usize) {
        for link in self.connections.iter_mut().filter(|link| link.process == place && link.is_open) {
            link.is_cut = true;
        }
    }

    /// Lets clients know, sooner or later, that a database has ended their connections.
    fn tell_of_end(&mut self, database: usize) {
        let generation = self.databases[database].generation;
        let ended = |world: &World, connection: usize| {
            let link = &world.connections[connection];
            link.is_open && link.database == database && link.generation != generation
        };
        for connection in (0..self.connections.len()).filter(|c| ended(self, *c)).collect::<Vec<_>>() {
            let delay = self.delay();
            self.at(self.now + delay, Event::Closes { connection });
        }
    }

    /// Promotes a standby. The old primary continues, and cannot commit.
    fn fail_over(&mut self) {
        let standby = self.databases[self.primary].promoted(&mut self.random);
        self.databases[self.primary].is_cut_off = true;
        let old = self.primary;
        self.databases.push(standby);
        self.primary = self.databases.len() - 1;
        if self.random.chance(50) {
            // A pooler or an operator ends the connections to the old one.
            self.databases[old].generation += 1;
            self.tell_of_end(old);
        }
    }

    fn begin_lease_change(&mut self) {
        let tenths = self.random.between(5, 20) as u32;
        let lease = Duration::from_millis((self.size.lease * tenths / 10).as_millis() as u64);
        let connection = self.connect(usize::MAX, Role::Plain);
        let number = self.lease_changes.len();
        self.connections[connection].role = Role::Lease(number);
        self.lease_changes.push((LeaseChange::new(lease), connection));
        self.drive_lease(number);
    }

    pub fn drive_lease(&mut self, number: usize) {
        let (change, connection) = self.lease_changes[number];
        let now = gatepost::domain::Moment::from_nanos(self.now);
        let request = match change.next(now) {
            LeaseAction::Begin { lease } => Request::BeginLease { lease },
            LeaseAction::Finish { lease, version } => Request::FinishLease { lease, version },
            LeaseAction::WaitUntil(moment) => {
                return self.at(moment.as_nanos(), Event::LeaseStep { number });
            }
            LeaseAction::Done(outcome) => {
                self.outcome.lease_changes += u64::from(outcome == LeaseOutcome::Changed);
                return;
            }
        };
        let limit = self.size.lease * PATIENCE;
        self.send(connection, request, limit);
    }

    pub fn lease_receives(&mut self, number: usize, reply: Reply) {
        let now = gatepost::domain::Moment::from_nanos(self.now);
        let (change, _) = &mut self.lease_changes[number];
        match reply {
            Reply::Terms(terms) => change.begun(now, terms),
            Reply::Rows(rows) => change.finished(rows),
            _ => {}
        }
        self.drive_lease(number);
    }

    pub fn lease_lost(&mut self, number: usize) {
        self.lease_changes[number].0.failed();
    }

    /// Ends all faults: everything runs, and messages are quick. Connections that were cut stay so until somebody notices.
    pub fn end_faults(&mut self) {
        self.is_faulty = false;
        self.jitter = 2_000_000;
        for place in 0..self.size.nodes {
            self.processes[place].stopped_until = 0;
            if !self.processes[place].is_running {
                self.start(Some(place), false);
            }
        }
        // The operator makes a change of the lease that was interrupted complete.
        let connection = self.connect(usize::MAX, Role::Plain);
        let number = self.lease_changes.len();
        self.connections[connection].role = Role::Lease(number);
        self.lease_changes.push((LeaseChange::new(self.size.lease), connection));
        self.drive_lease(number);
    }
}
