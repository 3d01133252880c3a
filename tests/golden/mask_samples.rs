//! What is said in masked rounds and kept of them.

use crate::samples::{key, round_key};
use twinfold_fl::mask::RoundSecret;
use twinfold_types::{
    Action, Code, Event, TxId,
    round::RoundKey,
    state_key::{self, StateKey},
    task::masks::{MaskAction, MaskKeys, MaskStage, MaskStep, Masker, Masking},
};

fn secrets() -> Vec<RoundSecret> {
    (1..=9).map(|seed| RoundSecret::new([seed; 32], round_key())).collect()
}

fn keys() -> Vec<MaskKeys> {
    secrets().iter().map(RoundSecret::keys).collect()
}

/// Nine members, of whom the last neither dealt nor sent.
pub fn masking() -> Masking {
    let member = |(index, keys): (u8, &MaskKeys)| {
        let trainer = key(index + 1);
        let there = index < 8;
        Masker { trainer, keys: *keys, dealt: there, sent: there, released: index < 7 }
    };
    let keys = keys();
    let members = (0..).zip(&keys).map(member).collect();
    let round: RoundKey = round_key();
    let secrets = vec![shares()[0].own, shares()[1].pair];
    Masking { stage: MaskStage::Unmasked, members, secrets, ..Masking::new(round) }
}

fn shares() -> Vec<twinfold_fl::mask::secret::Shares> {
    let (secrets, keys) = (secrets(), keys());
    let open = |dealer: usize| {
        let deal = secrets[dealer].deal(&keys, dealer).expect("points");
        secrets[2].open(&keys[dealer], 2, &deal.to(dealer as u32, 2).expect("a member"))
    };
    (0..2).map(|dealer| open(dealer).expect("a good share")).collect()
}

pub fn actions() -> Vec<(&'static str, Action)> {
    let (secrets, keys) = (secrets(), keys());
    let deal = secrets[1].deal(&keys, 1).expect("points");
    let complaint = secrets[2].complain(&keys, 2, 1).expect("points");
    let action = |step| Action::Mask(Box::new(MaskAction { round: round_key(), step }));
    vec![
        ("mask keys", action(MaskStep::Keys(keys[0]))),
        ("mask deal", action(MaskStep::Deal(Box::new(deal)))),
        ("mask complain", action(MaskStep::Complain(complaint))),
        ("mask release", action(MaskStep::Release(masking().secrets))),
    ]
}

pub fn events() -> Vec<(&'static str, Event)> {
    let (round, stage) = (round_key(), MaskStage::Releasing);
    let failed = |code| {
        let id = TxId(crate::samples::digest(8));
        Event::ProposalFailed { id, code }
    };
    vec![
        ("mask stage", Event::MaskStageBegun { key: round, stage, members: 8 }),
        ("false share", Event::FalseShare { key: round, dealer: key(2), by: key(3) }),
        ("mask payload", failed(Code::MaskPayload)),
    ]
}

pub fn state_keys() -> Vec<(&'static str, StateKey)> {
    let round = round_key();
    vec![
        ("masking", state_key::masking(&round)),
        ("mask deal", state_key::mask_deal(&round, 3)),
        ("mask release", state_key::mask_release(&round, 3)),
        ("mask barred", state_key::mask_barred(&round.task, &key(1))),
        ("privacy spent", state_key::privacy_spent(&round.task, &key(1))),
    ]
}
