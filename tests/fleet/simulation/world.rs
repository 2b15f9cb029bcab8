//! The simulated world: processes, one database and its predecessors, and a network that delays, loses and cuts.
//!
//! Everything happens in the order of a queue of events, and every choice comes from the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use gatepost::domain::fleet::{Era, LeaseChange};

use super::database::{Database, NAMES, Reply, Request};
use super::node::Process;
use super::outcome::Outcome;
use crate::common::random::Random;

/// A rule that is left out, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    None,
    /// A revocation is answered after its commit.
    NoWait,
    /// The wait for silent nodes is half as long.
    ShortWait,
    /// Trust counts from the end of the read.
    TrustFromReply,
    /// A read without a beat extends trust.
    BellExtendsTrust,
    /// The numbers of changes have no tokens.
    NoTokens,
    /// Rows of a lagging replica are used.
    NoLowestNumber,
    /// A young era counts as settled.
    NoGrace,
    /// The number of an own change is no lower limit for rows that are read.
    OwnChangeSetsNoLimit,
    /// An own change says which era rows must be of.
    OwnChangeSetsEra,
    /// Whoever finds a credential as wanted already waits, and drops nothing of its own cache.
    OwnCacheKeepsWhatIsSettled,
}

/// The size of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub nodes: usize,
    pub lease: Duration,
    /// The time with faults.
    pub duration: Duration,
    /// The mean time between changes, and between checks.
    pub change_interval: Duration,
    pub check_interval: Duration,
    /// The mean time between faults; `None` for a quiet world.
    pub fault_interval: Option<Duration>,
    /// The share of faults that are a crash of the database's backends, in percent, beyond those of chance.
    pub crashes: u64,
    /// The share of changes by other tools, in percent.
    pub plain_changes: u64,
    /// The time of a commit on disk.
    pub flush: Duration,
}

/// The thing that happens next.
#[derive(Clone, Debug, Hash)]
pub enum Event {
    /// A request reaches the database, or is executed after it waited for a lock and the disk.
    Arrives {
        connection: usize,
        request: Request,
    },
    Executes {
        connection: usize,
        request: Request,
    },
    Returns {
        connection: usize,
        reply: Reply,
    },
    /// The client sees that its connection was closed.
    Closes {
        connection: usize,
    },
    TimesOut {
        connection: usize,
        step: u32,
    },
    Rings {
        connection: usize,
    },
    Wakes {
        process: usize,
        incarnation: u32,
        role: Role,
    },
    Starts {
        process: usize,
    },
    /// A step of the workload.
    Changes,
    Checks,
    Fails,
    Heals {
        connection_loss: bool,
    },
    LeaseStep {
        number: usize,
    },
}

/// The user of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Member,
    Revoker,
    /// A change of a credential or, without one, a wait for everything that is there. A change that finds its credential
    /// as wanted already writes too, and waits.
    Change(Option<usize>, u64),
    /// A check that reads a row. `promised` is the state that it must have, and `seen` the epoch from before the read.
    Check {
        name: usize,
        promised: u64,
        seen: u64,
        lowest: Option<(Era, u64)>,
    },
    Lease(usize),
    /// A client with a tool of its own.
    Plain,
}

#[derive(Clone, Debug)]
pub struct Connection {
    pub process: usize,
    pub incarnation: u32,
    pub role: Role,
    /// The database, and how often all of its connections had ended when this one began.
    pub database: usize,
    pub generation: u32,
    pub is_open: bool,
    /// True if nothing gets through any more, and nobody is told.
    pub is_cut: bool,
    pub step: u32,
    pub is_awaiting: bool,
}

pub struct World {
    pub now: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    pub random: Random,
    pub size: Size,
    pub deviation: Deviation,
    pub databases: Vec<Database>,
    pub primary: usize,
    pub processes: Vec<Process>,
    pub connections: Vec<Connection>,
    pub outcome: Outcome,
    /// False once faults have ended.
    pub is_faulty: bool,
    pub notifies: bool,
    /// The largest additional delay of a message, in nanoseconds.
    pub jitter: u64,
    pub next_state: u64,
    pub next_incarnation: u32,
    /// The commands that change the lease, and their connections.
    pub lease_changes: Vec<(LeaseChange, usize)>,
    trace: DefaultHasher,
}

/// An event and its time. Events of one time happen in the order of their numbers.
struct Queued {
    time: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.time, self.number) == (other.time, other.number)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

impl World {
    pub fn new(seed: u64, size: Size, deviation: Deviation) -> World {
        let mut world = World {
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            random: Random::new(seed),
            size,
            deviation,
            databases: vec![Database::new(size.lease)],
            primary: 0,
            processes: Vec::new(),
            connections: Vec::new(),
            outcome: Outcome::new(NAMES),
            is_faulty: size.fault_interval.is_some(),
            notifies: true,
            jitter: 2_000_000,
            next_state: 0,
            next_incarnation: 0,
            lease_changes: Vec::new(),
            trace: DefaultHasher::new(),
        };
        world.notifies = !world.is_faulty || world.random.chance(80);
        for _ in 0..size.nodes {
            world.start(None, false);
        }
        world.after(size.change_interval, Event::Changes);
        world.after(size.check_interval, Event::Checks);
        if let Some(interval) = size.fault_interval {
            world.after(interval, Event::Fails);
        }
        world
    }

    /// A number that two runs of the same seed have in common.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Runs until this time, in nanoseconds. Stops early at a violation.
    pub fn run_until(&mut self, end: u64) {
        while self.outcome.violation.is_none() {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            if next.time > end {
                self.queue.push(Reverse(next));
                break;
            }
            self.now = next.time;
            (next.time, &next.event).hash(&mut self.trace);
            self.outcome.events += 1;
            self.happens(next.event);
        }
        self.now = self.now.max(end);
    }

    pub fn at(&mut self, time: u64, event: Event) {
        let number = self.queued;
        self.queued += 1;
        self.queue.push(Reverse(Queued { time: time.max(self.now), number, event }));
    }

    /// Schedules an event after a random time around `mean`.
    pub fn after(&mut self, mean: Duration, event: Event) {
        let mean = mean.as_nanos() as u64;
        let delay = self.random.between(mean / 2, mean * 3 / 2);
        self.at(self.now + delay, event);
    }

    /// Starts a process, in the place of another one or in a new place. Returns its place.
    pub fn start(&mut self, place: Option<usize>, is_command: bool) -> usize {
        self.next_incarnation += 1;
        let process = Process::new(self.next_incarnation, is_command, &mut self.random);
        let place = match place {
            Some(place) => {
                self.processes[place] = process;
                place
            }
            None => {
                self.processes.push(process);
                self.processes.len() - 1
            }
        };
        if !is_command {
            self.drive_member(place);
        }
        place
    }

    /// Opens a connection to the primary, or, while the old one runs, perhaps to that.
    pub fn connect(&mut self, process: usize, role: Role) -> usize {
        let is_old = self.primary > 0 && self.is_faulty && self.random.chance(5);
        let database = if is_old { self.primary - 1 } else { self.primary };
        let incarnation = self.processes.get(process).map_or(0, |process| process.incarnation);
        let generation = self.databases[database].generation;
        let connection = Connection {
            process,
            incarnation,
            role,
            database,
            generation,
            is_open: true,
            is_cut: false,
            step: 0,
            is_awaiting: false,
        };
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// Sends a request. The client gives up after `limit`.
    pub fn send(&mut self, connection: usize, request: Request, limit: Duration) {
        let delay = self.delay();
        let link = &mut self.connections[connection];
        link.step += 1;
        link.is_awaiting = true;
        let step = link.step;
        self.outcome.messages += 1;
        if !link.is_cut {
            self.at(self.now + delay, Event::Arrives { connection, request });
        }
        self.at(self.now + limit.as_nanos() as u64, Event::TimesOut { connection, step });
    }

    /// The time of a message on its way. In bad times, one in fifty takes up to twice the lease.
    pub fn delay(&mut self) -> u64 {
        let lease = self.size.lease.as_nanos() as u64;
        let is_slow = self.is_faulty && self.random.chance(2);
        let most = if is_slow { 2 * lease } else { self.jitter };
        100_000 + self.random.below(most)
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives { connection, request } => self.arrives(connection, request),
            Event::Executes { connection, request } => self.executes(connection, &request),
            Event::Changes => self.change(),
            Event::Checks => self.check(),
            Event::Fails => self.fail(),
            Event::Heals { connection_loss } => self.heal(connection_loss),
            Event::Starts { process } => {
                if !self.processes[process].is_running {
                    self.start(Some(process), false);
                }
            }
            Event::LeaseStep { number } => self.drive_lease(number),
            Event::Wakes { process, incarnation, .. } if self.is_deferred(process, incarnation, &event) => {}
            Event::Wakes { process, incarnation, role } => {
                let woken = &self.processes[process];
                match role {
                    _ if woken.incarnation != incarnation || !woken.is_running => {}
                    Role::Member => self.drive_member(process),
                    _ => self.drive_revoker(process),
                }
            }
            Event::Returns { connection, .. }
            | Event::Closes { connection }
            | Event::TimesOut { connection, .. }
            | Event::Rings { connection } => {
                let link = &self.connections[connection];
                let (process, incarnation) = (link.process, link.incarnation);
                // The process that had this connection may be gone, and another one in its place.
                let is_same = |process: &Process| process.is_running && process.incarnation == incarnation;
                let has_client = self.processes.get(process).is_none_or(is_same);
                if link.is_open && has_client && !self.is_deferred(process, incarnation, &event) {
                    self.receives(connection, event);
                }
            }
        }
    }

    /// Puts off what a stopped process would see, until it continues.
    fn is_deferred(&mut self, process: usize, incarnation: u32, event: &Event) -> bool {
        let same = self.processes.get(process).filter(|process| process.incarnation == incarnation);
        let until = same.filter(|process| process.is_stopped(self.now)).map(|process| process.stopped_until);
        if let Some(until) = until {
            self.at(until, event.clone());
        }
        until.is_some()
    }

    fn arrives(&mut self, connection: usize, request: Request) {
        let flush = self.size.flush.as_nanos() as u64;
        let database = self.connections[connection].database;
        let at = match request {
            Request::Change { .. } => {
                // The counter's row is locked from the end of the change to its commit.
                let locked = &mut self.databases[database].locked_until;
                *locked = (*locked).max(self.now) + flush;
                *locked
            }
            Request::Register { .. } | Request::Beat { .. } | Request::Write => self.now + flush,
            _ => self.now + 50_000,
        };
        self.at(at, Event::Executes { connection, request });
    }

    fn executes(&mut self, connection: usize, request: &Request) {
        let link = &self.connections[connection];
        let (database, generation) = (link.database, link.generation);
        if self.databases[database].generation != generation || link.is_cut {
            return;
        }
        // A pooler may route a read to a replica that lags.
        let is_lagging = matches!(request, Request::Row { .. }) && self.is_faulty && self.random.chance(20);
        let reply = match is_lagging {
            true => {
                let mut replica = self.databases[database].lagging(&mut self.random);
                replica.execute(request, 0, &mut self.random)
            }
            false => {
                self.next_state += u64::from(matches!(request, Request::Change { .. }));
                self.databases[database].execute(request, self.next_state, &mut self.random)
            }
        };
        let Some(reply) = reply else { return };
        let delay = self.delay();
        self.outcome.messages += 1;
        self.at(self.now + delay, Event::Returns { connection, reply });
        if matches!(request, Request::Change { .. }) && self.notifies {
            let listening: Vec<usize> =
                self.processes.iter().filter_map(|process| process.member_link).collect();
            for connection in listening {
                let link = &self.connections[connection];
                if !link.is_cut && (link.database, link.generation) == (database, generation) {
                    let delay = self.delay();
                    self.outcome.doorbells += 1;
                    self.at(self.now + delay, Event::Rings { connection });
                }
            }
        }
    }
}
