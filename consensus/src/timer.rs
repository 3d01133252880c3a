//! When a view has lasted too long (P13).

use std::collections::VecDeque;
use twinfold_types::{
    SeatIndex, TimeMs,
    limits::{VIEW_TIMEOUT_MS_FIRST, VIEW_TIMEOUT_MS_MAX, VIEW_TIMEOUT_MS_MIN},
};

/// Doublings after which the cap holds anyway.
const BACKOFF_MAX: u32 = 6;
const _: () = assert!(VIEW_TIMEOUT_MS_MIN << BACKOFF_MAX >= VIEW_TIMEOUT_MS_MAX);

/// A leader is given so many times what the slowest of the latest blocks took.
const PATIENCE_FACTOR: u64 = 10;

#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Doublings of the shortest time-out.
    backoff: u32,
    /// What the slowest of the latest blocks took; it fades as quicker ones come.
    slowest_ms: u64,
    /// Leaders of the latest empty views, f at most.
    marks: VecDeque<SeatIndex>,
    /// Empty views in a row.
    empty_views: usize,
    /// Something was committed in this view.
    productive: bool,
    /// When the running timer was started, and when it ends.
    running: Option<(TimeMs, TimeMs)>,
}

impl Default for Pace {
    /// Nothing is known of the network yet: the first time-out is the cautious one.
    fn default() -> Self {
        Self {
            backoff: 0,
            slowest_ms: VIEW_TIMEOUT_MS_FIRST / PATIENCE_FACTOR,
            marks: VecDeque::new(),
            empty_views: 0,
            productive: false,
            running: None,
        }
    }
}

impl Pace {
    pub fn deadline(&self) -> Option<TimeMs> {
        self.running.map(|(_, deadline)| deadline)
    }

    pub fn is_due(&self, now: TimeMs) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    pub fn timeout_ms(&self, leader: SeatIndex) -> u64 {
        let backoff = if self.marks.contains(&leader) { 0 } else { self.backoff };
        (self.shortest_ms() << backoff).min(VIEW_TIMEOUT_MS_MAX)
    }

    fn shortest_ms(&self) -> u64 {
        let patience = self.slowest_ms.saturating_mul(PATIENCE_FACTOR);
        patience.clamp(VIEW_TIMEOUT_MS_MIN, VIEW_TIMEOUT_MS_FIRST)
    }

    /// Starts the timer where it should run and does not; stops it where it should not.
    pub fn run(&mut self, wanted: bool, now: TimeMs, leader: SeatIndex) {
        match (wanted, self.running) {
            (true, None) => self.running = Some((now, now.plus(self.timeout_ms(leader)))),
            (false, Some(_)) => self.running = None,
            _ => {}
        }
    }

    pub fn restart(&mut self) {
        self.running = None;
    }

    /// Views begin anew; what the last one of the epoch before came to is no merit of the first.
    pub fn begin_epoch(&mut self) {
        (self.running, self.productive) = (None, false);
    }

    /// A block was committed: the view lives. One that came in less than half of the
    /// next shorter time-out makes the time-out shorter.
    pub fn committed(&mut self, now: TimeMs, leader: SeatIndex) {
        if let Some((started, _)) = self.running {
            let took = now.0.saturating_sub(started.0);
            if self.backoff > 0 && took < (self.shortest_ms() << (self.backoff - 1)) / 2 {
                self.backoff -= 1;
            }
            self.slowest_ms = took.max(self.slowest_ms - self.slowest_ms / 8);
        }
        self.running = None;
        self.productive = true;
        self.empty_views = 0;
        self.marks.retain(|seat| *seat != leader);
    }

    /// A view with this leader is left, in a committee of `seats` that bears `faults`.
    pub fn leave(&mut self, leader: SeatIndex, faults: usize, seats: usize) {
        self.running = None;
        if std::mem::take(&mut self.productive) {
            return;
        }
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
        self.empty_views += 1;
        self.marks.retain(|seat| *seat != leader);
        self.marks.push_back(leader);
        while self.marks.len() > faults {
            self.marks.pop_front();
        }
        if self.empty_views >= seats {
            self.empty_views = 0;
            self.marks.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_double_up_to_the_cap_and_marked_leaders_get_the_shortest() {
        let mut pace = Pace::default();
        for view in 0..10u16 {
            pace.leave(SeatIndex(view % 7), 2, 7);
        }
        let first = VIEW_TIMEOUT_MS_FIRST;
        assert_eq!(pace.timeout_ms(SeatIndex(6)), VIEW_TIMEOUT_MS_MAX);
        // Views 8 and 9 came after seven empty ones had cleared the marks.
        assert_eq!(pace.timeout_ms(SeatIndex(2)), first);
        assert_eq!(pace.timeout_ms(SeatIndex(1)), first);
        assert_eq!(pace.timeout_ms(SeatIndex(0)), VIEW_TIMEOUT_MS_MAX);
    }

    #[test]
    fn a_silent_leader_of_an_epochs_first_view_is_marked_though_the_epoch_before_ended_well() {
        let mut pace = Pace::default();
        pace.run(true, TimeMs(100), SeatIndex(3));
        pace.committed(TimeMs(200), SeatIndex(3));
        pace.begin_epoch();
        pace.leave(SeatIndex(0), 1, 4);
        assert_eq!((pace.backoff, pace.marks.contains(&SeatIndex(0))), (1, true));
    }

    #[test]
    fn early_blocks_shorten_the_time_out_again() {
        let mut pace = Pace::default();
        pace.leave(SeatIndex(0), 1, 4);
        pace.leave(SeatIndex(1), 1, 4);
        assert_eq!(pace.timeout_ms(SeatIndex(2)), VIEW_TIMEOUT_MS_FIRST * 4);
        pace.run(true, TimeMs(100), SeatIndex(2));
        pace.committed(TimeMs(200), SeatIndex(2));
        assert_eq!(pace.timeout_ms(SeatIndex(2)), VIEW_TIMEOUT_MS_FIRST * 2);
    }

    #[test]
    fn a_quick_network_waits_less_for_a_silent_leader_and_one_slow_block_lasts_a_while() {
        let mut pace = Pace::default();
        let block = |pace: &mut Pace, took_ms: u64| {
            pace.run(true, TimeMs(1_000), SeatIndex(0));
            pace.committed(TimeMs(1_000 + took_ms), SeatIndex(0));
            pace.timeout_ms(SeatIndex(0))
        };
        assert_eq!(block(&mut pace, 5), 880, "88 ms is the slowest remembered");
        let quick = (0..40).map(|_| block(&mut pace, 5)).last();
        assert_eq!(quick, Some(VIEW_TIMEOUT_MS_MIN));
        assert_eq!(block(&mut pace, 70), 700);
        assert_eq!(block(&mut pace, 5), 620, "it fades");
    }
}
