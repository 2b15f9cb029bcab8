//! The gateway, its backends and the network between them are killed and cut at each stage of a thousand transactions: what
//! a client saw accepted is at a backend, and what it saw refused is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Instant;

use crate::common::mail::{Client, JOE, plain, smtp};
use crate::common::relay::At::{Answered, Halfway, Sent, Unanswered};
use crate::common::relay::{At, Fate, Part, Point, Relay, STAGES};
use crate::common::sink::{Act, Moment, Settings, Sink, say};
use crate::common::{Gateway, PATIENCE};

/// For each of the four.
const TRANSACTIONS: usize = 1000;

/// Where one in chunks is struck.
const IN_CHUNKS: [(Part, At); 8] = [
    (Part::Chunk, Halfway),
    (Part::Chunk, Sent),
    (Part::Chunk, Unanswered),
    (Part::Chunk, Answered),
    (Part::Last, Halfway),
    (Part::Last, Sent),
    (Part::Last, Unanswered),
    (Part::Last, Answered),
];

/// Where a connection is struck before it has a transaction.
const BEGINNINGS: [(Part, At); 7] = [
    (Part::Greeting, Unanswered),
    (Part::Ehlo, Sent),
    (Part::Ehlo, Unanswered),
    (Part::Ehlo, Answered),
    (Part::Auth, Sent),
    (Part::Auth, Unanswered),
    (Part::Auth, Answered),
];

/// The number of times that each of these is struck.
const EACH_BEGINNING: usize = 2;

/// The process or connection that is killed or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Gateway,
    Backend,
    Network,
    /// The network, and nobody is told.
    Silence,
}

/// A gateway before two backends, with a network in between.
struct World {
    victim: Victim,
    gateway: Mutex<Gateway>,
    relays: OnceLock<[Arc<Relay>; 2]>,
    sinks: [Sink; 2],
    struck: Mutex<BTreeMap<(Part, At), usize>>,
    done: Mutex<BTreeSet<usize>>,
    /// When a transaction last came to an end.
    last_end: Mutex<Instant>,
    resets: AtomicUsize,
}

/// The ends of the transactions as clients saw them.
#[derive(Default)]
struct Seen {
    accepted: BTreeSet<usize>,
    refused: BTreeSet<usize>,
    open: usize,
}

impl Seen {
    fn note(&mut self, number: usize, code: Option<u16>) {
        match code {
            Some(250) => drop(self.accepted.insert(number)),
            Some(500..) => drop(self.refused.insert(number)),
            _ => self.open += 1,
        }
    }
}

impl World {
    fn new(victim: Victim, keys: &str) -> Arc<World> {
        let sinks = [0, 1].map(|_| {
            let mut settings = Settings::scripted(|moment: &Moment<'_>| match moment.command {
                command if command.starts_with("RCPT TO:<nobody@") => say("550 5.1.1 There is nobody"),
                "message" if moment.messages % 11 == 7 => say("554 5.6.0 Not this one"),
                _ => Act::Well,
            });
            settings.extensions.push("AUTH PLAIN");
            Sink::start(settings)
        });
        // The gateway has to be there before what kills it, and its backends' addresses before it.
        let world: Arc<OnceLock<Weak<World>>> = Arc::default();
        let relays = sinks.each_ref().map(|sink| {
            let world = world.clone();
            Relay::start(sink.address, move |relay, point| match world.get().and_then(Weak::upgrade) {
                Some(world) => world.strike(relay, point),
                None => Fate::Closed,
            })
        });
        let addresses: Vec<SocketAddr> = relays.iter().map(|relay| relay.address).collect();
        let login = "upstream_user = \"gate\"\nupstream_password_file = \"DIR/password\"\n";
        let more = format!("{login}health_interval = \"50ms\"\nmax_errors = 1000\n{keys}");
        let directory = crate::common::configured(&smtp(&addresses, &more));
        std::fs::write(directory.path().join("password"), "secret").unwrap();
        let gateway = Gateway::start_in(directory);
        gateway.account("email").credential(JOE, "email");
        let made = Arc::new(World {
            victim,
            gateway: Mutex::new(gateway),
            relays: OnceLock::new(),
            sinks,
            struck: Mutex::default(),
            done: Mutex::default(),
            last_end: Mutex::new(Instant::now()),
            resets: AtomicUsize::new(0),
        });
        let _ = made.relays.set(relays);
        let _ = world.set(Arc::downgrade(&made));
        made
    }

    /// Kills or cuts something if this is the point for it. Returns how that looks on the wire.
    fn strike(&self, relay: &Relay, point: &Point) -> Fate {
        let here = (point.part, point.at);
        let number = point.mail.as_deref().map(number_of);
        let meant = match number {
            Some(number) => stage(number) == here && self.done.lock().unwrap().insert(number),
            None => {
                let struck = self.struck.lock().unwrap().get(&here).copied().unwrap_or_default();
                BEGINNINGS.contains(&here) && point.connection % 4 == 3 && struck < EACH_BEGINNING
            }
        };
        if !meant {
            return Fate::Goes;
        }
        *self.struck.lock().unwrap().entry(here).or_default() += 1;
        match self.victim {
            Victim::Gateway => {
                self.gateway().kill();
                Fate::Closed
            }
            Victim::Backend => {
                relay.kill();
                Fate::Reset
            }
            Victim::Network => match self.resets.fetch_add(1, Ordering::Relaxed) % 2 {
                0 => Fate::Reset,
                _ => Fate::Closed,
            },
            Victim::Silence => Fate::Silent,
        }
    }

    fn gateway(&self) -> MutexGuard<'_, Gateway> {
        self.gateway.lock().unwrap()
    }

    /// Starts again what was killed; where the gateway listens.
    fn mend(&self) -> SocketAddr {
        for relay in self.relays.get().unwrap() {
            relay.revive();
        }
        let mut gateway = self.gateway();
        if gateway.child.try_wait().unwrap().is_some() {
            gateway.restart();
        }
        gateway.address("smtp.listen")
    }

    /// A client that has logged in, unless the gateway is killed at one of its steps: of the sessions that are begun, some
    /// are for that.
    fn log_in(&self, session: usize) -> Option<Client> {
        let mut client = Client::try_connect(self.mend())?;
        let kill = |step: usize| {
            if self.victim == Victim::Gateway && session == 3 * step {
                self.gateway().kill();
            }
        };
        kill(1);
        client.try_answer()?;
        kill(2);
        client.try_say("EHLO client.test")?;
        kill(3);
        let answer = client.try_say(&plain(JOE))?;
        kill(4);
        (answer.code == 235).then_some(client)
    }

    /// Has so many clients at once do all transactions.
    fn run(self: &Arc<World>, clients: usize) -> Seen {
        let (next, sessions) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let seen = Mutex::new(Seen::default());
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut client = None;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= TRANSACTIONS {
                            return;
                        }
                        let code = self.submit(number, &mut client, &sessions);
                        seen.lock().unwrap().note(number, code);
                    }
                });
            }
        });
        let mut seen = seen.into_inner().unwrap();
        // Whom a strike at another one's transaction takes along doesn't come to its own: the late stages may be missing still, and
        // are struck while nobody else is there.
        let mut client = None;
        for (index, stage) in stages().iter().enumerate() {
            let numbers = (index..).step_by(STAGES.len() + IN_CHUNKS.len());
            let numbers = numbers.skip_while(|number| *number < TRANSACTIONS);
            for number in numbers.filter(|number| number % 12 != 11).take(5) {
                if self.struck.lock().unwrap().contains_key(stage) {
                    break;
                }
                let code = self.submit(number, &mut client, &sessions);
                seen.note(number, code);
            }
        }
        seen
    }

    /// One transaction, repeated until it comes to an end: with an answer, or none where the message was on its way.
    fn submit(&self, number: usize, client: &mut Option<Client>, sessions: &AtomicUsize) -> Option<u16> {
        let chunked = matches!(stage(number).0, Part::Chunk | Part::Last);
        loop {
            let last_end = *self.last_end.lock().unwrap();
            assert!(last_end.elapsed() < PATIENCE, "{number} and all others never come to an end");
            self.mend();
            let begin = || self.log_in(sessions.fetch_add(1, Ordering::Relaxed));
            let Some(mut session) = client.take().or_else(begin) else { continue };
            let end = transact(&mut session, number, chunked);
            let goes_on = session.try_say("RSET").is_some_and(|answer| answer.code == 250);
            *client = goes_on.then_some(session);
            let code = match end {
                End::Answered(code) => Some(code),
                End::Unanswered => None,
                End::Before => continue,
            };
            *self.last_end.lock().unwrap() = Instant::now();
            return code;
        }
    }

    /// Checks that everything that a client saw is true.
    fn verify(&self, seen: &Seen) {
        let mut kept = HashMap::new();
        for message in self.sinks.iter().flat_map(Sink::messages) {
            let number = number_of(&message.mail);
            assert!(message.content.ends_with(content(number).as_bytes()), "{number} isn't whole");
            assert!(kept.insert(number, message).is_none(), "{number} arrived twice");
        }
        for number in &seen.accepted {
            assert!(kept.contains_key(number), "{number} was accepted and is lost");
        }
        for number in &seen.refused {
            assert!(!kept.contains_key(number), "{number} was refused and is there");
        }
        let struck = self.struck.lock().unwrap();
        let mut missed = stages();
        missed.extend(BEGINNINGS);
        missed.retain(|stage| !struck.contains_key(stage));
        let (accepted, refused, strikes) =
            (seen.accepted.len(), seen.refused.len(), struck.values().sum::<usize>());
        println!(
            "{:?}: {accepted} accepted, {refused} refused, {} neither; {} kept; {strikes} strikes",
            self.victim,
            seen.open,
            kept.len()
        );
        assert!(missed.is_empty(), "never struck at {missed:?}");
        assert!(accepted > TRANSACTIONS / 10 && refused > 0, "{accepted} accepted and {refused} refused");
    }
}

/// Where transactions are struck, one after another.
fn stages() -> Vec<(Part, At)> {
    [&STAGES[..], &IN_CHUNKS].concat()
}

/// Where a transaction is struck, if it gets there.
fn stage(number: usize) -> (Part, At) {
    let stages = stages();
    stages[number % stages.len()]
}

/// Of a sender.
fn number_of(mail: &str) -> usize {
    mail.trim_start_matches('<').split('@').next().unwrap().parse().unwrap()
}

/// A message of its own, some longer than what anybody holds in memory.
fn content(number: usize) -> String {
    let lines = if number.is_multiple_of(5) { 2_000 } else { 20 };
    let body = format!("{number} and some more that makes it longer\r\n").repeat(lines);
    format!("Subject: {number}\r\n\r\n{body}end of {number}\r\n")
}

/// The end of a transaction as its client saw it.
enum End {
    /// With an answer for good: a refusal, or the answer to the message.
    Answered(u16),
    /// The message was on its way, and nothing more was heard of it.
    Unanswered,
    /// Before the message was on its way, and not for good: to be repeated.
    Before,
}

fn transact(client: &mut Client, number: usize, chunked: bool) -> End {
    let refused = match envelope(client, number, chunked) {
        Some(refused) => refused,
        None => return End::Before,
    };
    match refused {
        Some(500..) => return End::Answered(550),
        Some(_) => return End::Before,
        None => {}
    }
    let answer = message(client, number, chunked);
    answer.map_or(End::Unanswered, End::Answered)
}

/// The first refusal of an envelope, if there is one; none at all where the connection was gone.
fn envelope(client: &mut Client, number: usize, chunked: bool) -> Option<Option<u16>> {
    let mail = format!("MAIL FROM:<{number}@test>");
    let rcpt = match number % 12 {
        11 => "RCPT TO:<nobody@test>",
        _ => "RCPT TO:<somebody@test>",
    };
    let mut commands = vec![mail.as_str(), rcpt];
    if !chunked {
        commands.push("DATA");
    }
    let pipelined = number.is_multiple_of(2);
    if pipelined {
        client.try_send(format!("{}\r\n", commands.join("\r\n")).as_bytes());
    }
    let mut refused = None;
    for command in commands {
        let answer = if pipelined { client.try_answer()? } else { client.try_say(command)? };
        if answer.code >= 400 {
            refused = refused.or(Some(answer.code));
            if answer.code == 421 || !pipelined {
                break;
            }
        }
    }
    Some(refused)
}

/// The answer to a message; none where the connection was gone before it.
fn message(client: &mut Client, number: usize, chunked: bool) -> Option<u16> {
    let content = content(number);
    if !chunked {
        client.try_send(format!("{content}.\r\n").as_bytes());
        return Some(client.try_answer()?.code);
    }
    let (one, other) = content.split_at(content.len() / 2);
    client.try_send(format!("BDAT {}\r\n{one}", one.len()).as_bytes());
    let answer = client.try_answer()?;
    if answer.code != 250 {
        return Some(answer.code);
    }
    client.try_send(format!("BDAT {} LAST\r\n{other}", other.len()).as_bytes());
    Some(client.try_answer()?.code)
}

#[test]
fn the_gateway_is_killed() {
    let world = World::new(Victim::Gateway, "");
    let seen = world.run(6);
    world.verify(&seen);
}

#[test]
fn the_backends_are_killed() {
    let world = World::new(Victim::Backend, "");
    let seen = world.run(6);
    world.verify(&seen);
}

#[test]
fn the_network_is_cut() {
    let world = World::new(Victim::Network, "");
    let seen = world.run(6);
    world.verify(&seen);
}

#[test]
fn the_network_falls_silent() {
    let keys = "connect_timeout = \"2s\"\ncommand_timeout = \"2s\"\ndata_timeout = \"2s\"\n";
    let world = World::new(Victim::Silence, keys);
    let seen = world.run(80);
    world.verify(&seen);
}
