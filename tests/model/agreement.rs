//! The agreement as a model: what honest seats may do, by the guards that the machine asks.

use crate::{
    blocks::{Block, Cert, Scope, certs, digest, height, is_ancestor, parent},
    state::{Change, HONEST, State},
};
use stateright::{Model, Property};
use twinfold_consensus_planted::rules::Rules;
use twinfold_types::{Epoch, Height, View, vote::VoteBody};

/// Seats, with the liar.
pub const SEATS: usize = HONEST + 1;

pub struct Agreement {
    pub scope: Scope,
    pub rules: Rules,
}

/// What one honest seat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// P7 P8: signs a view change, knowing this certificate as the highest.
    Move { seat: usize, to: usize, highest: Cert },
    /// P9 P10
    Install { seat: usize, view: usize, base: Cert },
    /// P4 P11
    Prepare { seat: usize, block: Block },
    /// P5
    Commit { seat: usize, block: Block },
    /// P6
    Decide { seat: usize, cert: Cert },
}

impl Model for Agreement {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let bases: Vec<Vec<Cert>> =
            (0..self.scope.views).map(|view| self.bases(state, view)).collect();
        for seat in 0..HONEST {
            // Seats that are alike do alike.
            if seat > 0 && state.seats[seat] == state.seats[seat - 1] {
                continue;
            }
            self.moves(state, seat, actions);
            self.installs(state, seat, &bases, actions);
            self.prepares(state, seat, actions);
            self.commits(state, seat, actions);
            self.decisions(state, seat, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Move { seat, to, highest } => {
                let claim = Cert::of(self.rules.claim(highest.body()));
                let seat = &mut next.seats[seat];
                seat.raise(highest);
                seat.view = to as u8;
                seat.changes[to] = Change::Claims(claim);
            }
            Action::Install { seat, view, base } => {
                let seat = &mut next.seats[seat];
                (seat.view, seat.installed, seat.base) = (view as u8, view as u8, base);
            }
            Action::Prepare { seat, block } => *next.seats[seat].prepare(height(block)) = block,
            Action::Commit { seat, block } => {
                let seat = &mut next.seats[seat];
                *seat.commit(height(block)) = block;
                seat.raise(Cert::new(seat.installed.into(), block));
            }
            Action::Decide { seat, cert } => {
                next.seats[seat].head = cert.block();
                next.seats[seat].raise(cert);
            }
        }
        Some(next.canonical(&self.scope, &self.rules))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| {
                certs(state.committed).all(|a| {
                    let on_one_chain = |b: Cert| {
                        is_ancestor(a.block(), b.block()) || is_ancestor(b.block(), a.block())
                    };
                    certs(state.committed).all(on_one_chain)
                })
            }),
            Property::sometimes("the last view commits", |model: &Self, state: &State| {
                certs(state.committed).any(|cert| cert.rank() == model.last())
            }),
        ]
    }
}

/// What the guards allow.
impl Agreement {
    fn last(&self) -> (usize, usize) {
        (self.scope.views - 1, self.scope.heights)
    }

    /// To any later view at any time, knowing any certificate that exists beyond what must be
    /// known.
    fn moves(&self, state: &State, seat: usize, actions: &mut Vec<Action>) {
        let at = &state.seats[seat];
        let from = View(at.view.into());
        for to in usize::from(at.view) + 1..self.scope.views {
            let higher = certs(state.prepared).filter(|cert| cert.rank() > at.highest.rank());
            for highest in higher.chain([at.highest]) {
                let body = highest.body();
                let to_view = View(to as u64);
                if self.rules.may_move(from, to_view, body.as_ref())
                    && self.is_claim_valid(to, self.rules.claim(body))
                {
                    actions.push(Action::Move { seat, to, highest });
                }
            }
        }
    }

    fn is_claim_valid(&self, to: usize, claim: Option<VoteBody>) -> bool {
        self.rules.is_claim_valid(Epoch(0), View(to as u64), claim.as_ref())
    }

    fn installs(&self, state: &State, seat: usize, bases: &[Vec<Cert>], actions: &mut Vec<Action>) {
        let at = &state.seats[seat];
        let [moved_to, installed] = [at.view, at.installed].map(|view| View(view.into()));
        for (view, bases) in bases.iter().enumerate().skip(1) {
            if self.rules.may_install(moved_to, installed, View(view as u64)) {
                let install = |base: &Cert| Action::Install { seat, view, base: *base };
                actions.extend(bases.iter().map(install));
            }
        }
    }

    /// What a new view of this view may stand on: its leader, a liar perhaps, chooses a quorum of
    /// view changes, the liar's own with any claim that a certificate proves.
    fn bases(&self, state: &State, view: usize) -> Vec<Cert> {
        let claims = state.seats.iter().filter_map(|seat| match seat.changes[view] {
            Change::Claims(cert) => Some(cert.body()),
            Change::Unsigned => None,
        });
        let honest: Vec<Option<VoteBody>> = claims.collect();
        let proven = certs(state.prepared).map(|cert| cert.body());
        let proven = proven.filter(|claim| self.is_claim_valid(view, *claim));
        let of_liar: Vec<_> = proven.chain([None]).map(Some).chain([None]).collect();
        let mut bases = Vec::new();
        for chosen in 0..1usize << honest.len() {
            let picked = (0..honest.len()).filter(|index| chosen >> index & 1 == 1);
            let picked: Vec<_> = picked.map(|index| honest[index]).collect();
            if picked.len() + 1 < self.rules.quorum() {
                continue;
            }
            for lie in &of_liar {
                let headers: Vec<_> = picked.iter().copied().chain(*lie).collect();
                let base = self.rules.base(&headers);
                let new = !bases.contains(&Cert::of(base));
                if new
                    && headers.len() >= self.rules.quorum()
                    && self.rules.is_base_fitting(&headers, base.as_ref())
                {
                    bases.push(Cert::of(base));
                }
            }
        }
        bases
    }

    /// The base, or whatever a lying leader may propose.
    fn prepares(&self, state: &State, seat: usize, actions: &mut Vec<Action>) {
        let me = &state.seats[seat];
        let at = me.standing(&self.rules);
        let base_prepared = me.prepared(height(me.base.block())) != 0;
        if self.rules.next_base(&at, base_prepared).is_some() {
            actions.push(Action::Prepare { seat, block: me.base.block() });
        }
        for block in self.scope.blocks() {
            let height = height(block);
            let below = me.prepared(height - 1);
            let own_below = (below != 0).then(|| digest(below));
            let parent = digest(parent(block));
            if me.prepared(height) == 0
                && self.rules.may_prepare(
                    &at,
                    base_prepared,
                    Height(height as u64),
                    parent,
                    own_below,
                )
            {
                actions.push(Action::Prepare { seat, block });
            }
        }
    }

    fn commits(&self, state: &State, seat: usize, actions: &mut Vec<Action>) {
        let me = &state.seats[seat];
        let at = me.standing(&self.rules);
        for cert in certs(state.prepared) {
            let open = cert.view() == usize::from(me.installed)
                && me.commits[cert.view()][height(cert.block()) - 1] == 0;
            let allowed = |body| self.rules.may_commit(&at, &body);
            if open && cert.body().is_some_and(allowed) {
                actions.push(Action::Commit { seat, block: cert.block() });
            }
        }
    }

    fn decisions(&self, state: &State, seat: usize, actions: &mut Vec<Action>) {
        let head = state.seats[seat].head;
        let above = certs(state.committed)
            .filter(|cert| height(cert.block()) > height(head) && is_ancestor(head, cert.block()));
        actions.extend(above.map(|cert| Action::Decide { seat, cert }));
    }
}
