//! The properties that remember something, together.

use crate::invariants::{
    agreement::Agreement, base_first::BaseFirst, certified::Certified, clocks::Clocks,
    conserved::Conserved, counted::Counted, determinism::Determinism, durability::Durability,
    exactly_once::ExactlyOnce, one_base::OneBase, one_committee::OneCommittee, punished::Punished,
    single_vote::SingleVote, synced::Synced, unbroken::Unbroken,
};

#[derive(Default)]
pub struct Checks {
    pub agreement: Agreement,
    pub base_first: BaseFirst,
    pub certified: Certified,
    pub clocks: Clocks,
    pub conserved: Conserved,
    pub counted: Counted,
    pub determinism: Determinism,
    pub durability: Durability,
    pub exactly_once: ExactlyOnce,
    pub one_base: OneBase,
    pub one_committee: OneCommittee,
    pub punished: Punished,
    pub single_vote: SingleVote,
    pub synced: Synced,
    pub unbroken: Unbroken,
}
