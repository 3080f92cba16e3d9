//! Times as people read them.

const SECOND: u64 = 1_000_000_000;

/// A span with the precision that its length deserves: `12ms`, `1.3s`, `2m05s`, `3h04m`, `2d03h`.
#[must_use]
pub fn span(ns: u64) -> String {
    let seconds = ns / SECOND;
    match seconds {
        0 => format!("{}ms", ns / 1_000_000),
        1..60 => format!("{seconds}.{}s", ns % SECOND / 100_000_000),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A CPU time, always in seconds: columns of it compare at a glance.
#[must_use]
pub fn cpu_time(ns: u64) -> String {
    format!("{}.{}s", ns / SECOND, ns % SECOND / 100_000_000)
}

/// A date and time in UTC from nanoseconds since 1970, as `2026-11-21 05:47:43 UTC`.
#[must_use]
pub fn utc(ns: u64) -> String {
    let seconds = ns / SECOND;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a count of days since 1970, by years that begin in March so that leap days come last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_parts_at_most() {
        let s = SECOND;
        let spans = [12_345_678, s * 13 / 10, s * 125, s * 11_040, s * 183_600].map(span);
        assert_eq!(spans, ["12ms", "1.3s", "2m05s", "3h04m", "2d03h"]);
        assert_eq!(cpu_time(s * 90), "90.0s");
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400 * SECOND), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_798_761_599 * SECOND), "2026-12-31 23:59:59 UTC");
    }
}
