//! While a peer reads the state of a height part by part, its tree must not be pruned away:
//! the height is held until nobody has asked for a while, and never for long.

use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use twinfold_ledger::Reader;
use twinfold_types::Height;

/// Without a request for so long the reader is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// However busy the reader is: stale rows pile up meanwhile.
const HOLD_MAX: Duration = Duration::from_secs(15 * 60);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The height held, if one is.
#[derive(Clone, Default)]
pub struct Hold(Arc<Mutex<Option<Held>>>);

struct Held {
    height: Height,
    since: Instant,
    touched: Instant,
}

impl Held {
    fn is_over(&self, now: Instant) -> bool {
        now - self.touched > SILENCE_MAX || now - self.since > HOLD_MAX
    }
}

impl Hold {
    /// Somebody reads this height. One is held at a time; those above it are kept as well.
    pub fn touch(&self, reader: &Reader, height: Height) {
        let now = Instant::now();
        let mut held = self.0.lock();
        match &mut *held {
            Some(held) if height >= held.height => held.touched = now,
            Some(_) => {}
            None => {
                *held = Some(Held { height, since: now, touched: now });
                reader.hold(Some(height));
                tokio::spawn(self.clone().let_go(reader.clone()));
            }
        }
    }

    async fn let_go(self, reader: Reader) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let mut held = self.0.lock();
            if held.as_ref().is_none_or(|held| held.is_over(Instant::now())) {
                *held = None;
                reader.hold(None);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_height_is_let_go_when_its_reader_falls_silent_and_at_the_latest_after_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let held = |touched| Held { height: Height(1), since: start, touched: at(touched) };
        assert!(!held(0).is_over(at(29)));
        assert!(held(0).is_over(at(31)));
        assert!(!held(890).is_over(at(899)));
        assert!(held(890).is_over(at(901)));
    }
}
