use crate::kit::*;
use twinfold_types::{
    Action, Code, Event, TxId,
    genesis::ChainParams,
    limits,
    member::{AdminAction, Proposal, ProposalStatus, Role},
    state_key,
};

fn trainer(number: u8, organisation: &str) -> Action {
    Action::AddTrainer(member(number, organisation, &[Role::Trainer]))
}

fn propose(chain: &mut Chain, action: AdminAction) -> TxId {
    let receipt = chain.apply(ADMIN, Action::Propose(action));
    assert_eq!(receipt.code, Code::Ok);
    receipt.tx.unwrap()
}

fn proposal(chain: &Chain, id: &TxId) -> Proposal {
    chain.reader.get(&state_key::proposal(id)).unwrap().unwrap()
}

#[test]
fn a_key_that_is_no_member_can_do_nothing() {
    let mut chain = Chain::new();
    let action = Action::Propose(AdminAction::SetThreshold(1));
    assert_eq!(chain.code(STRANGER, action), Code::UnknownSender);
}

#[test]
fn a_role_can_do_what_its_table_says_and_nothing_else() {
    let mut chain = Chain::new();
    for sender in [OPERATOR, TRAINER, AUDITOR, VALIDATOR] {
        let action = Action::Propose(AdminAction::SetThreshold(1));
        assert_eq!(chain.code(sender, action), Code::NotPermitted);
    }
    for sender in [ADMIN, TRAINER, AUDITOR, VALIDATOR] {
        assert_eq!(chain.code(sender, trainer(50, "hospital")), Code::NotPermitted);
    }
    for sender in [TRAINER, AUDITOR, VALIDATOR] {
        let spec = chain.spec();
        let action = Action::CreateTask(Box::new(spec));
        assert_eq!(chain.code(sender, action), Code::NotPermitted);
    }
    let task = chain.task(|_| {});
    for sender in [ADMIN, OPERATOR, AUDITOR, VALIDATOR] {
        let update = chain.update(task, 0);
        assert_eq!(chain.code(sender, Action::Update(Box::new(update))), Code::NotPermitted);
    }
    chain.send(TRAINER, task, 0);
    for sender in [ADMIN, OPERATOR, TRAINER, AUDITOR] {
        let action = chain.signed(chain.result(round_job(task, 0, 0), 1), &[0, 1]);
        assert_eq!(chain.code(sender, action), Code::NotPermitted);
    }
}

#[test]
fn an_operator_adds_and_removes_trainers_of_its_own_organisation() {
    let mut chain = Chain::new();
    let events = chain.ok(OPERATOR, trainer(50, "hospital"));
    assert_eq!(events, [Event::MemberAdded { key: public(50) }]);
    assert_eq!(chain.code(OPERATOR, trainer(50, "hospital")), Code::MemberExists);
    assert_eq!(chain.code(OPERATOR, trainer(51, "plant")), Code::OtherOrganisation);
    let remove = |number| Action::RemoveTrainer(public(number));
    assert_eq!(chain.code(OTHER_OPERATOR, remove(50)), Code::OtherOrganisation);
    assert_eq!(chain.code(OPERATOR, remove(OPERATOR)), Code::NotPermitted);
    assert_eq!(chain.code(OPERATOR, remove(STRANGER)), Code::MemberUnknown);
    assert_eq!(chain.ok(OPERATOR, remove(50)), [Event::MemberRemoved { key: public(50) }]);
    let task = chain.task(|_| {});
    let update = chain.update(task, 0);
    assert_eq!(chain.code(50, Action::Update(Box::new(update))), Code::UnknownSender);
}

#[test]
fn an_operator_adds_trainers_only_and_no_more_than_the_quota() {
    let mut chain = Chain::new();
    let both = member(50, "hospital", &[Role::Trainer, Role::Admin]);
    assert_eq!(chain.code(OPERATOR, Action::AddTrainer(both)), Code::InvalidMember);
    // Four stand in genesis, the quota is six.
    chain.ok(OPERATOR, trainer(50, "hospital"));
    chain.ok(OPERATOR, trainer(51, "hospital"));
    assert_eq!(chain.code(OPERATOR, trainer(52, "hospital")), Code::QuotaReached);
    chain.decide(AdminAction::SetQuota { organisation: "hospital".into(), trainers: 7 });
    chain.ok(OPERATOR, trainer(52, "hospital"));
    assert_eq!(chain.code(OPERATOR, trainer(53, "hospital")), Code::QuotaReached);
    chain.ok(OPERATOR, Action::RemoveTrainer(public(50)));
    chain.ok(OPERATOR, trainer(53, "hospital"));
}

#[test]
fn a_proposal_is_carried_out_by_the_signature_that_makes_the_threshold() {
    let mut chain = Chain::new();
    let new = member(60, "new", &[Role::Operator]);
    let id = propose(&mut chain, AdminAction::AddMember(new));
    assert_eq!(proposal(&chain, &id).status, ProposalStatus::Open);
    assert_eq!(chain.code(ADMIN, Action::SignProposal(id)), Code::AlreadySigned);
    assert_eq!(
        chain.code(ADMIN_TWO, Action::SignProposal(TxId(twinfold_types::Digest([9; 32])))),
        Code::ProposalUnknown
    );
    let events = chain.ok(ADMIN_TWO, Action::SignProposal(id));
    let expected = [
        Event::ProposalSigned { id, by: public(ADMIN_TWO), signatures: 2 },
        Event::MemberAdded { key: public(60) },
        Event::ProposalPassed { id },
    ];
    assert_eq!(events, expected);
    assert_eq!(chain.code(ADMIN_THREE, Action::SignProposal(id)), Code::ProposalEnded);
}

#[test]
fn signatures_of_admins_removed_meanwhile_do_not_count() {
    let mut chain = Chain::new();
    let new = member(60, "new", &[Role::Operator]);
    let id = propose(&mut chain, AdminAction::AddMember(new));
    let remove = AdminAction::RemoveMember(public(ADMIN));
    let removal = chain.apply(ADMIN_TWO, Action::Propose(remove)).tx.unwrap();
    chain.ok(ADMIN_THREE, Action::SignProposal(removal));
    let events = chain.ok(ADMIN_TWO, Action::SignProposal(id));
    assert_eq!(events, [Event::ProposalSigned { id, by: public(ADMIN_TWO), signatures: 1 }]);
    chain.ok(ADMIN_THREE, Action::SignProposal(id));
    assert_eq!(proposal(&chain, &id).status, ProposalStatus::Passed);
}

#[test]
fn a_proposal_that_the_state_refuses_by_then_has_failed() {
    let mut chain = Chain::new();
    let add = AdminAction::AddMember(member(50, "hospital", &[Role::Trainer]));
    let id = propose(&mut chain, add);
    chain.ok(OPERATOR, trainer(50, "hospital"));
    let events = chain.ok(ADMIN_TWO, Action::SignProposal(id));
    assert_eq!(events[1..], [Event::ProposalFailed { id, code: Code::MemberExists }]);
    assert_eq!(proposal(&chain, &id).status, ProposalStatus::Failed);
}

#[test]
fn the_admins_cannot_become_fewer_than_the_signatures_needed() {
    let mut chain = Chain::new();
    chain.decide(AdminAction::RemoveMember(public(ADMIN_THREE)));
    let action = Action::Propose(AdminAction::RemoveMember(public(ADMIN_TWO)));
    assert_eq!(chain.code(ADMIN, action), Code::AdminsTooFew);
    for threshold in [0, 3] {
        let action = Action::Propose(AdminAction::SetThreshold(threshold));
        assert_eq!(chain.code(ADMIN, action), Code::ThresholdInvalid);
    }
    chain.decide(AdminAction::SetThreshold(1));
    let params: ChainParams = chain.reader.get(&state_key::params()).unwrap().unwrap();
    assert_eq!(params.threshold, 1);
    // One signature is enough now: the proposal passes at once.
    let remove = AdminAction::RemoveMember(public(ADMIN_TWO));
    let events = chain.ok(ADMIN, Action::Propose(remove));
    assert!(events.contains(&Event::MemberRemoved { key: public(ADMIN_TWO) }));
}

#[test]
fn a_member_that_holds_a_seat_stays() {
    let mut chain = Chain::new();
    let action = Action::Propose(AdminAction::RemoveMember(public(VALIDATOR)));
    assert_eq!(chain.code(ADMIN, action), Code::HoldsSeat);
}

#[test]
fn a_weak_key_and_a_taken_peer_are_refused() {
    let mut chain = Chain::new();
    let mut weak = member(60, "new", &[Role::Auditor]);
    weak.key.0 = [0; 32];
    weak.key.0[0] = 1;
    let mut twin = member(60, "new", &[Role::Auditor]);
    twin.peer = Some("peer 2".into());
    for new in [weak, twin] {
        let action = Action::Propose(AdminAction::AddMember(new));
        assert_eq!(chain.code(ADMIN, action), Code::InvalidMember);
    }
}

#[test]
fn a_proposal_lapses_at_the_end_of_its_lifetime() {
    let mut chain = Chain::new();
    let id = propose(&mut chain, AdminAction::SetThreshold(1));
    let expires = proposal(&chain, &id).expires;
    assert_eq!(chain.reader.next_deadline().unwrap(), Some(expires));
    let receipts = chain.block_at(expires.0, vec![]);
    // Long after, the block is an epoch's last as well: what it brings about stands together.
    assert_eq!(receipts[0].events[0], Event::ProposalLapsed { id });
    assert_eq!((receipts[0].tx, receipts[0].index), (None, 0));
    assert_eq!(chain.code(ADMIN_TWO, Action::SignProposal(id)), Code::ProposalEnded);
    assert_eq!(chain.reader.next_deadline().unwrap(), None);
}

#[test]
fn proposals_that_nobody_else_supports_are_bounded_and_keep_no_other_admin_from_proposing() {
    let mut chain = Chain::new();
    let action = || Action::Propose(AdminAction::SetThreshold(1));
    let txs = (0..=limits::PROPOSALS_UNSUPPORTED_MAX).map(|_| chain.tx(ADMIN, action())).collect();
    let receipts = chain.block(txs);
    let (last, others) = receipts.split_last().unwrap();
    assert!(others.iter().all(|receipt| receipt.code == Code::Ok));
    assert_eq!(last.code, Code::TooManyProposals);
    assert_eq!(chain.apply(ADMIN_TWO, action()).code, Code::Ok);
}
