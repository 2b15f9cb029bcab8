//! A model of the protocol between nodes: all states that a database, a network without bounds of delay, crashes and other
//! programs can bring the real `Member` and `Revoker` into.
//!
//! Property: once a revoker was answered, no check on a node that begins later passes on a state without the changes that
//! the answer was about. Nodes are independent of each other, since a revoker waits for every row, so most setups have one
//! node. Time is relative, so there is no horizon.

mod cold_steps;
mod database;
mod faults;
mod node_steps;
mod process_steps;
mod setup;
mod world;

mod broken;
mod cold;
mod sound;

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use cold_steps::ColdStep;
use faults::Fault;
use node_steps::NodeStep;
use process_steps::ProcessStep;
use setup::{Feature, Setup};
use world::{NOW, Stage, World};

/// A step of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Tick,
    Node(usize, NodeStep),
    Process(usize, ProcessStep),
    Cold(ColdStep),
    Fault(Fault),
}

struct Protocol(Setup);

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let setup = &self.0;
        steps.push(Step::Tick);
        for index in 0..world.nodes.len() {
            let mut found = Vec::new();
            node_steps::steps(setup, world, index, &mut found);
            steps.extend(found.into_iter().map(|step| Step::Node(index, step)));
        }
        for index in 0..world.revokers.len() {
            let mut found = Vec::new();
            process_steps::steps(setup, world, index, &mut found);
            steps.extend(found.into_iter().map(|step| Step::Process(index, step)));
        }
        let mut found = Vec::new();
        cold_steps::steps(setup, world, &mut found);
        steps.extend(found.into_iter().map(Step::Cold));
        let mut found = Vec::new();
        faults::faults(setup, world, &mut found);
        steps.extend(found.into_iter().map(Step::Fault));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let setup = &self.0;
        let mut next = world.clone();
        let has_changed = match step {
            Step::Tick => {
                next.tick(setup);
                return Some(next);
            }
            Step::Node(index, step) => node_steps::take(setup, &mut next, index, step),
            Step::Process(index, step) => process_steps::take(setup, &mut next, index, step),
            Step::Cold(step) => cold_steps::take(setup, &mut next, step),
            Step::Fault(fault) => faults::happen(setup, &mut next, fault),
        };
        next.normalize(setup, 0);
        has_changed.then_some(next)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        vec![
            Property::always(SAFE, |protocol: &Protocol, world: &World| {
                match protocol.0.has(Feature::ColdReads) {
                    true => !cold_steps::is_violated(world),
                    false => !world.is_violated(),
                }
            }),
            Property::sometimes(ANSWERED, |_, world: &World| {
                let is_done = |process: &world::Process| matches!(process.stage, Stage::Done(_));
                world.nodes[0].trust > NOW && world.revokers.iter().any(is_done)
            }),
        ]
    }
}

const SAFE: &str = "no check passes on a state before an answered change";
const ANSWERED: &str = "a node trusts its cache after a change was answered";

/// The states of a setup, and the steps to one in which a check passes on the old state, if there is one.
struct Exploration {
    states: usize,
    counterexample: Option<Path<World, Step>>,
    is_vacuous: bool,
}

/// Explores all states of a setup, or those that are at most `depth` steps away, until it finds a counterexample.
fn explore(setup: Setup, depth: Option<usize>) -> Exploration {
    let checker = Protocol(setup).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = match depth {
        Some(depth) => checker.target_max_depth(depth),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    Exploration {
        states: checker.unique_state_count(),
        counterexample: checker.discovery(SAFE),
        is_vacuous: checker.discovery(ANSWERED).is_none(),
    }
}

/// The steps of a path in words.
fn steps_of(path: Path<World, Step>) -> String {
    let steps = path.into_actions().into_iter().map(|step| format!("{step:?}"));
    steps.collect::<Vec<_>>().join("\n  ")
}
