//! Numbers and times as people read them.

use twinfold_types::{Stake, TimeMs};

/// `2026-11-23 15:04:05 UTC`.
pub fn time(time: TimeMs) -> String {
    let seconds = time.0 / 1_000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day since 1970-01-01 (Gregorian; Howard Hinnant's
/// `civil_from_days`, for days after the epoch).
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01 in eras of 400 years, so that leap days come last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// `1.2 MB`, in powers of a thousand.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1e3, 0);
    while value >= 1e3 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1e3, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Digits in groups of three, by thin spaces.
pub fn stake(stake: Stake) -> String {
    let digits = stake.0.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join("\u{2009}")
}

pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The first digits of an identity.
pub fn short(identity: &impl std::fmt::Display) -> String {
    identity.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_right_across_leap_days_and_centuries() {
        let shown = |seconds: u64| time(TimeMs(seconds * 1_000));
        assert_eq!(shown(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(shown(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(shown(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(shown(1_763_910_245), "2025-11-23 15:04:05 UTC");
        assert_eq!(shown(4_107_542_400), "2100-03-01 00:00:00 UTC");
        // The largest block time must not panic.
        time(TimeMs(u64::MAX));
    }

    #[test]
    fn stake_is_grouped() {
        let shown = [0, 999, 1_000_000].map(|some| stake(Stake(some)));
        assert_eq!(shown, ["0", "999", "1\u{2009}000\u{2009}000"]);
    }

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234_567), "1.2 MB");
        assert_eq!(bytes(u64::MAX), "18446744.1 TB");
    }
}
