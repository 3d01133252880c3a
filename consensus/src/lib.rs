//! Agreement on one chain of blocks: PBFT, chained, as a pure state machine.
//!
//! [`Machine::step`] takes the time and one [`Event`] and returns the [`Effect`]s to
//! perform. It reads no clock, does no input or output and draws no randomness, so
//! the same events give the same effects. The code refers to the rules below by number; their
//! guards stand in [`rules`].
//!
//! A *vote* signs (chain, committee, epoch, view, height, block digest, kind). A quorum of
//! equal prepares is a *prepared certificate*, of equal commits a *commit certificate*.
//! A block's digest holds no view and no certificate, so a block stays the same block when a
//! later view takes it up. Certificates rank by (view, height).
//!
//! **Voting**
//! - P1. A validator signs at most one vote of each kind at each (view, height).
//! - P2. *Durable before spoken.* Whatever is signed is persisted in the turn that sends it,
//!   and counted only when it comes back after the sync. Before a prepare: the block's body.
//!   Before a commit: the body and the prepared certificate.
//! - P3. *Proposing.* The leader of an installed view proposes when there is something to order
//!   and it has prepared the base (P9): on its latest proposal, the base or the committed head,
//!   whichever is highest, a few heights above the committed head at most. What an ancestor
//!   in flight carries is not proposed again.
//! - P4. *Prepare.* A pre-prepared block is prepared when it is valid by itself, its height is
//!   above the base and within the watermark (P15), its parent is the committed head or was
//!   prepared by this validator in this view, and its time is above the parent's and not too far
//!   ahead of the clock (then it is held until it is not).
//! - P5. *Commit.* A block is voted for commit while holding its prepared certificate of this view.
//! - P6. A commit certificate commits its block and all ancestors, in whatever view one is.
//!
//! **Views**
//! - P7. *Leaving.* The view never decreases. After signing a view change for v a validator
//!   signs no vote below v.
//! - P8. *Claim.* A view change carries one certificate, the sender's highest; it is never
//!   forgotten inside an epoch and its block stays with it. A claim is of a view below the one moved
//!   to: whoever holds a certificate of view w signs no view change for w or less, since a quorum has
//!   installed w and will tell.
//! - P9. *New view.* It carries a quorum of view-change headers for exactly its view and the one full
//!   certificate of the highest claim: the *base*. Nobody's claim means that the base is genesis.
//! - P10. *One base.* The first valid new view of a view is installed and persisted before the first
//!   vote there, and kept over restarts.
//! - P11. *Base first.* The first prepare in a view is for the base, and no other block at or below
//!   its height gets a vote. The base cannot be refused: its certificate is its validity, so neither
//!   clock nor watermark nor being executed matters. Only who has committed beyond the base (and
//!   knows that its vote for it can change nothing) goes on from its head.
//! - P12. *Synchronising.* A view change for w counts for every v ≤ w. More than f senders above one's
//!   view pull to the (f+1)-th highest. The timer of a view starts at a quorum, the newest view change
//!   is repeated until the view is installed, and a valid new view pulls alone.
//! - P13. *Time-outs.* They follow what blocks took lately, double with each view that committed
//!   nothing, up to a cap, and shrink again when blocks come early. The leaders of the last empty
//!   views, f at most, get the shortest; n
//!   empty views in a row clear these marks. The timer of an installed view runs only while something
//!   waits to be ordered or is in flight. A view orders a limited number of heights; then the next
//!   leader takes over as planned.
//!
//! **Epochs**
//! - P19. *Hand-over.* An epoch's last block is the first whose time is at or after the epoch's end, or
//!   the one at the height that the admins named at least a watermark before. Nothing stands on it in
//!   its epoch. Once its checkpoint is stable and synced by the ledger, the next committee goes on from
//!   it, in view 0, with nothing of the old epoch's votes; what was signed there binds nobody any more.
//! - P21. *Recovery.* Where more than f seats are lost for good, a statement of m admins ends the epoch at
//!   a height in place of a checkpoint. Only who accepted that very one goes on under the committee that
//!   it names, in view 0, from that height, and signs nothing in the epoch before any more, from the
//!   moment of accepting.
//!
//! **Beyond votes**
//! - P14. *Checkpoints.* After executing h a validator signs (height, block, state) at every C-th
//!   height, at the newest height when nothing is in flight or waits, and whenever f+1 others
//!   did. A quorum makes it stable. Who disagrees with a stable one halts.
//! - P15. *Watermark.* No vote for a height too far above the stable checkpoint, except for a base.
//! - P16. *Status.* While anything is in flight, changing or missing, a validator tells where it
//!   stands; whoever hears it answers with what the other lacks. Nothing is sent in an idle network.
//! - P17. *Catching up.* Committed blocks are taken from anyone with a commit certificate of the last
//!   and an unbroken chain of parents. Bodies that a certificate names are asked of its signers.
//! - P18. *Bounded.* One vote per (seat, kind, height) of the installed view within a window, the
//!   newest view change per seat, a few early messages per seat.
//! - P20. *Old logs.* A validator that starts asks the others for the newest they saw it sign, and
//!   signs nothing before enough have answered. If its log lacks any of it, it signs nothing until a
//!   stable checkpoint is beyond all of it, and in no view that it may have left.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod attest;
mod bodies;
mod checkpoint;
mod commit;
mod diagnosis;
mod docket;
mod early;
mod effect;
mod epoch;
mod event;
mod machine;
mod order;
mod planted;
mod recovery;
pub mod rules;
mod signed;
mod silence;
mod sync;
mod timer;
mod view_change;
mod votes;

pub use diagnosis::{Diagnosis, Holdings, InFlight};
pub use docket::{Answer, Docket};
pub use effect::{Effect, HaltReason, Record, RecoveryError};
pub use event::{Config, Event, Head, Recovered};
pub use machine::Machine;
#[cfg(feature = "planted")]
pub use planted::Planted;
pub use silence::{Forgotten, Silent};
