//! The report: a table, and the ratios between the targets.

use super::gatepost::HASH_COST;
use super::measure::{Round, Spread, machine, read};
use super::proc::nginx_version;
use super::shapes::Shape;
use super::targets::Kind;
use super::{CREDENTIALS, h2load};

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
pub fn print(shape: Shape, table: &[Rounds], hits: Option<f64>) -> bool {
    let rounds = table.first().map_or(0, |t| t.rounds.len());
    println!("\n== {}: {}", shape.option(), shape.name());
    println!("\nCPU time of the proxy process per request, median (minimum..maximum) of {rounds} turns\n");
    // h2load tells no quantiles.
    let quantile = |ms: f64| if ms.is_nan() { "-".to_owned() } else { format!("{ms:.2}") };
    println!(
        "{:<28} {:>21} {:>7} {:>7} {:>24} {:>8} {:>8}",
        "", "CPU us", "user", "kernel", "requests/s", "p50 ms", "p99 ms"
    );
    for target in table {
        println!(
            "{:<28} {:>21} {:>7.1} {:>7.1} {:>24} {:>8} {:>8}",
            target.kind.name(),
            target.spread(Round::cpu).show(1),
            target.spread(|r| r.user).median,
            target.spread(|r| r.kernel).median,
            target.spread(|r| r.rate).show(0),
            quantile(target.spread(|r| r.p50).median),
            quantile(target.spread(|r| r.p99).median),
        );
    }
    let mut reached = true;
    let find = |kind| table.iter().find(|t| t.kind == kind);
    if let Some(gatepost) = find(Kind::Gatepost) {
        println!("\nCPU time of gatepost relative to the others, turn by turn");
        for &(kind, wanted) in shape.compared() {
            let Some(other) = find(kind) else { continue };
            let ratio = ratio(gatepost, other);
            let meets = ratio.median <= wanted;
            reached &= meets;
            let verdict = if meets { "reached" } else { "not reached" };
            let (name, shown) = (kind.name(), ratio.show(2));
            println!("  to {name:<28} {shown:>18}   required: at most {wanted:.2}, {verdict}");
        }
    }
    if let Some(hits) = hits {
        println!("\n{:.4} % of gatepost's cache lookups were hits", hits * 100.0);
    }
    reached
}

/// Each turn is compared with the other's turn next to it, so that what disturbs both cancels out.
fn ratio(one: &Rounds, other: &Rounds) -> Spread {
    Spread::of(one.rounds.iter().zip(&other.rounds).map(|(a, b)| a.cpu() / b.cpu()))
}

/// Prints the conditions under which everything was measured.
pub fn print_conditions(connections: u32, seconds: u32) {
    println!("\nmachine      {}", machine());
    println!(
        "load         1 thread, {seconds} s a turn; 25 bytes answered; wrk with {connections} kept connections,"
    );
    println!(
        "             for HTTP/2 h2load with {} connections of {} streams",
        h2load::CONNECTIONS,
        h2load::STREAMS
    );
    println!(
        "credentials  {CREDENTIALS} in turn (uploads 100, HTTP/2 1), all checked before; bcrypt cost {HASH_COST}"
    );
    println!("workers      one each; access logs off; backend: nginx {} without TLS", nginx_version());
    let load: String = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    println!("other load   {load} (1, 5 and 15 minutes; the benchmark itself is about 2)");
}
