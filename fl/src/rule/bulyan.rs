//! Which updates Bulyan takes (El Mhamdi, Guerraoui and Rouault, *The Hidden Vulnerability of
//! Distributed Learning in Byzantium*, ICML 2018); the rest is [`super::coordinate`].
//!
//! n − 2f updates are chosen one after the other, each as Krum chooses among those that are left; then
//! each value is the mean of the n − 4f chosen ones that are nearest to the median. It bears f poisoned
//! of n ≥ 4f + 3, also such as differ in few coordinates, which Krum lets through. It uses the fewest
//! updates of all rules: the most is lost where trainers' data differ.
#![deny(clippy::float_arithmetic)]

use super::krum;
use twinfold_types::BlobDigest;

/// Which updates are chosen, in their order. There are 4f + 3 at least.
pub fn choose(distances: &[u64], digests: &[BlobDigest], faults: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..digests.len()).collect();
    let mut chosen: Vec<usize> = (0..digests.len() - 2 * faults)
        .map(|_| left.remove(krum::best(distances, digests, &left, faults)))
        .collect();
    chosen.sort_unstable();
    chosen
}
