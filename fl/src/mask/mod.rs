//! Masked rounds: each trainer adds masks to its update that cancel in the sum (Bonawitz et al., *Practical
//! Secure Aggregation for Privacy-Preserving Machine Learning*, CCS 2017), so that whoever reads the updates
//! learns their sum and nothing else.
//!
//! * [`secret`]: what one trainer holds for one round.
//! * [`deal`]: its secrets in shares (Shamir 1979), which everyone checks before they are needed: the shares
//!   times G stand on the ledger (Feldman 1987), and that they lie on one polynomial is tested by a random
//!   word of the dual code (SCRAPE: Cascudo and David, ACNS 2017). Whoever was dealt another share shows it.
//! * [`release`]: shares held against the ledger, and the secret that so many of them come to.
//! * [`noise`]: what a trainer adds before the masks, where the task asks for it.
//! * [`words`]: masks on an update's integers, and off their sum.
//!
//! Group: ristretto255 (RFC 9496). Masks are drawn by ChaCha20 (RFC 8439).
#![deny(clippy::float_arithmetic)]

pub mod deal;
mod group;
pub mod noise;
pub mod release;
pub mod secret;
pub mod words;

pub use deal::{check_complaint, check_deal, check_keys};
pub use release::{check_release, reconstruct};
pub use secret::RoundSecret;
pub use words::{Words, mask};
