//! From one leader to the next: view changes, new views, bases (P7–P13).

use crate::{Machine, Record, commit::signers};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    Evidence, Height, SeatIndex, View,
    key::Statement,
    message::ConsensusMessage,
    vote::{NewView, NewViewBody, ViewChange, ViewChangeBody, ViewChangeHeader, VoteBody},
};

/// The newest installed view and what it stands on. View 0 needs no new view.
#[derive(Clone, Debug, Default)]
pub(crate) struct Installed {
    pub view: View,
    /// What the base's certificate says; none means genesis.
    pub base: Option<VoteBody>,
    pub new_view: Option<NewView>,
}

impl Installed {
    pub fn from_new_view(new_view: NewView) -> Self {
        let base = new_view.body.certificate.as_ref().map(|certificate| certificate.body);
        Self { view: new_view.body.view, base, new_view: Some(new_view) }
    }

    pub fn base_height(&self) -> Height {
        self.base.map_or(Height(0), |base| base.height)
    }

    pub fn base_signers(&self) -> Vec<SeatIndex> {
        let new_view = self.new_view.as_ref();
        new_view.and_then(|new_view| new_view.body.certificate.as_ref()).map_or(vec![], signers)
    }
}

/// The newest view change of each seat.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViewChanges {
    newest: BTreeMap<SeatIndex, ViewChange>,
    /// Own, as signed; counted in `newest` after its sync.
    pub own: Option<ViewChange>,
    /// Seats already named as equivocating.
    pub accused: BTreeSet<SeatIndex>,
}

impl ViewChanges {
    pub fn get(&self, seat: SeatIndex) -> Option<&ViewChange> {
        self.newest.get(&seat)
    }

    pub fn insert(&mut self, change: ViewChange) {
        self.newest.insert(change.header.seat, change);
    }

    pub fn count(&self) -> usize {
        self.newest.len()
    }

    /// Seats that ask for this view or a later one.
    fn count_from(&self, view: View) -> usize {
        self.newest.values().filter(|change| change.header.body.view >= view).count()
    }

    /// Those that ask for exactly this view, in order of seats.
    fn of_view(&self, view: View) -> Vec<&ViewChange> {
        self.newest.values().filter(|change| change.header.body.view == view).collect()
    }

    /// The highest view that `needed` other seats or more ask for.
    fn pull(&self, own: Option<SeatIndex>, needed: usize) -> Option<View> {
        let others = self.newest.values().filter(|change| Some(change.header.seat) != own);
        let mut views: Vec<View> = others.map(|change| change.header.body.view).collect();
        views.sort_unstable_by(|a, b| b.cmp(a));
        views.get(needed - 1).copied()
    }
}

/// Leaving (P7, P8, P12, P13).
impl Machine {
    /// Whether the view's timer should run.
    pub(crate) fn has_timed_view(&self) -> bool {
        if self.seat.is_none() || self.is_silent() || self.is_over() {
            return false;
        }
        if self.view == self.installed.view {
            return self.work || self.is_in_flight();
        }
        self.view_changes.count_from(self.view) >= self.committee.quorum()
    }

    pub(crate) fn time_out(&mut self) -> bool {
        if !self.pace.is_due(self.now) {
            return false;
        }
        self.pace.restart();
        self.has_timed_view() && self.move_on()
    }

    /// A validator that was silent may be in a view for which it has no view change to show: it
    /// moves beyond whatever it may have signed.
    pub(crate) fn renew_change(&mut self) -> bool {
        let own = self.view_changes.own.as_ref().map(|change| change.header.body.view);
        self.view > self.installed.view
            && own != Some(self.view)
            && !self.is_silent()
            && !self.is_over()
            && self.move_on()
    }

    /// The planned change after a view's last height.
    pub(crate) fn rotate(&mut self) -> bool {
        self.may_vote()
            && !self.is_over()
            && self.head.height >= self.last_of_view()
            && self.move_on()
    }

    /// To the next view, if there is one: a member that signed for the last view there can be has
    /// nowhere to go.
    fn move_on(&mut self) -> bool {
        self.view.0.checked_add(1).is_some_and(|view| self.move_to(View(view)))
    }

    /// Signs a view change. False where a certificate shows that a quorum is in that
    /// view or beyond it already (P8).
    fn move_to(&mut self, view: View) -> bool {
        let Some(seat) = self.seat.filter(|_| !self.is_silent()) else { return false };
        let highest = self.highest.as_ref().map(|certificate| certificate.body);
        if !self.rules.may_move(self.view, view, highest.as_ref()) {
            return false;
        }
        self.leave_view();
        self.view = view;
        let claim = self.rules.claim(highest);
        let body = ViewChangeBody { epoch: self.epoch(), view, claim };
        let statement = body.statement(&self.chain, &self.committee_digest);
        let signature = self.signer.sign(&statement);
        let header = ViewChangeHeader { body, seat, signature };
        let certificate = self.highest.clone().filter(|_| claim.is_some());
        let change = ViewChange { header, certificate };
        self.view_changes.own = Some(change.clone());
        self.persist(Record::ViewChange(Box::new(change.clone())));
        self.broadcast(ConsensusMessage::ViewChange(Box::new(change)));
        true
    }

    fn leave_view(&mut self) {
        let leader = self.committee.leader(self.view);
        self.pace.leave(leader, self.committee.faults(), self.committee.size());
        self.asked = None;
    }

    pub(crate) fn on_view_change(&mut self, change: ViewChange) {
        let header = &change.header;
        let known = self.view_changes.get(header.seat).map(|known| &known.header);
        if let Some(known) = known
            && known.body.view == header.body.view
        {
            let (known, header) = (known.clone(), header.clone());
            let is_new = known.body != header.body
                && !self.view_changes.accused.contains(&known.seat)
                && self.is_header_valid(&header);
            if is_new {
                self.view_changes.accused.insert(known.seat);
                self.accuse(Evidence::ViewChanges(Box::new(known), Box::new(header)));
            }
            return;
        }
        let is_newer = known.is_none_or(|known| known.body.view < header.body.view);
        if !is_newer || header.body.view <= self.installed.view || !self.is_change_valid(&change) {
            return;
        }
        self.newest.view_change(&change.header);
        self.compare_with_commits(&change.header);
        self.view_changes.insert(change);
        if let Some(view) = self.view_changes.pull(self.seat, self.committee.weak_quorum())
            && view > self.view
        {
            self.move_to(view);
        }
    }

    /// Whether its sender committed what it does not claim any more (P8).
    fn compare_with_commits(&mut self, header: &ViewChangeHeader) {
        let claim = header.body.claim.map(|claim| claim.rank());
        let commits = self.slots.values().filter_map(|slot| slot.commits.get(&header.seat));
        let mut left_out = commits.filter(|commit| {
            commit.body.view < header.body.view && claim < Some(commit.body.rank())
        });
        if let Some(commit) = left_out.next().cloned()
            && self.view_changes.accused.insert(header.seat)
        {
            self.accuse(Evidence::Claim(Box::new(commit), Box::new(header.clone())));
        }
    }

    fn is_change_valid(&self, change: &ViewChange) -> bool {
        let claimed = match (&change.header.body.claim, &change.certificate) {
            (None, None) => true,
            (Some(claim), Some(certificate)) => {
                *claim == certificate.body && self.is_certified(certificate)
            }
            _ => false,
        };
        claimed && self.is_header_valid(&change.header)
    }

    /// Signature, epoch, and a claim of a lower view and a kind that can be claimed.
    fn is_header_valid(&self, header: &ViewChangeHeader) -> bool {
        let body = &header.body;
        let statement = body.statement(&self.chain, &self.committee_digest);
        body.epoch == self.epoch()
            && self.rules.is_claim_valid(self.epoch(), body.view, body.claim.as_ref())
            && self.is_seat_signature(header.seat, &statement, &header.signature)
    }

    pub(crate) fn is_seat_signature(
        &self,
        seat: SeatIndex,
        statement: &Statement,
        signature: &twinfold_types::Signature,
    ) -> bool {
        let key = self.committee.key(seat);
        key.is_some_and(|key| self.verifier.verify(key, statement, signature))
    }
}

/// Arriving (P9–P12).
impl Machine {
    /// As leader of the view moved to, with a quorum of changes for it.
    pub(crate) fn make_new_view(&mut self) -> bool {
        // Never of a view that it only knows to have moved to: it may have made one (P20).
        let moved = self.view_changes.own.as_ref().map(|own| own.header.body.view);
        if self.is_silent() || moved != Some(self.view) {
            return false;
        }
        if self.view == self.installed.view || self.seat != Some(self.committee.leader(self.view)) {
            return false;
        }
        let changes = self.view_changes.of_view(self.view);
        if changes.len() < self.rules.quorum() {
            return false;
        }
        let claims: Vec<_> = changes.iter().map(|change| change.header.body.claim).collect();
        let base = self.rules.base(&claims);
        let of_base = changes.iter().find(|change| change.header.body.claim == base);
        let body = NewViewBody {
            epoch: self.epoch(),
            view: self.view,
            headers: changes.iter().map(|change| change.header.clone()).collect(),
            certificate: of_base.and_then(|change| change.certificate.clone()),
        };
        let statement = body.statement(&self.chain, &self.committee_digest);
        let new_view = NewView { body, signature: self.signer.sign(&statement) };
        self.install(new_view.clone());
        self.broadcast(ConsensusMessage::NewView(Box::new(new_view)));
        true
    }

    pub(crate) fn on_new_view(&mut self, new_view: NewView) {
        let view = new_view.body.view;
        if self.rules.may_install(self.view, self.installed.view, view)
            && self.is_new_view_valid(&new_view)
        {
            self.install(new_view);
        }
    }

    fn is_new_view_valid(&self, new_view: &NewView) -> bool {
        let NewViewBody { epoch, view, headers, certificate } = &new_view.body;
        let count = headers.len();
        let shape = *epoch == self.epoch()
            && (self.rules.quorum()..=self.committee.size()).contains(&count)
            && headers.is_sorted_by(|a, b| a.seat < b.seat)
            && headers.iter().all(|header| header.body.view == *view);
        let claims: Vec<_> = headers.iter().map(|header| header.body.claim).collect();
        let base = certificate.as_ref().map(|certificate| &certificate.body);
        let statement = new_view.body.statement(&self.chain, &self.committee_digest);
        let leader = self.committee.leader(*view);
        let verify = || {
            self.is_seat_signature(leader, &statement, &new_view.signature)
                && headers.iter().all(|header| self.is_header_valid(header))
                && certificate.as_ref().is_none_or(|certificate| self.is_certified(certificate))
        };
        shape && self.rules.is_base_fitting(&claims, base) && verify()
    }

    /// The votes of the view before are of no use any more: what they made is in the claims.
    fn install(&mut self, new_view: NewView) {
        // Whoever moved to it has left the one before already.
        match new_view.body.view > self.view {
            true => self.leave_view(),
            false => self.pace.restart(),
        }
        self.asked = None;
        self.view = new_view.body.view;
        self.persist(Record::NewView(Box::new(new_view.clone())));
        self.enter(new_view);
        for message in self.early.take(self.view) {
            self.on_message(self.signer.public_key(), message);
        }
    }

    pub(crate) fn enter(&mut self, new_view: NewView) {
        self.newest.new_view(&new_view);
        self.installed = Installed::from_new_view(new_view);
        self.slots.clear();
        self.bodies.forget_wanted(|_, _| true);
        self.settled = true;
    }
}
