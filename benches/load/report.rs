//! The report: a table, and the ratios between the targets.

use super::CREDENTIALS;
use super::gatepost::HASH_COST;
use super::measure::{Round, Spread, machine, read};
use super::proc::nginx_version;
use super::targets::Kind;

/// All turns of one target.
#[derive(Debug)]
pub struct Rounds {
    kind: Kind,
    rounds: Vec<Round>,
}

impl Rounds {
    /// Starts without rounds.
    pub fn new(kind: Kind) -> Rounds {
        Rounds { kind, rounds: Vec::new() }
    }

    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    fn spread(&self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }
}

/// The share of lookups between two readings that the cache answered.
pub fn hit_ratio(before: &[(String, f64)], after: &[(String, f64)]) -> Option<f64> {
    let earlier = |result: &str| before.iter().find(|(r, _)| r == result).map_or(0.0, |(_, count)| *count);
    let all: f64 = after.iter().map(|(result, count)| count - earlier(result)).sum();
    let hits = after.iter().find(|(result, _)| result == "hit").map(|(_, count)| count - earlier("hit"))?;
    (all > 0.0).then_some(hits / all)
}

/// Prints the report. Returns true if all required figures are reached.
pub fn print(connections: u32, seconds: u32, table: &[Rounds], hits: Option<f64>) -> bool {
    let rounds = table.first().map_or(0, |t| t.rounds.len());
    println!("\nCPU time of the proxy process per request, median (minimum..maximum) of {rounds} turns\n");
    println!(
        "{:<28} {:>21} {:>7} {:>7} {:>24} {:>8} {:>8}",
        "", "CPU us", "user", "kernel", "requests/s", "p50 ms", "p99 ms"
    );
    for target in table {
        println!(
            "{:<28} {:>21} {:>7.1} {:>7.1} {:>24} {:>8.2} {:>8.2}",
            target.kind.name(),
            target.spread(Round::cpu).show(1),
            target.spread(|r| r.user).median,
            target.spread(|r| r.kernel).median,
            target.spread(|r| r.rate).show(0),
            target.spread(|r| r.p50).median,
            target.spread(|r| r.p99).median,
        );
    }
    let mut reached = true;
    let find = |kind| table.iter().find(|t| t.kind == kind);
    if let Some(gatepost) = find(Kind::Gatepost) {
        println!("\nCPU time of gatepost relative to the others, turn by turn");
        for (kind, wanted) in [(Kind::Auth, Some(1.0)), (Kind::Bare, Some(1.05)), (Kind::Plain, None)] {
            let Some(other) = find(kind) else { continue };
            let ratio = ratio(gatepost, other);
            let verdict = match wanted {
                Some(most) if ratio.median <= most => format!("required: at most {most:.2}, reached"),
                Some(most) => {
                    reached = false;
                    format!("required: at most {most:.2}, not reached")
                }
                None => String::new(),
            };
            println!("  to {:<28} {:>18}   {verdict}", kind.name(), ratio.show(2));
        }
    }
    print_conditions(connections, seconds, hits);
    reached
}

/// Each turn is compared with the other's turn next to it, so that what disturbs both cancels out.
fn ratio(one: &Rounds, other: &Rounds) -> Spread {
    Spread::of(one.rounds.iter().zip(&other.rounds).map(|(a, b)| a.cpu() / b.cpu()))
}

fn print_conditions(connections: u32, seconds: u32, hits: Option<f64>) {
    println!("\nmachine      {}", machine());
    println!(
        "load         wrk, 1 thread, {connections} kept connections, {seconds} s a turn; GET, 25 bytes answered"
    );
    println!("credentials  {CREDENTIALS} by Basic in turn, all checked before; bcrypt cost {HASH_COST}");
    if let Some(hits) = hits {
        println!("cache        {:.4} % of gatepost's lookups were hits", hits * 100.0);
    }
    println!("workers      one each; TLS off; access logs off; backend: nginx {}", nginx_version());
    let load: String = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    println!("other load   {load} (1, 5 and 15 minutes; the benchmark itself is about 2)");
}
