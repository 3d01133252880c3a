//! The ledger: executes blocks, keeps the state and its tree, the receipts and the
//! audit log, and makes proofs of all of it.
//!
//! There is one writer, [`Ledger`], and any number of [`Reader`]s. A block is
//! executed on an overlay by pure functions of (state, block) and becomes one
//! synced batch; so after a crash at any instant the folder holds exactly the
//! blocks whose commit was acknowledged, or one more. Payloads are never read:
//! execution orders digests, validators fold beside it, and their signed results
//! come back as transactions.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod action;
mod audit;
mod condemn;
mod error;
mod execute;
mod forming;
mod genesis;
mod joining;
mod keeping;
mod ledger;
mod look;
mod masking;
mod merge;
mod open;
mod pace;
mod proof;
mod reader;
mod recovery;
mod rederive;
mod region;
mod replay;
mod retention;
mod rocks;
mod round;
mod selection;
mod stake;
mod stakes;
mod state;
mod store;
mod term;
mod tree;

/// Execution without a store, as [`Ledger`] runs it: for a state that is kept elsewhere.
pub mod pure {
    pub use crate::{
        execute::{Env, Transition, admit, execute_block},
        genesis::state as genesis_state,
        state::{StateRead, Writes},
        store::Row,
        term::Recovered,
    };
}

pub use error::{LedgerError, RecoverError};
pub use joining::{Anchor, Joining, is_in_window};
pub use ledger::{Executed, Head, Ledger};
pub use reader::{FoldBasis, Reader, TaskWithClusters};
pub use recovery::{Draft, Examined};
pub use rederive::{Area, Finding, Progress, Rederived, rederive};
pub use retention::{Dropped, Retention};
pub use stakes::{Delegation, Leaving};
