//! What must hold on every seed, one property a file, each restated with arithmetic
//! of its own.

pub mod agreement;
pub mod attribution;
pub mod base_first;
pub mod bounded;
pub mod certified;
pub mod clocks;
pub mod conserved;
pub mod counted;
pub mod determinism;
pub mod durability;
pub mod exactly_once;
pub mod heals;
pub mod one_base;
pub mod one_committee;
pub mod punished;
pub mod single_vote;
pub mod synced;
pub mod unbroken;
