//! Whatever a client asks for and whatever its backends do instead of what they should: what the client is told of a message
//! is what became of it. Clients and misdeeds are random; the whole relay stands between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::Gateway;
use crate::common::mail::{Answer, Client, JOE, smtp};
use crate::common::sink::{Act, Moment, Settings, Sink, say};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestCaseResult, TestRunner};

const CASES: u32 = 1000;

/// Replies that a misbehaving backend gives to any command.
const ANY: [&str; 7] = [
    "451 4.3.0 Later",
    "550 5.7.1 Never",
    "550-5.7.1 Never,\r\n550 5.7.1 and I mean it",
    "421 4.3.2 Closing",
    "+",
    "nonsense",
    "354 Go on",
];
/// Positive answers of an odd kind; the last one only where nothing else is waited for, since who says more than it was asked
/// for can't be understood any more.
const POSITIVE: [&str; 4] = ["250-Ok\r\n250 Ok", "251 Elsewhere", "221 Bye", "250 Ok\r\n250 Ok"];

/// A gateway before two backends that do what is in a list, one after another, and are good once it is empty.
struct World {
    gateway: Gateway,
    sinks: [Sink; 2],
    misdeeds: Arc<Mutex<VecDeque<Misdeed>>>,
    number: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

/// The action of a backend at one step.
#[derive(Clone, Debug)]
enum Misdeed {
    /// Nothing: the step is a good one.
    None,
    Close,
    Say(Index, bool),
    Odd(Index),
}

/// A transaction as its client means it.
#[derive(Clone, Debug)]
struct Plan {
    rcpts: usize,
    /// Written with what comes before it.
    together: [bool; 5],
    /// In so many chunks, or by DATA.
    chunks: Option<usize>,
    lines: usize,
    /// Ends with RSET instead of a message.
    reset: bool,
}

impl World {
    fn new() -> World {
        let misdeeds: Arc<Mutex<VecDeque<Misdeed>>> = Arc::default();
        let sinks = [0, 1].map(|_| {
            let misdeeds = misdeeds.clone();
            Sink::start(Settings::scripted(move |moment| {
                let misdeed = misdeeds.lock().unwrap().pop_front();
                misdeed.map_or(Act::Well, |misdeed| act(&misdeed, moment))
            }))
        });
        let addresses = sinks.each_ref().map(|sink| sink.address);
        let gateway = Gateway::start(&smtp(&addresses, "health_interval = \"50ms\"\nmax_errors = 1000\n"));
        gateway.account("email").credential(JOE, "email");
        let [number, accepted, refused] = [0, 0, 0].map(AtomicUsize::new);
        World { gateway, sinks, misdeeds, number, accepted, refused }
    }
}

fn act(misdeed: &Misdeed, moment: &Moment<'_>) -> Act {
    let odd = match moment.command {
        "RSET" | "message" => &POSITIVE[..],
        command if command.starts_with("MAIL") || command.starts_with("RCPT") => &POSITIVE[..3],
        _ => &[],
    };
    match misdeed {
        Misdeed::None => Act::Well,
        Misdeed::Close => Act::Close,
        // Whoever says anything about a message before its end doesn't take it.
        Misdeed::Say(which, _) if moment.command == "content" => {
            Act::SayAndClose(format!("{}\r\n", which.get(&ANY[..4])))
        }
        Misdeed::Say(which, close) => match (which.get(&ANY[..]), *close) {
            // One that goes on after that would be waiting for a message.
            (answer @ &"354 Go on", _) if moment.command != "DATA" => {
                Act::SayAndClose(format!("{answer}\r\n"))
            }
            (answer, true) => Act::SayAndClose(format!("{answer}\r\n")),
            (answer, false) => say(answer),
        },
        Misdeed::Odd(_) if odd.is_empty() => Act::Well,
        Misdeed::Odd(which) => say(which.get::<&str>(odd)),
    }
}

/// The replies that a client got.
#[derive(Debug, Default)]
struct Told {
    rcpts: Vec<String>,
    /// The code of the answer to the message, where there was one.
    end: Option<u16>,
}

impl Plan {
    /// Goes through with it, as far as the client is let.
    fn run(&self, client: &mut Client, number: usize) -> Option<Told> {
        let mut told = Told::default();
        let mut commands = vec![(format!("MAIL FROM:<{number}@test>"), false)];
        commands.extend((0..self.rcpts).map(|rcpt| (format!("RCPT TO:<{rcpt}@test>"), self.together[rcpt])));
        if self.reset {
            commands.push(("RSET".into(), self.together[4]));
        } else if self.chunks.is_none() {
            commands.push(("DATA".into(), self.together[4]));
        }
        let mut announced = self.chunks.is_some();
        while !commands.is_empty() {
            let count = 1 + commands[1..].iter().take_while(|(_, together)| *together).count();
            let group: Vec<String> = commands.drain(..count).map(|(command, _)| command).collect();
            client.try_send(format!("{}\r\n", group.join("\r\n")).as_bytes());
            for command in &group {
                let answer = client.try_answer()?;
                assert!((200..600).contains(&answer.code), "{answer:?} to {command}");
                match command.split_once(':') {
                    Some(("RCPT TO", rcpt)) if answer.code < 300 => told.rcpts.push(rcpt.to_owned()),
                    _ if command == "DATA" => announced = answer.code == 354,
                    _ => {}
                }
            }
        }
        if self.reset || !announced {
            return Some(told);
        }
        told.end = self.send(client, number)?;
        Some(told)
    }

    /// The message; its answer.
    fn send(&self, client: &mut Client, number: usize) -> Option<Option<u16>> {
        let content = self.content(number);
        let Some(chunks) = self.chunks else {
            client.try_send(format!("{content}.\r\n").as_bytes());
            return Some(Some(client.try_answer()?.code));
        };
        let size = content.len().div_ceil(chunks);
        let pieces: Vec<&[u8]> = content.as_bytes().chunks(size).collect();
        let commands = pieces.iter().enumerate().map(|(at, piece)| {
            let last = if at + 1 == pieces.len() { " LAST" } else { "" };
            [format!("BDAT {}{last}\r\n", piece.len()).as_bytes(), piece].concat()
        });
        let commands: Vec<Vec<u8>> = commands.collect();
        let refused = |answer: &Answer| answer.code >= 400;
        if self.together[0] {
            client.try_send(&commands.concat());
            let answers: Option<Vec<Answer>> = commands.iter().map(|_| client.try_answer()).collect();
            return Some(answers?.last().map(|answer| answer.code));
        }
        let mut end = None;
        for command in &commands {
            client.try_send(command);
            let answer = client.try_answer()?;
            end = Some(answer.code);
            if refused(&answer) {
                break;
            }
        }
        Some(end)
    }

    fn content(&self, number: usize) -> String {
        format!(
            "Subject: {number}\r\n\r\n{}end of {number}\r\n",
            "a line of the message\r\n".repeat(self.lines)
        )
    }
}

fn misdeeds() -> impl Strategy<Value = Vec<Misdeed>> {
    let misdeed = prop_oneof![
        6 => Just(Misdeed::None),
        1 => Just(Misdeed::Close),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(which, close)| Misdeed::Say(which, close)),
        1 => any::<Index>().prop_map(Misdeed::Odd),
    ];
    prop::collection::vec(misdeed, 0..24)
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan = (1..4usize, any::<[bool; 5]>(), prop::option::of(1..4usize), select(vec![0, 20, 2_000]), 0..8);
    let plan = plan.prop_map(|(rcpts, together, chunks, lines, reset)| Plan {
        rcpts,
        together,
        chunks,
        lines,
        reset: reset == 0,
    });
    prop::collection::vec(plan, 1..4)
}

/// Goes through with these plans, with backends that do these things; what the clients were told has to be true.
fn transact(world: &World, plans: &[Plan], misdeeds: Vec<Misdeed>) -> TestCaseResult {
    *world.misdeeds.lock().unwrap() = misdeeds.into();
    let mut client = None;
    let mut told = BTreeMap::new();
    for plan in plans {
        let number = world.number.fetch_add(1, Ordering::Relaxed);
        let log_in = || Client::login(world.gateway.address("smtp.listen"), JOE);
        let mut session = client.take().unwrap_or_else(log_in);
        let end = plan.run(&mut session, number);
        // Who isn't answered has lost the connection.
        if end.is_some() && session.try_say("RSET").is_some_and(|answer| answer.code == 250) {
            client = Some(session);
        }
        told.insert(number, (plan, end));
    }
    world.misdeeds.lock().unwrap().clear();
    let messages: Vec<_> = world.sinks.iter().flat_map(Sink::take_messages).collect();
    for (number, (plan, told)) in told {
        let mail = format!("<{number}@test>");
        let kept: Vec<_> = messages.iter().filter(|message| message.mail == mail).collect();
        prop_assert!(kept.len() <= 1, "{number} kept twice");
        if let Some(message) = kept.first() {
            prop_assert!(message.content.ends_with(plan.content(number).as_bytes()), "{number} isn't whole");
        }
        let Some(told) = told else { continue };
        match told.end {
            Some(200..300) => {
                prop_assert!(!kept.is_empty(), "{number} was accepted and is lost");
                prop_assert_eq!(&kept[0].rcpts, &told.rcpts);
                world.accepted.fetch_add(1, Ordering::Relaxed);
            }
            Some(500..) | None => {
                prop_assert!(kept.is_empty(), "{number} was refused and is there");
                world.refused.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[test]
fn what_a_client_is_told_is_what_became_of_its_message() {
    let world = World::new();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let run = runner.run(&(plans(), misdeeds()), |(plans, misdeeds)| transact(&world, &plans, misdeeds));
    run.unwrap_or_else(|error| panic!("{error}"));
    let [accepted, refused] = [&world.accepted, &world.refused].map(|count| count.load(Ordering::Relaxed));
    assert!(accepted > CASES as usize / 4 && refused > CASES as usize / 4, "{accepted} and {refused}");
}
