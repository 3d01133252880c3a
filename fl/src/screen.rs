//! What is done to a round's updates before its rule sees them: norms are cut to a multiple of their
//! median, so that none is louder than the crowd (Nguyen et al., *FLAME: Taming Backdoors in Federated
//! Learning*, USENIX Security 2022); and an update that points away from the sum of the others does not
//! count.
//!
//! Both go by the updates of the round itself: they bear fewer than half that are poisoned, and see no
//! poison that has a usual norm and a usual direction. Integers throughout: norms are rounded down to
//! steps of the finest trained scale.
#![deny(clippy::float_arithmetic)]

use crate::{
    Layout,
    clip::square_norm,
    rule::{BLOCK, Rows, Weighted},
};
use twinfold_types::{limits::FACTOR_ONE, task::Screen};

const MILLION: i128 = 1_000_000;

/// Sets each update's factor; which of them count.
pub fn screen(screen: &Screen, layout: &Layout, updates: &mut [Weighted<'_>]) -> Vec<bool> {
    if let Some(ppm) = screen.clip_ppm {
        clip(ppm, layout.norm_scale(), updates);
    }
    match screen.cosine_ppm {
        Some(ppm) => directions(layout, updates).iter().map(|way| way.is_along(ppm)).collect(),
        None => vec![true; updates.len()],
    }
}

/// The median is the lower one of an even number.
fn clip(ppm: u32, scale: u8, updates: &mut [Weighted<'_>]) {
    let norm = |counted: &Weighted| square_norm(&counted.update, scale).isqrt() as u64;
    let norms: Vec<_> = updates.iter().map(norm).collect();
    let mut sorted = norms.clone();
    sorted.sort_unstable();
    let Some(median) = sorted.get(sorted.len().saturating_sub(1) / 2) else { return };
    // Norms are below 2^31 and the share below 2^27.
    let most = median * u64::from(ppm) / MILLION as u64;
    for (update, norm) in updates.iter_mut().zip(norms) {
        if norm > most {
            update.factor = ((most << 16) / norm) as u32;
        }
    }
    debug_assert!(updates.iter().all(|update| update.factor <= FACTOR_ONE));
}

/// An update x beside the sum r of the others.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// ⟨x, r⟩.
    product: i128,
    /// ‖x‖ · ‖r‖, each rounded down.
    norms: i128,
}

impl Way {
    /// Whether its cosine is at least so many millionths. One of nothing but zeros has no direction:
    /// it does not count where one is asked for.
    fn is_along(self, ppm: i32) -> bool {
        let Way { product, norms } = self;
        match norms {
            0 => ppm <= 0,
            norms => product * MILLION >= i128::from(ppm) * norms,
        }
    }
}

/// With s the sum of all: ⟨x, r⟩ = ⟨x, s⟩ − ‖x‖² and ‖r‖² = ‖s‖² − 2⟨x, s⟩ + ‖x‖². A norm is below
/// 2^31 and there are at most 2^10 updates, so a product is below 2^72 and times a million below 2^92.
fn directions(layout: &Layout, updates: &[Weighted<'_>]) -> Vec<Way> {
    let count = updates.len();
    let (mut with_sum, mut squares, mut sum_square) =
        (vec![0i128; count], vec![0i128; count], 0i128);
    let (mut rows_read, mut sum) = (vec![0i32; count * BLOCK], vec![0i64; BLOCK]);
    for (position, slot) in layout.trained().enumerate() {
        let rows = Rows::of(updates, slot, position);
        let shift = 2 * u32::from(layout.norm_scale() - slot.scale);
        for block in rows.blocks() {
            let sum = &mut sum[..block.len()];
            sum.fill(0);
            for (update, row) in rows_read.chunks_exact_mut(BLOCK).enumerate() {
                let row = &mut row[..block.len()];
                rows.read(update, block.clone(), row);
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += i64::from(*value));
            }
            for (update, row) in rows_read.chunks_exact(BLOCK).enumerate() {
                let (product, square) = products(&row[..block.len()], sum);
                with_sum[update] += product << shift;
                squares[update] += square << shift;
            }
            let square = sum.iter().map(|sum| i128::from(*sum).pow(2)).sum::<i128>();
            sum_square += square << shift;
        }
    }
    let way = |(product, square): (&i128, &i128)| Way {
        product: product - square,
        norms: square.isqrt() * (sum_square - 2 * product + square).isqrt(),
    };
    with_sum.iter().zip(&squares).map(way).collect()
}

fn products(row: &[i32], sum: &[i64]) -> (i128, i128) {
    let (mut product, mut square) = (0i128, 0i128);
    for (value, sum) in row.iter().zip(sum) {
        product += i128::from(*value) * i128::from(*sum);
        square += i128::from(i64::from(*value).pow(2));
    }
    (product, square)
}
