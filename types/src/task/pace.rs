//! When a cluster's synchronous rounds close: with all participants, or with the least number while the others'
//! updates come late into later rounds, as in a buffered asynchronous task. A task can have the ledger choose
//! between the two, from round to round, by when updates came.

use super::TaskSpec;
use crate::{RoundNumber, TimeMs};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How a cluster's rounds close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// With the greatest number of participants, or at the deadline.
    #[default]
    All,
    /// With the least number.
    Enough,
}

/// When the pace changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Switch {
    /// All are waited for while that takes at most so many thousandths of what the least number takes.
    pub ratio_milli: u32,
    /// Rounds in a row that must say otherwise.
    pub rounds: u32,
}

/// What was seen of a round: times are block time since it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Arrivals {
    pub round: RoundNumber,
    pub opened: TimeMs,
    /// Updates so far, those that came after it had closed among them.
    pub updates: u32,
    /// When there were enough.
    pub enough_ms: Option<u64>,
    /// When the newest came, or the deadline was over.
    pub last_ms: u64,
}

/// Where a cluster's pace stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pacing {
    pub pace: Pace,
    /// Rounds in a row that spoke for the other.
    pub votes: u32,
    /// Of the round that collects, and of the one before.
    pub current: Option<Arrivals>,
    pub before: Option<Arrivals>,
}

impl Arrivals {
    fn new(round: RoundNumber, opened: TimeMs) -> Self {
        Self { round, opened, updates: 0, enough_ms: None, last_ms: 0 }
    }

    fn take(&mut self, now: TimeMs, least: u32) {
        self.updates += 1;
        self.last_ms = now.0.saturating_sub(self.opened.0);
        if self.updates == least {
            self.enough_ms = Some(self.last_ms);
        }
    }

    /// Whether waiting for the last took too long, by a ratio.
    fn is_slow(&self, switch: Switch) -> bool {
        let enough = u128::from(self.enough_ms.unwrap_or(self.last_ms).max(1));
        u128::from(self.last_ms) * 1_000 > enough * u128::from(switch.ratio_milli)
    }
}

impl Pacing {
    /// An update came for a round: the one that collects, or one before. `opened` is of the former.
    pub fn take(
        &mut self,
        of: RoundNumber,
        collecting: RoundNumber,
        opened: TimeMs,
        now: TimeMs,
        least: u32,
    ) {
        let current = self.current.filter(|current| current.round == collecting);
        let current = self.current.insert(current.unwrap_or(Arrivals::new(collecting, opened)));
        let meant = if of == current.round { Some(current) } else { self.before.as_mut() };
        if let Some(arrivals) = meant.filter(|arrivals| arrivals.round == of) {
            arrivals.take(now, least);
        }
    }

    /// The round that collects has closed. What to do from the next on, where that changes, and the arrivals
    /// that decided.
    pub fn close(&mut self, switch: Switch, most: u32, now: TimeMs) -> Option<(Pace, Arrivals)> {
        let mut closed = self.current.take()?;
        let judged = match self.pace {
            Pace::All => {
                // Whoever did not come by the deadline was waited for until then.
                closed.last_ms = now.0.saturating_sub(closed.opened.0);
                Some((closed, closed.is_slow(switch)))
            }
            // The stragglers of the round before had the whole of this one.
            Pace::Enough => self
                .before
                .map(|before| (before, before.updates >= most && !before.is_slow(switch))),
        };
        self.before = Some(closed);
        let (arrivals, other) = judged?;
        self.votes = if other { self.votes + 1 } else { 0 };
        if self.votes < switch.rounds {
            return None;
        }
        (self.votes, self.pace) = match self.pace {
            Pace::All => (0, Pace::Enough),
            Pace::Enough => (0, Pace::All),
        };
        Some((self.pace, arrivals))
    }
}

/// Why the switch does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let switch = spec.switch?;
    if spec.late.is_empty() {
        return Some("a task that switches carries late updates over: give late rounds".into());
    }
    if spec.participants_min == spec.participants_max {
        return Some("a task that switches closes rounds with its least or its greatest number of participants: they must differ".into());
    }
    let fits =
        (1_000..=1_000_000).contains(&switch.ratio_milli) && (1..=100).contains(&switch.rounds);
    (!fits).then(|| "a task switches at a ratio of 1 to 1,000, after 1 to 100 rounds".into())
}

/// As it is read: `2`, `1.5:4`.
impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", f64::from(self.ratio_milli) / 1e3, self.rounds)
    }
}

impl FromStr for Switch {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("expected RATIO or RATIO:ROUNDS such as 2 or 1.5:4, got {text:?}");
        let (ratio, rounds) = text.split_once(':').unwrap_or((text, "3"));
        let milli = (ratio.parse::<f64>().map_err(|_| fault())? * 1e3).round();
        let fits = (1e3..=1e6).contains(&milli);
        let rounds = rounds.parse().ok().filter(|rounds| (1..=100).contains(rounds));
        let rounds = rounds.filter(|_| fits).ok_or_else(fault)?;
        Ok(Self { ratio_milli: milli as u32, rounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: Switch = Switch { ratio_milli: 2_000, rounds: 2 };

    /// A round of four, of whom three are enough: when each came, and then it closes.
    fn play(pacing: &mut Pacing, round: u64, times: &[u64], closes: u64) -> Option<Pace> {
        let (round, opened) = (RoundNumber(round), TimeMs(round * 100_000));
        for at in times {
            pacing.take(round, round, opened, TimeMs(opened.0 + at), 3);
        }
        pacing.close(SWITCH, 4, TimeMs(opened.0 + closes)).map(|(pace, _)| pace)
    }

    #[test]
    fn two_rounds_that_waited_too_long_are_enough_to_go_on_without_the_last() {
        let mut pacing = Pacing::default();
        assert_eq!(play(&mut pacing, 0, &[10, 20, 100, 200], 200), None, "twice as long is borne");
        assert_eq!(play(&mut pacing, 1, &[10, 20, 100, 900], 900), None);
        assert_eq!(play(&mut pacing, 2, &[10, 20, 100, 120], 120), None, "and then again not");
        assert_eq!(play(&mut pacing, 3, &[10, 20, 100], 5_000), None, "one did not come at all");
        assert_eq!(play(&mut pacing, 4, &[10, 20, 100, 300], 300), Some(Pace::Enough));
        assert_eq!((pacing.pace, pacing.votes), (Pace::Enough, 0));
    }

    #[test]
    fn when_stragglers_come_soon_again_all_are_waited_for() {
        let mut pacing = Pacing { pace: Pace::Enough, ..Pacing::default() };
        let mut straggler = |round: u64, after: Option<u64>| {
            let changed = play(&mut pacing, round, &[10, 20, 100], 100);
            if let Some(after) = after {
                let (of, next) = (RoundNumber(round), RoundNumber(round + 1));
                let (opened, now) =
                    (TimeMs((round + 1) * 100_000), TimeMs(round * 100_000 + after));
                pacing.take(of, next, opened, now, 3);
            }
            changed
        };
        assert_eq!(straggler(0, Some(150)), None);
        assert_eq!(straggler(1, None), None, "the first came soon");
        assert_eq!(straggler(2, Some(150)), None, "the second did not come");
        assert_eq!(straggler(3, Some(180)), None);
        assert_eq!(straggler(4, Some(5_000)), Some(Pace::All), "the two before it had");
    }

    #[test]
    fn switches_are_read_as_they_are_written() {
        assert_eq!("2".parse(), Ok(Switch { ratio_milli: 2_000, rounds: 3 }));
        assert_eq!("1.5:4".parse::<Switch>().unwrap().to_string(), "1.5:4");
        for wrong in ["", "0.5", "2:0", "2:1000", "x", "2:3:4"] {
            assert!(wrong.parse::<Switch>().is_err(), "{wrong}");
        }
    }
}
