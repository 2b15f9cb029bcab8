//! The effect of a change in words.

use std::time::Duration;

/// Returns `In effect on all 3 nodes after 4 ms.`, or `In effect after 4 ms.` where there is one node.
///
/// A change that is waited for on no other node, though there are some, is in effect on those as soon as they read of it.
pub fn effect_words(nodes: usize, has_others: bool, took: Duration) -> String {
    let millis = took.as_millis();
    let time = match millis {
        0 => "less than 1 ms".to_owned(),
        1..10_000 => format!("{millis} ms"),
        _ => format!("{} s", took.as_secs()),
    };
    match nodes {
        0 | 1 if has_others => {
            format!("In effect on this node after {time}; any other node has it within milliseconds.")
        }
        0 | 1 => format!("In effect after {time}."),
        2 => format!("In effect on both nodes after {time}."),
        _ => format!("In effect on all {nodes} nodes after {time}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_time_are_named() {
        let words = |nodes, micros| effect_words(nodes, nodes > 1, Duration::from_micros(micros));
        assert_eq!(words(3, 4_200), "In effect on all 3 nodes after 4 ms.");
        assert_eq!(words(2, 1_000), "In effect on both nodes after 1 ms.");
        assert_eq!(words(1, 900), "In effect after less than 1 ms.");
        let of_this_one = "In effect on this node after 4 ms; any other node has it within milliseconds.";
        assert_eq!(effect_words(1, true, Duration::from_millis(4)), of_this_one);
        assert_eq!(words(1, 12_400_000), "In effect after 12 s.");
    }
}
