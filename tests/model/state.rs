//! The three honest seats and what they have signed, in one form for all states that differ in
//! names only.

use crate::blocks::{Block, Cert, HEIGHTS_MAX, Scope, VIEWS_MAX, certs, digest, height};
use twinfold_consensus_planted::rules::{Rules, Standing};
use twinfold_types::{Height, View};

/// Honest seats of four.
pub const HONEST: usize = 3;

/// A view change: not signed, or with its claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    #[default]
    Unsigned,
    Claims(Cert),
}

type Votes = [[Block; HEIGHTS_MAX]; VIEWS_MAX];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    pub view: u8,
    pub installed: u8,
    pub base: Cert,
    pub head: Block,
    /// The least that the next view change may claim: it may know of more by then.
    pub highest: Cert,
    pub prepares: Votes,
    pub commits: Votes,
    pub changes: [Change; VIEWS_MAX],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    pub seats: [Seat; HONEST],
    /// Certificates that can be made of votes cast, with the liar's.
    pub prepared: u64,
    pub committed: u64,
}

impl Seat {
    pub fn standing(&self, rules: &Rules) -> Standing {
        Standing {
            view: View(self.view.into()),
            installed: View(self.installed.into()),
            base: rules.base_to_vote(self.base.body()),
            head: (Height(height(self.head) as u64), digest(self.head)),
            stable: Height(0),
            executed: Height(0),
        }
    }

    pub fn prepare(&mut self, height: usize) -> &mut Block {
        &mut self.prepares[self.installed as usize][height - 1]
    }

    pub fn commit(&mut self, height: usize) -> &mut Block {
        &mut self.commits[self.installed as usize][height - 1]
    }

    /// Own prepare of a height in the installed view; 0 is none.
    pub fn prepared(&self, height: usize) -> Block {
        if height == 0 { 0 } else { self.prepares[self.installed as usize][height - 1] }
    }

    pub fn raise(&mut self, cert: Cert) {
        if self.highest.0 == 0 || self.highest.rank() < cert.rank() {
            self.highest = cert;
        }
    }

    fn may_install(&self, rules: &Rules, view: usize) -> bool {
        let [moved_to, installed] = [self.view, self.installed].map(|view| View(view.into()));
        rules.may_install(moved_to, installed, View(view as u64))
    }

    fn renamed(&self, names: &[Block; 7]) -> Self {
        let votes = |votes: Votes| votes.map(|view| view.map(|block| names[block as usize]));
        Self {
            base: self.base.renamed(names),
            head: names[self.head as usize],
            highest: self.highest.renamed(names),
            prepares: votes(self.prepares),
            commits: votes(self.commits),
            changes: self.changes.map(|change| match change {
                Change::Claims(cert) => Change::Claims(cert.renamed(names)),
                Change::Unsigned => Change::Unsigned,
            }),
            ..*self
        }
    }
}

impl State {
    /// One state for all that are alike but for names and for what nothing can depend on.
    pub fn canonical(mut self, scope: &Scope, rules: &Rules) -> Self {
        self.collect(scope, rules);
        self.forget(scope, rules);
        let renamed = scope.renamings().iter().map(|names| self.renamed(names));
        renamed.min().unwrap_or(self)
    }

    /// The certificates that votes make: the liar adds one to each.
    fn collect(&mut self, scope: &Scope, rules: &Rules) {
        for view in 0..scope.views {
            for block in scope.blocks() {
                let row = height(block) - 1;
                let prepares = self.seats.iter().filter(|it| it.prepares[view][row] == block);
                let commits = self.seats.iter().filter(|it| it.commits[view][row] == block);
                let cert = Cert::new(view, block).bit();
                if prepares.count() + 1 >= rules.quorum() {
                    self.prepared |= cert;
                }
                if commits.count() + 1 >= rules.quorum() {
                    self.committed |= cert;
                }
            }
        }
    }

    fn forget(&mut self, scope: &Scope, rules: &Rules) {
        let last = scope.views - 1;
        let standing = self.seats.map(|seat| rules.may_vote(&seat.standing(rules)));
        for (seat, votes) in self.seats.iter_mut().zip(standing) {
            // Who has left votes nowhere until the next view.
            if !votes {
                (seat.installed, seat.base) = (0, Cert(0));
            }
            // Who is in the last view claims nothing any more.
            if seat.view as usize == last {
                seat.highest = Cert(0);
            }
        }
        for view in 0..scope.views {
            let may_vote = |(seat, votes): (&Seat, bool)| {
                usize::from(seat.view) <= view || (votes && usize::from(seat.installed) == view)
            };
            let mut pairs = self.seats.iter().zip(standing);
            if !pairs.any(may_vote) {
                // Nobody votes here again: what the votes made is collected.
                for seat in &mut self.seats {
                    seat.prepares[view] = Default::default();
                    seat.commits[view] = Default::default();
                }
            }
            if view > 0 && !self.seats.iter().any(|seat| seat.may_install(rules, view)) {
                self.seats.iter_mut().for_each(|seat| seat.changes[view] = Change::Unsigned);
            }
        }
        if self.seats.iter().all(|seat| usize::from(seat.installed) == last) {
            // Nobody claims or installs anything any more.
            let of_last = certs(self.prepared).filter(|cert| cert.view() == last);
            self.prepared = of_last.fold(0, |set, cert| set | cert.bit());
        }
    }

    fn renamed(&self, names: &[Block; 7]) -> Self {
        let set = |set| certs(set).fold(0, |set, cert| set | cert.renamed(names).bit());
        let mut seats = self.seats.map(|seat| seat.renamed(names));
        seats.sort_unstable();
        Self { seats, prepared: set(self.prepared), committed: set(self.committed) }
    }
}
