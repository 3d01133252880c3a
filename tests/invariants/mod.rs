//! What must hold on every seed, one property a file, each restated with arithmetic
//! of its own.

pub mod agreement;
pub mod durability;
pub mod exactly_once;
pub mod heals;
pub mod single_vote;
