//! Seeded splits: training and test part, and shards for trainers.

use super::{DataError, Dataset};
use rand::{Rng, RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::str::FromStr;

/// How examples are shared out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Partition {
    /// Alike for everyone.
    Iid,
    /// Each class by shares from a symmetric Dirichlet distribution: the smaller
    /// alpha, the more the trainers differ (Hsu, Qi and Brown 2019).
    Dirichlet(f64),
}

impl FromStr for Partition {
    type Err = DataError;
    fn from_str(text: &str) -> Result<Self, DataError> {
        if text == "iid" {
            return Ok(Self::Iid);
        }
        let alpha = text.strip_prefix("dirichlet:").and_then(|alpha| alpha.parse::<f64>().ok());
        match alpha {
            Some(alpha) if alpha.is_finite() && alpha > 0.0 => Ok(Self::Dirichlet(alpha)),
            _ => Err(DataError::Partition(text.into())),
        }
    }
}

/// A training and a test part; `test_share` of the examples, rounded, are for test,
/// and at least one stays on each side.
pub fn split_train_test(
    data: &Dataset,
    test_share: f64,
    seed: u64,
) -> Result<(Dataset, Dataset), DataError> {
    if data.len() < 2 {
        return Err(DataError::TooFew { examples: data.len(), parts: 2 });
    }
    let order = shuffled(data.len(), &mut ChaCha8Rng::seed_from_u64(seed));
    let test = ((data.len() as f64 * test_share).round() as usize).clamp(1, data.len() - 1);
    let (test, train) = order.split_at(test);
    Ok((data.select(train), data.select(test)))
}

/// Rows for each of `parts` trainers; every row goes to exactly one, and every
/// trainer gets at least one.
pub fn partition(
    data: &Dataset,
    parts: usize,
    how: Partition,
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    if parts == 0 || data.len() < parts {
        return Err(DataError::TooFew { examples: data.len(), parts });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let order = shuffled(data.len(), &mut rng);
    let mut shards = vec![vec![]; parts];
    match how {
        Partition::Iid => {
            order.iter().enumerate().for_each(|(at, row)| shards[at % parts].push(*row));
        }
        Partition::Dirichlet(alpha) => {
            for class in 0..data.classes as u32 {
                let rows: Vec<_> =
                    order.iter().copied().filter(|row| data.y[*row] == class).collect();
                share_out(&rows, &dirichlet(parts, alpha, &mut rng), &mut shards);
            }
        }
    }
    fill_empty(&mut shards);
    Ok(shards)
}

fn shuffled(len: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(rng);
    order
}

/// Cuts the rows at the running sums of the shares.
fn share_out(rows: &[usize], shares: &[f64], shards: &mut [Vec<usize>]) {
    let (mut start, mut sum) = (0, 0.0);
    let last = shards.len() - 1;
    for (index, (shard, share)) in shards.iter_mut().zip(shares).enumerate() {
        sum += share;
        let end = (sum * rows.len() as f64).round() as usize;
        let end = if index == last { rows.len() } else { end.clamp(start, rows.len()) };
        shard.extend(&rows[start..end]);
        start = end;
    }
}

/// The largest shard gives one row to each empty one.
fn fill_empty(shards: &mut [Vec<usize>]) {
    while let Some(empty) = shards.iter().position(Vec::is_empty) {
        let largest = (0..shards.len()).max_by_key(|shard| shards[*shard].len()).unwrap_or(0);
        let Some(row) = shards[largest].pop() else { return };
        shards[empty].push(row);
    }
}

fn dirichlet(parts: usize, alpha: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let draws: Vec<f64> = (0..parts).map(|_| gamma(alpha, rng)).collect();
    let sum: f64 = draws.iter().sum();
    if sum > 0.0 {
        return draws.iter().map(|draw| draw / sum).collect();
    }
    // Every draw underflowed: all to one, which is the limit of small alpha.
    let chosen = rng.random_range(0..parts);
    (0..parts).map(|part| f64::from(u8::from(part == chosen))).collect()
}

/// Marsaglia and Tsang (2000); below 1 by the boost gamma(α+1)·u^(1/α).
fn gamma(alpha: f64, rng: &mut ChaCha8Rng) -> f64 {
    if alpha < 1.0 {
        let boost = rng.random::<f64>().powf(1.0 / alpha);
        return gamma(alpha + 1.0, rng) * boost;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        let u: f64 = rng.random();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// A standard normal number (Box and Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    // 1 − u is in (0, 1], so its logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
