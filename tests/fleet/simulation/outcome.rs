//! What a simulation found: violations of the promise, and figures.

use std::collections::BTreeMap;

/// The figures of a simulation, and the states that were promised.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// For each credential, the state that no check which begins now may precede.
    promised: Vec<u64>,
    pub violation: Option<String>,
    pub events: u64,
    pub messages: u64,
    pub doorbells: u64,
    /// Changes of the lease that came to their end.
    pub lease_changes: u64,
    /// Checks that were decided, and those that were not for want of trust or of a row.
    pub decided: u64,
    pub undecided: u64,
    /// The answered revocations by the reason of their wait, and the time of each wait in nanoseconds.
    pub answered: BTreeMap<&'static str, Vec<u64>>,
}

impl Outcome {
    pub fn new(names: usize) -> Outcome {
        Outcome {
            promised: vec![0; names],
            violation: None,
            events: 0,
            messages: 0,
            doorbells: 0,
            lease_changes: 0,
            decided: 0,
            undecided: 0,
            answered: BTreeMap::new(),
        }
    }

    /// The states that a check which begins now must have.
    pub fn promised(&self) -> &[u64] {
        &self.promised
    }

    /// Notes that a revocation was answered: no check that begins later may precede these states.
    pub fn promise(&mut self, states: &[u64]) {
        for (promised, state) in self.promised.iter_mut().zip(states) {
            *promised = (*promised).max(*state);
        }
    }

    /// Judges a check that was decided on `state`, and that had to have `promised` when it began.
    pub fn judge(&mut self, name: usize, state: u64, promised: u64, text: impl FnOnce() -> String) {
        self.decided += 1;
        if state < promised && self.violation.is_none() {
            self.violation = Some(format!(
                "a check of credential {name} passed on state {state}, and {promised} was promised before it began: {}",
                text()
            ));
        }
    }

    /// Notes the end of a wait.
    pub fn note(&mut self, reason: &'static str, nanos: u64) {
        self.answered.entry(reason).or_default().push(nanos);
    }

    /// The time below which this share of the answered waits lies, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut all: Vec<u64> = self.answered.values().flatten().copied().collect();
        all.sort_unstable();
        let place = ((all.len() as f64 * share) as usize).min(all.len().saturating_sub(1));
        all.get(place).map_or(0.0, |nanos| *nanos as f64 / 1e6)
    }
}
