//! What came out: a table for each shape of load, and how the targets compare.

use super::load::Shape;
use super::measure::{Round, Spread, machine};
use super::proc::nginx_version;
use super::targets::Kind;

/// All turns of all targets under one shape of load.
pub struct Table {
    shape: Shape,
    tls: bool,
    targets: Vec<(Kind, Vec<Round>)>,
}

impl Table {
    /// Empty.
    pub fn new(shape: Shape, tls: bool, kinds: impl Iterator<Item = Kind>) -> Table {
        Table { shape, tls, targets: kinds.map(|kind| (kind, Vec::new())).collect() }
    }

    /// One more turn of a target.
    pub fn add(&mut self, target: usize, round: Round) {
        self.targets[target].1.push(round);
    }

    /// Prints the report. Returns true if all required figures are reached.
    pub fn print(&self) -> bool {
        println!("\n{}, {}", self.shape.name(), if self.tls { "STARTTLS" } else { "in clear" });
        println!(
            "{:<20} {:>24} {:>7} {:>7} {:>24} {:>8} {:>8}",
            "", "CPU us", "user", "kernel", "messages/s", "p50 ms", "p99 ms"
        );
        for (kind, rounds) in &self.targets {
            let middle = |of: fn(&Round) -> f64| Spread::of(rounds.iter().map(of));
            println!(
                "{:<20} {:>24} {:>7.1} {:>7.1} {:>24} {:>8.2} {:>8.2}",
                kind.name(),
                middle(Round::cpu).show(1),
                middle(|r| r.user).median,
                middle(|r| r.kernel).median,
                middle(|r| r.rate).show(0),
                middle(|r| r.p50).median,
                middle(|r| r.p99).median,
            );
        }
        let of = |kind| self.targets.iter().find(|(k, _)| *k == kind).map(|(_, rounds)| rounds);
        match (of(Kind::Gatepost), of(Kind::Nginx)) {
            (Some(own), Some(other)) => self.compare(own, other),
            _ => true,
        }
    }

    /// Each turn is compared with the other's turn next to it, so that what disturbs both cancels out.
    fn compare(&self, own: &[Round], other: &[Round]) -> bool {
        let ratio =
            |of: fn(&Round) -> f64| Spread::of(own.iter().zip(other).map(move |(a, b)| of(a) / of(b)));
        let (cpu, rate, p50) = match (self.shape, self.tls) {
            (_, true) => (None, None, None),
            (Shape::One, false) => (Some(0.5), Some(1.5), None),
            (Shape::Hundred, false) => (Some(1.2), None, None),
            (Shape::Large, false) => (Some(1.0), None, Some(0.25)),
        };
        println!("  gatepost to nginx, turn by turn");
        let lines = [
            ("CPU", ratio(Round::cpu), cpu.map(|most| (most, false))),
            ("messages/s", ratio(|r| r.rate), rate.map(|least| (least, true))),
            ("p50", ratio(|r| r.p50), p50.map(|most| (most, false))),
        ];
        let mut reached = true;
        for (what, ratio, wanted) in lines {
            let verdict = wanted.map(|(bound, least)| {
                let (word, met) =
                    if least { ("least", ratio.median >= bound) } else { ("most", ratio.median <= bound) };
                reached &= met;
                format!("required: at {word} {bound:.2}, {}", if met { "reached" } else { "not reached" })
            });
            println!("  {what:<18} {:>24}   {}", ratio.show(2), verdict.unwrap_or_default());
        }
        reached
    }
}

/// What was measured on.
pub fn print_conditions(connections: usize, seconds: u64, rounds: usize, pipelining: bool) {
    println!("machine  {}", machine());
    let together = if pipelining { "MAIL, RCPT and DATA in one write" } else { "each command by itself" };
    println!(
        "load     {connections} sessions at once, AUTH PLAIN, {together}; {rounds} turns of {seconds} s"
    );
    println!("targets  one worker each, in front of smtp-sink; nginx {}", nginx_version());
    println!("figures  CPU time of the proxy's process for each message; median (least..most)");
}
