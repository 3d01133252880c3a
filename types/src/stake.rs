//! Delegated stake: what a validator's seat rests on. Members delegate free stake to
//! candidates; each candidate has a pool that all its delegators own shares of, so that a
//! reward or a slash changes one number and everyone's part with it.

use crate::{Epoch, PublicKey, TimeMs, limits};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount of stake, in its smallest unit. Made by genesis, by the admins and as rewards;
/// destroyed only by slashing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Stake(pub u64);

impl Stake {
    /// None when the sum is more than there can be.
    pub fn plus(self, other: Stake) -> Option<Stake> {
        self.0.checked_add(other.0).map(Stake)
    }

    /// None when there is less than that.
    pub fn minus(self, other: Stake) -> Option<Stake> {
        self.0.checked_sub(other.0).map(Stake)
    }

    /// So many thousandths, rounded down.
    #[must_use]
    pub fn permille(self, thousandths: u16) -> Stake {
        Stake(share(self.0, u64::from(thousandths.min(1_000)), 1_000))
    }
}

impl fmt::Display for Stake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// ⌊whole · part / of⌋, for part ≤ of.
fn share(whole: u64, part: u64, of: u64) -> u64 {
    let product = u128::from(whole) * u128::from(part) / u128::from(of.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// Rules of stake and election; part of the state, changed by the admins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct StakeParams {
    /// Seats that an election fills where there are enough candidates.
    pub seats: u16,
    /// Length of an epoch in block time.
    pub epoch_ms: u64,
    /// Stake that a candidate needs to be elected.
    pub stake_min: Stake,
    /// From the end of the epoch in which stake was undelegated until it is free.
    pub unbonding_ms: u64,
    /// Evidence about an epoch is taken for so long after the epoch's end.
    pub evidence_ms: u64,
    /// Stake made for the seats of an epoch together; each gets an equal part, less what its
    /// participation lacks.
    pub reward: Stake,
    /// Thousandths of its stake that a validator loses for signing two things at once.
    pub slash_equivocation_permille: u16,
    /// Thousandths of its stake that a validator loses for signing a wrong fold result.
    pub slash_result_permille: u16,
    /// Epochs that a validator which was silent stays out at least.
    pub jail_epochs: u32,
}

impl Default for StakeParams {
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 3_600 * 1_000;
        Self {
            seats: 4,
            epoch_ms: DAY_MS,
            stake_min: Stake(1),
            unbonding_ms: 21 * DAY_MS,
            evidence_ms: 14 * DAY_MS,
            reward: Stake(0),
            slash_equivocation_permille: 50,
            slash_result_permille: 50,
            jail_epochs: 1,
        }
    }
}

impl StakeParams {
    /// Why these rules cannot hold, if they cannot. Stake must stay within reach for as
    /// long as evidence against it is taken, and evidence about an epoch must outlive it.
    pub fn fault(&self) -> Option<&'static str> {
        if self.seats == 0 || usize::from(self.seats) > limits::SEATS_MAX {
            return Some("the number of seats is outside 1 to 100");
        }
        if self.epoch_ms < limits::EPOCH_MS_MIN {
            return Some("an epoch lasts at least a second");
        }
        if self.evidence_ms <= self.epoch_ms {
            return Some("evidence must be taken for longer than an epoch lasts");
        }
        if self.unbonding_ms <= self.evidence_ms {
            return Some("unbonding must take longer than evidence is taken");
        }
        if self.unbonding_ms > limits::UNBONDING_MS_MAX {
            return Some("unbonding takes a year at most");
        }
        if self.unbonding_ms / self.epoch_ms > limits::UNBONDING_EPOCHS_MAX {
            return Some("unbonding takes at most as long as 512 epochs");
        }
        let slashes = [self.slash_equivocation_permille, self.slash_result_permille];
        if slashes.iter().any(|permille| *permille > 1_000) {
            return Some("a slash is at most 1,000 thousandths");
        }
        None
    }
}

/// Stake that several own shares of. Rounding is always in favour of the pool, so it never
/// owes more than it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StakePool {
    pub stake: Stake,
    pub shares: u64,
}

impl StakePool {
    /// What so many shares are worth.
    pub fn worth(&self, shares: u64) -> Stake {
        match shares >= self.shares {
            true => self.stake,
            false => Stake(share(self.stake.0, shares, self.shares)),
        }
    }

    /// Adds stake and returns the shares it buys; `None` where it buys none, or where the
    /// pool cannot hold so much.
    pub fn join(&mut self, amount: Stake) -> Option<u64> {
        let bought = match self.shares {
            0 => amount.0,
            shares => share(amount.0, shares, self.stake.0),
        };
        // A pool that was slashed to nothing takes no more: its shares are worth nothing.
        if bought == 0 || (self.shares > 0 && self.stake.0 == 0) {
            return None;
        }
        let (stake, shares) = (self.stake.plus(amount)?, self.shares.checked_add(bought)?);
        (self.stake, self.shares) = (stake, shares);
        Some(bought)
    }

    /// What of an amount buys whole shares; the rest would be lost to the pool.
    pub fn spent(&self, amount: Stake) -> Stake {
        if self.shares == 0 || self.stake.0 == 0 {
            return amount;
        }
        let bought = u128::from(share(amount.0, self.shares, self.stake.0));
        let cost = (bought * u128::from(self.stake.0)).div_ceil(u128::from(self.shares));
        Stake(u64::try_from(cost).unwrap_or(u64::MAX).min(amount.0))
    }

    /// Takes shares out and returns what they were worth; `None` where there are not so many.
    pub fn leave(&mut self, shares: u64) -> Option<Stake> {
        let left = self.shares.checked_sub(shares)?;
        let worth = self.worth(shares);
        (self.stake, self.shares) = (Stake(self.stake.0 - worth.0), left);
        Some(worth)
    }

    /// The least number of shares that are worth an amount, if all together are.
    pub fn shares_for(&self, amount: Stake) -> Option<u64> {
        if amount > self.stake || self.stake.0 == 0 {
            return None;
        }
        let product = u128::from(amount.0) * u128::from(self.shares);
        u64::try_from(product.div_ceil(u128::from(self.stake.0))).ok()
    }

    /// Destroys so many thousandths and returns what that came to.
    pub fn slash(&mut self, thousandths: u16) -> Stake {
        let burnt = self.stake.permille(thousandths);
        self.stake = Stake(self.stake.0 - burnt.0);
        burnt
    }
}

/// A member who may hold a seat, with the stake behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    /// The member.
    pub validator: PublicKey,
    /// Consensus key from the next election on.
    pub key: PublicKey,
    /// Whether its node has caught up and wants a seat.
    pub ready: bool,
    /// Thousandths of its rewards that it keeps before its delegators share the rest.
    pub commission_permille: u16,
    /// The same from the next election on.
    pub commission_next_permille: u16,
    pub pool: StakePool,
    pub jail: Option<Jail>,
    /// Where others dial its node: multiaddresses of the consensus and of the payload connection.
    pub addresses: Option<(String, String)>,
}

/// Why a candidate is not elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Jail {
    /// It signed too few checkpoints; from this epoch on it may ask to be let out.
    Silent { until: Epoch },
    /// Evidence was shown; only the admins let it out.
    Guilty,
    /// The admins expelled it; only they let it out.
    Expelled,
}

/// Stake on its way out of a candidate's pool, undelegated in one epoch. It can still be
/// slashed for what its validator did in that epoch or before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unbonding {
    pub pool: StakePool,
    /// When it is free; none while the epoch has not ended.
    pub free_at: Option<TimeMs>,
}

/// What a stakeholder or a candidate does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StakeAction {
    /// Bonds free stake of the sender to a candidate.
    Delegate { validator: PublicKey, amount: Stake },
    /// Takes stake of the sender back: free after the unbonding time.
    Undelegate { validator: PublicKey, amount: Stake },
    /// Gives free stake to another member.
    Transfer { to: PublicKey, amount: Stake },
    /// A candidate says whether it wants a seat, what it keeps of rewards, and its consensus
    /// key; all from the next election on. A new key signs the statement of [`key_statement`].
    Declare(Declaration),
    /// A candidate that was silent asks to be let out.
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    pub ready: bool,
    pub commission_permille: u16,
    /// A new consensus key, with its signature over the statement that it is this member's.
    pub key: Option<(PublicKey, crate::Signature)>,
    /// Where others dial its node from now on: multiaddresses of the consensus and of the payload
    /// connection. None leaves them as they are.
    pub addresses: Option<(String, String)>,
}

impl Declaration {
    /// Addresses are bounded; whether they can be dialled is each node's to find out.
    pub fn has_good_addresses(&self) -> bool {
        let good = |text: &str| !text.is_empty() && text.len() <= limits::ADDRESS_BYTES_MAX;
        self.addresses.as_ref().is_none_or(|(votes, payloads)| good(votes) && good(payloads))
    }
}

/// What a new consensus key signs to show that its holder wants it to be this validator's.
pub fn key_statement(
    chain: &crate::Digest,
    validator: &PublicKey,
    key: &PublicKey,
) -> crate::key::Statement {
    crate::key::statement(crate::key::Purpose::ConsensusKey, chain, &(validator, key))
}

/// Who took part in an epoch's agreement, as blocks of the epoch show: the heights for which a
/// quorum's checkpoint signatures stand on the chain, and how many of them each seat signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Participation {
    pub checkpoints: u32,
    /// In seat order.
    pub signed: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules_hold_and_each_broken_relation_is_named() {
        let good = StakeParams::default();
        assert_eq!(good.fault(), None);
        let broken = [
            StakeParams { seats: 0, ..good.clone() },
            StakeParams { epoch_ms: 1, ..good.clone() },
            StakeParams { evidence_ms: good.epoch_ms, ..good.clone() },
            StakeParams { unbonding_ms: good.evidence_ms, ..good.clone() },
            StakeParams { unbonding_ms: u64::MAX, ..good.clone() },
            StakeParams { epoch_ms: good.unbonding_ms / 513, ..good.clone() },
            StakeParams { slash_result_permille: 1_001, ..good.clone() },
        ];
        assert!(broken.iter().all(|params| params.fault().is_some()));
        let most = StakeParams { epoch_ms: good.unbonding_ms / 512, ..good };
        assert_eq!(most.fault(), None);
    }

    #[test]
    fn addresses_are_bounded_and_may_be_left_as_they_are() {
        let of =
            |addresses| Declaration { ready: true, commission_permille: 0, key: None, addresses };
        let both = |one: &str, other: &str| Some((one.to_string(), other.to_string()));
        assert!(of(None).has_good_addresses());
        assert!(of(both("/ip4/10.0.0.7/tcp/1", "/ip4/10.0.0.7/tcp/2")).has_good_addresses());
        assert!(!of(both("/ip4/10.0.0.7/tcp/1", "")).has_good_addresses());
        let long = "x".repeat(limits::ADDRESS_BYTES_MAX + 1);
        assert!(!of(both(&long, "/ip4/10.0.0.7/tcp/2")).has_good_addresses());
    }

    proptest::proptest! {
        /// However its owners come and go and whatever is burnt, a pool pays out no more than
        /// came in, and the last to leave takes all.
        #[test]
        fn a_pool_pays_out_what_it_holds_and_no_more(
            steps in proptest::collection::vec((0..4u8, 0..3usize, 1..1_000_000u64), 1..60),
        ) {
            let (mut pool, mut owned, mut inside) = (StakePool::default(), [0u64; 3], 0u64);
            for (step, who, amount) in steps {
                match step {
                    0 | 1 => {
                        let (before, spent) = (pool, pool.spent(Stake(amount)));
                        if let Some(shares) = pool.join(spent) {
                            owned[who] += shares;
                            inside += spent.0;
                            proptest::prop_assert!(spent.0 <= amount);
                            proptest::prop_assert!(pool.worth(shares).0 + 1 >= spent.0);
                            proptest::prop_assert!(pool.worth(shares) <= spent);
                            let mut same = before;
                            proptest::prop_assert_eq!(same.join(Stake(amount)), Some(shares));
                        }
                    }
                    2 => {
                        let shares = owned[who].min(amount);
                        let worth = pool.leave(shares).unwrap();
                        owned[who] -= shares;
                        inside -= worth.0;
                    }
                    _ => inside -= pool.slash((amount % 1_001) as u16).0,
                }
                proptest::prop_assert_eq!(pool.stake.0, inside);
                proptest::prop_assert_eq!(pool.shares, owned.iter().sum::<u64>());
                let worth: u64 = owned.iter().map(|shares| pool.worth(*shares).0).sum();
                proptest::prop_assert!(pool.shares == 0 || worth <= inside);
            }
            for shares in owned {
                pool.leave(shares).unwrap();
            }
            proptest::prop_assert_eq!(pool.shares, 0);
        }
    }
}
