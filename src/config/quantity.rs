//! Parsing of durations and sizes: a whole number and a unit.

use std::time::Duration;

use super::wording::shown;

/// The shortest duration that can be set.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
/// The longest duration of most settings.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest duration of a session.
pub(super) const LONGEST_SESSION: Duration = Duration::from_secs(90 * 24 * 3600);

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 24 * 3_600_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const DURATION_FORM: &str =
    "expected a number and a unit, such as \"250ms\", \"30s\", \"10m\", \"1h\" or \"7d\"";
const SIZE_FORM: &str = "expected a number and a unit, such as \"512B\", \"64KiB\", \"10MB\" or \"30MiB\"";

/// Parses a duration: `250ms`, `30s`, `10m`, `1h`, `7d`.
///
/// # Errors
/// The text for the operator.
pub fn duration(text: &str) -> Result<Duration, String> {
    scale(text, &DURATION_UNITS, "duration", DURATION_FORM).map(Duration::from_millis)
}

/// Parses a size in bytes: `512B`, `64KiB`, `10MB`, `30MiB`, `1GiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    scale(text, &SIZE_UNITS, "size", SIZE_FORM)
}

/// The error for a duration without a unit.
pub(super) fn duration_without_unit(number: &str) -> String {
    format!("missing unit in {number}: {DURATION_FORM}")
}

/// The error for a size without a unit.
pub(super) fn size_without_unit(number: &str) -> String {
    format!("missing unit in {number}: {SIZE_FORM}")
}

/// Formats a duration so that [`duration`] parses it, in the largest unit without a remainder.
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Formats a size so that [`size`] parses it, in binary units.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &[SIZE_UNITS[0], SIZE_UNITS[1], SIZE_UNITS[2], SIZE_UNITS[6]])
}

fn scale(text: &str, units: &[(&str, u64)], what: &str, form: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if !number.is_empty() && unit.is_empty() {
        return Err(format!("missing unit in '{}': {form}", shown(text)));
    }
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let (Some(factor), false) = (factor, number.is_empty()) else {
        return Err(format!("invalid {what} '{}': {form}", shown(text)));
    };
    let scaled = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    scaled.ok_or_else(|| format!("{what} '{}' is too large", shown(text)))
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    let (name, factor) = unit.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_scaled() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("7d"), Ok(7 * DAY));
        assert_eq!(size("30MiB"), Ok(30 << 20));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(show_size(1_000), "1000B");
        assert_eq!(show_duration(Duration::from_millis(90_000)), "90s");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "s", "-1s", "1.5s", "1 s", "1S", "1h30m", "30", "1w", "1D", "99999999999999999999s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "MiB", "1mib", "1 MiB", "1M", "64", "99999999999GiB", "1_0B", "٣B"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(duration("30").unwrap_err().contains("missing unit"));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(amount in 0..u64::MAX / 2) {
            prop_assert_eq!(size(&show_size(amount)), Ok(amount));
            let time = Duration::from_millis(amount);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (duration(&text), size(&text));
        }
    }
}
