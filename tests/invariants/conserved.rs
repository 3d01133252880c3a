//! Stake is neither made nor lost: what is free, bonded and unbonding comes to the total that the
//! state names, shares come to their pools, and from height to height the total changes by exactly
//! what the receipts say was granted, rewarded and burnt.

use std::collections::BTreeMap;
use twinfold_types::{
    Event, Height, Receipt, Stake, codec,
    limits::DECODE_BYTES_MAX,
    stake::{Candidate, Unbonding},
    state_key::{Prefix, parse_delegation},
};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Default)]
pub struct Conserved {
    /// The newest height looked at, and all stake there.
    newest: Option<(Height, u128)>,
}

impl Conserved {
    /// From a height on, whatever only those knew who are lost for good.
    pub fn begin_again(
        &mut self,
        height: Height,
        rows: &dyn Fn(Prefix) -> Rows,
    ) -> Result<(), String> {
        self.newest = None;
        self.executed(height, &[], rows)
    }

    /// A state after a height. Honest nodes have the same one, so each height is looked at once.
    pub fn executed(
        &mut self,
        height: Height,
        receipts: &[Receipt],
        rows: &dyn Fn(Prefix) -> Rows,
    ) -> Result<(), String> {
        if self.newest.is_some_and(|(newest, _)| height <= newest) {
            return Ok(());
        }
        let named: u128 = amounts(rows(Prefix::StakeTotal));
        let held = amounts(rows(Prefix::Balance)) + bonded(rows)? + unbonding(rows)?;
        if held != named {
            return Err(format!("conserved: {held} of {named} are held at height {height}"));
        }
        let (mut made, mut burnt) = (0, 0);
        for event in receipts.iter().flat_map(|receipt| &receipt.events) {
            match event {
                Event::StakeGranted { amount, .. } | Event::Rewarded { amount, .. } => {
                    made += u128::from(amount.0);
                }
                Event::Slashed { burnt: lost, .. } => burnt += u128::from(lost.0),
                _ => {}
            }
        }
        if let Some((_, before)) = self.newest
            && before + made != named + burnt
        {
            return Err(format!(
                "conserved: {before} and {made} made and {burnt} burnt is not {named} at height {height}"
            ));
        }
        self.newest = Some((height, named));
        Ok(())
    }
}

fn number<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode(bytes, DECODE_BYTES_MAX).expect("execution wrote it")
}

fn amounts(rows: Rows) -> u128 {
    rows.iter().map(|(_, amount)| u128::from(number::<Stake>(amount).0)).sum()
}

/// In the candidates' pools, whose shares the delegators have.
fn bonded(rows: &dyn Fn(Prefix) -> Rows) -> Result<u128, String> {
    let validator = |key: &[u8]| parse_delegation(key).map(|key| key.0.to_vec());
    let shares = by_pool(rows(Prefix::Delegation), &|key| validator(key).unwrap_or_default());
    let pools = rows(Prefix::Candidate).into_iter().map(|(_, row)| {
        let Candidate { validator, pool, .. } = number(&row);
        (validator.0.to_vec(), pool.shares, pool.stake)
    });
    sum("bonded", pools, shares)
}

/// In pools of what left a validator in an epoch: keys are (validator, epoch), and of a share
/// (validator, epoch, owner).
fn unbonding(rows: &dyn Fn(Prefix) -> Rows) -> Result<u128, String> {
    let shares = by_pool(rows(Prefix::UnbondingShares), &|key| key[1..41].to_vec());
    let pools = rows(Prefix::Unbonding).into_iter().map(|(key, row)| {
        let Unbonding { pool, .. } = number(&row);
        (key[1..41].to_vec(), pool.shares, pool.stake)
    });
    sum("unbonding", pools, shares)
}

fn by_pool(rows: Rows, pool: &dyn Fn(&[u8]) -> Vec<u8>) -> BTreeMap<Vec<u8>, u128> {
    let mut shares = BTreeMap::<Vec<u8>, u128>::new();
    for (key, row) in rows {
        *shares.entry(pool(&key)).or_default() += u128::from(number::<u64>(&row));
    }
    shares
}

/// All stake of some pools, each of whose shares somebody has.
fn sum(
    what: &str,
    pools: impl Iterator<Item = (Vec<u8>, u64, Stake)>,
    mut owned: BTreeMap<Vec<u8>, u128>,
) -> Result<u128, String> {
    let mut stake = 0;
    for (pool, shares, of_pool) in pools {
        let owned = owned.remove(&pool).unwrap_or_default();
        if owned != u128::from(shares) {
            return Err(format!("conserved: {owned} of {shares} {what} shares of {pool:02x?}"));
        }
        stake += u128::from(of_pool.0);
    }
    match owned.pop_first() {
        Some((pool, shares)) => {
            Err(format!("conserved: {shares} {what} shares of no pool {pool:02x?}"))
        }
        None => Ok(stake),
    }
}
