//! What is printed: tables and lines for people, one JSON document with `--json`.
//! Progress goes to stderr, and only where that is a terminal.

use crate::error::{CliError, Result};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    time::Duration,
};
use twinfold_types::{Stake, TimeMs};

#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints the value as JSON, or what `human` makes of it.
    pub fn show<T: Serialize + ?Sized>(
        &self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            let json = serde_json::to_string_pretty(value)
                .map_err(|error| CliError::Output(error.into()))?;
            return print(&json);
        }
        print(&human())
    }

    /// One JSON document on a line of its own, or a line for people.
    pub fn line<T: Serialize + ?Sized>(
        &self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            let json =
                serde_json::to_string(value).map_err(|error| CliError::Output(error.into()))?;
            return print(&json);
        }
        print(&human())
    }

    /// A spinner, visible only on a terminal.
    pub fn progress(&self, message: impl Into<String>) -> Progress {
        if self.json || !std::io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(message.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress(bar)
    }
}

/// Removed from the screen when dropped.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn say(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }

    /// How much of how much is done.
    pub fn bytes(&self, done: u64, all: u64) {
        let (done, all) = (indicatif::HumanBytes(done), indicatif::HumanBytes(all));
        self.0.set_message(format!("{done} of {all}"));
    }

    /// Prints a lasting line above the spinner (to stderr, on a terminal only).
    pub fn note(&self, line: impl AsRef<str>) {
        self.0.println(line);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(CliError::Output)
}

/// A table with a header.
pub fn table<R>(header: &[&str], rows: impl IntoIterator<Item = R>) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    let mut any = false;
    for row in rows {
        table.add_row(row.into_iter().collect::<Vec<_>>());
        any = true;
    }
    if any { table.to_string() } else { "(none)".into() }
}

/// Name and value, one pair a line.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

pub fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "–".into(), |value| value.to_string())
}

/// `2026-11-23 15:04:05.678Z`, by the civil calendar (Howard Hinnant's days-to-civil).
pub fn time(time: TimeMs) -> String {
    let (seconds, ms) = (time.0 / 1_000, time.0 % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The day of a time, `2026-11-23`.
pub fn date(at: TimeMs) -> String {
    time(at).chars().take(10).collect()
}

/// An amount of stake, its digits in groups of three: `2_500`, as the command line takes it.
pub fn amount(stake: Stake) -> String {
    let digits = stake.0.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join("_")
}

/// Thousandths as per cent.
pub fn permille(thousandths: u16) -> String {
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// `250ms`, `10s`, `90m`, `12h`, `21d`: the largest unit that is exact.
pub fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = |(unit, _): &&(u64, &str)| ms > 0 && ms.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1_000.0 && unit < UNITS.len() - 1 {
        value /= 1_000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(TimeMs(0)), "1970-01-01 00:00:00.000Z");
        assert_eq!(time(TimeMs(951_782_400_000)), "2000-02-29 00:00:00.000Z");
        assert_eq!(time(TimeMs(1_795_446_245_678)), "2026-11-23 15:04:05.678Z");
    }

    #[test]
    fn amounts_are_grouped_and_times_keep_their_exact_unit() {
        let shown = [0, 999, 1_000, 12_345_678].map(|some| amount(Stake(some)));
        assert_eq!(shown, ["0", "999", "1_000", "12_345_678"]);
        let shown = [0, 250, 10_000, 90 * 60_000, 21 * 86_400_000].map(duration);
        assert_eq!(shown, ["0ms", "250ms", "10s", "90m", "21d"]);
        assert_eq!(permille(25), "2.5 %");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(2_650), "2.6 kB");
    }
}
