//! From signed updates to models, to the bit.
//!
//! A model is i32 steps of 2^−S per tensor; an update is integers with a
//! power-of-two exponent per tensor; folding is an exact weighted mean in i64
//! with one division. Sums of integers commute, so any order of arrival, any
//! number of threads and any processor give the same bits.
//!
//! * [`fixed`]: the arithmetic, with every rounding named.
//! * [`layout`]: where tensors stand in the canonical form.
//! * [`update`]: the payload format of an update.
//! * [`compress`]: what a trainer does to a delta (the only floating point here).
//! * [`clip`], [`check`]: what every validator checks of an update.
//! * [`support`]: the places of updates that send a draw of all.
//! * [`mask`]: updates that are readable only as a sum.
//! * [`screen`], [`server`]: what comes before a rule, and after it.
//! * [`down`]: what comes down to trainers.
//! * [`rule`], [`fold`], [`merge`]: the rules, and the entry points for nodes and verifiers.
//! * [`contribution`]: what each update had in the result.
//!
//! Nothing here does I/O, reads a clock, draws randomness or iterates in an
//! order that is not stated.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod check;
pub mod clip;
pub mod compress;
pub mod contribution;
pub mod down;
pub mod fixed;
pub mod fold;
pub mod layout;
pub mod mask;
pub mod merge;
pub mod rule;
pub mod screen;
pub mod server;
pub mod source;
pub mod support;
pub mod update;

pub use fold::{Base, FoldInput, Folded, fold_round};
pub use layout::{Layout, canonical_bytes, steps_from_canonical};
pub use merge::{Merged, merge};
pub use source::Source;
