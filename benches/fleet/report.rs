//! The figures, and those of them that are required.

use std::time::Duration;

/// The required figures so far.
#[derive(Default)]
pub struct Report {
    missed: Vec<String>,
}

impl Report {
    /// Prints a figure that has to be at most `bound`.
    pub fn at_most(&mut self, what: &str, figure: f64, bound: f64, unit: &str) {
        let verdict = if figure <= bound { "reached" } else { "not reached" };
        println!("  {what:<58} {figure:>9.2} {unit:<2}  required: at most {bound} {unit}, {verdict}");
        // So that a figure that is not a number is missed.
        if verdict != "reached" {
            self.missed.push(what.to_owned());
        }
    }

    /// Returns true if all required figures are reached; names the others.
    pub fn is_reached(&self) -> bool {
        for what in &self.missed {
            eprintln!("not as it is wanted: {what}");
        }
        self.missed.is_empty()
    }
}

/// Prints the heading of a part.
pub fn heading(text: &str) {
    println!("\n{text}");
}

/// Prints a figure that is not required.
pub fn line(what: &str, text: &str) {
    println!("  {what:<58} {text}");
}

/// Times of one operation, in milliseconds.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// The quantile: 1 for the longest. Not a number if there is none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        let last = times.len().saturating_sub(1) as f64;
        times.get((last * share).ceil() as usize).copied().unwrap_or(f64::NAN)
    }

    /// Prints them.
    pub fn print(&self, what: &str) {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| self.quantile(share));
        let count = self.0.len();
        line(what, &format!("p50 {p50:.2} ms, p99 {p99:.2} ms, longest {most:.2} ms, of {count}"));
    }
}
