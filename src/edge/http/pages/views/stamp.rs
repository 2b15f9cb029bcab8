//! A moment in words.

use time::OffsetDateTime;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The distance in days from which a date says more than a number of days.
const LONGEST_IN_DAYS: i64 = 60;

/// A moment as a page shows it: relative to now, with the exact time in its `title` and `datetime`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `3 minutes ago`, `in 5 days`, or `29 Aug 2025`.
    pub relative: String,
    /// `2026-11-29 02:56:13 UTC`.
    pub absolute: String,
    /// `2026-11-29T02:56:13Z`.
    pub machine: String,
}

impl Stamp {
    /// Returns the stamp of a moment. Both are in seconds since 1970.
    pub fn new(at: i64, now: i64) -> Stamp {
        let moment = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
        let (hour, minute, second) = moment.to_hms();
        Stamp {
            relative: relative(moment, at, now),
            absolute: format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"),
            machine: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
        }
    }
}

fn relative(moment: OffsetDateTime, at: i64, now: i64) -> String {
    let distance = now.saturating_sub(at);
    let length = distance.saturating_abs();
    let (count, unit) = match length {
        ..MINUTE if distance >= 0 => return "just now".to_owned(),
        ..MINUTE => return "in less than a minute".to_owned(),
        MINUTE..HOUR => (length / MINUTE, "minute"),
        HOUR..DAY => (length / HOUR, "hour"),
        _ if length / DAY < LONGEST_IN_DAYS => (length / DAY, "day"),
        _ => {
            let month = moment.month().to_string();
            return format!("{} {} {}", moment.day(), &month[..3], moment.year());
        }
    };
    let plural = if count == 1 { "" } else { "s" };
    if distance > 0 { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_920_973;

    #[test]
    fn distances_are_told_in_their_largest_unit() {
        let cases = [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (3_600, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "1 day ago"),
            (59 * 86_400, "59 days ago"),
            (60 * 86_400, "30 Sep 2026"),
            (-1, "in less than a minute"),
            (-60, "in 1 minute"),
            (-7 * 86_400, "in 7 days"),
        ];
        for (distance, words) in cases {
            assert_eq!(Stamp::new(NOW - distance, NOW).relative, words, "{distance}");
        }
    }

    #[test]
    fn the_exact_time_is_in_utc() {
        let stamp = Stamp::new(NOW, NOW);
        assert_eq!(stamp.absolute, "2026-11-29 02:56:13 UTC");
        assert_eq!(stamp.machine, "2026-11-29T02:56:13Z");
    }

    #[test]
    fn no_number_panics() {
        for at in [i64::MIN, i64::MAX, 0] {
            Stamp::new(at, i64::MAX);
            Stamp::new(at, i64::MIN);
        }
    }
}
