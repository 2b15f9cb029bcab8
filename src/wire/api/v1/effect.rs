//! The field `Gatepost-Effect` of an answer to a change: how many nodes it is in effect on, and after what time.

use std::time::Duration;

/// The name of the field.
pub const EFFECT_FIELD: &str = "Gatepost-Effect";

/// The value of the field, a dictionary of structured field values (RFC 9651 section 3.2): `nodes=3, seconds=0.004`.
pub fn effect_value(took: Duration, nodes: usize) -> String {
    // A decimal has at most three digits behind its point. A change that took less than one of them has taken one.
    let millis = took.as_micros().div_ceil(1000).min(999_999_999_999_999);
    format!("nodes={nodes}, seconds={}.{:03}", millis / 1000, millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_three_decimals() {
        for (micros, expected) in [
            (0, "nodes=3, seconds=0.000"),
            (1, "nodes=3, seconds=0.001"),
            (4000, "nodes=3, seconds=0.004"),
            (12_345_678, "nodes=3, seconds=12.346"),
        ] {
            assert_eq!(effect_value(Duration::from_micros(micros), 3), expected);
        }
        assert!(effect_value(Duration::MAX, 1).ends_with("=999999999999.999"));
    }
}
