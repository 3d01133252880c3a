//! How far a joining has come, for the log and the API.

use parking_lot::Mutex;
use twinfold_types::{Height, api::JoinView};

#[derive(Default)]
pub struct Progress(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    view: JoinView,
    /// Of the space of places, how much is here.
    done: f64,
}

impl Progress {
    /// Another height is aimed at; parts that are here already count again as they are met.
    pub fn aim(&self, height: Height) {
        let mut inner = self.0.lock();
        inner.done = 0.0;
        inner.view.height = Some(height);
        inner.view.rows = 0;
        inner.view.phase = "fetching the state".into();
    }

    pub fn phase(&self, phase: &str) {
        let mut inner = self.0.lock();
        if inner.view.phase != phase {
            inner.view.phase = phase.into();
        }
    }

    /// Places that begin with so many nibbles are settled, by so many rows.
    pub fn settled(&self, nibbles: usize, rows: usize) {
        let mut inner = self.0.lock();
        inner.done += 16f64.powi(-(nibbles as i32));
        inner.view.rows += rows as u64;
    }

    pub fn received(&self, bytes: usize) {
        self.0.lock().view.bytes += bytes as u64;
    }

    pub fn peers(&self, peers: usize) {
        self.0.lock().view.peers = peers as u32;
    }

    /// A peer that sent what is not so.
    pub fn avoided(&self, name: &str) {
        let mut inner = self.0.lock();
        if !inner.view.avoided.iter().any(|avoided| avoided == name) {
            inner.view.avoided.push(name.into());
        }
    }

    pub fn view(&self) -> JoinView {
        let inner = self.0.lock();
        JoinView { percent: (inner.done * 100.0).min(100.0), ..inner.view.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_parts_make_the_part_above_them() {
        let progress = Progress::default();
        progress.aim(Height(7));
        (0..15).for_each(|_| progress.settled(1, 10));
        (0..16).for_each(|_| progress.settled(2, 1));
        let view = progress.view();
        assert_eq!((view.percent, view.rows, view.height), (100.0, 166, Some(Height(7))));
        progress.aim(Height(8));
        assert_eq!(progress.view().percent, 0.0);
    }
}
