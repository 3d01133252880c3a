//! Rules of stake and election on the command line, for `twinfold-node genesis`. The times
//! follow the length of an epoch unless they are given: evidence is taken for 14 epochs,
//! undelegated stake is free after 21.

use clap::Args;
use color_eyre::eyre::bail;
use std::time::Duration;
use twinfold_types::{
    Stake,
    stake::StakeParams,
    text::{parse_duration, parse_stake},
};

/// What a validator bonds to itself in genesis unless its entry says otherwise. Slashes are
/// thousandths, rounded down: the unit is small enough for them to bite.
pub const VALIDATOR_STAKE_DEFAULT: Stake = Stake(1_000_000);

const EVIDENCE_EPOCHS: u64 = 14;
const UNBONDING_EPOCHS: u64 = 21;

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Stake and election (changed later by the admins)")]
pub struct StakeRules {
    /// Seats that an election fills where there are enough candidates; raised as validators
    /// are added beyond it [default: 4]
    #[arg(long, value_name = "N")]
    pub seats: Option<u16>,
    /// Length of an epoch in block time, such as 24h or 90m [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub epoch: Option<Duration>,
    /// Stake that a candidate needs to be elected [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_stake)]
    pub stake_min: Option<Stake>,
    /// From the end of the epoch in which stake was undelegated until it is free [default:
    /// 21 epochs]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub unbonding: Option<Duration>,
    /// How long after an epoch's end evidence about it is taken [default: 14 epochs]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub evidence: Option<Duration>,
    /// Stake made for the seats of an epoch together [default: 0]
    #[arg(long, value_name = "N", value_parser = parse_stake)]
    pub reward: Option<Stake>,
    /// Thousandths lost for signing two things of which only one can be [default: 50]
    #[arg(long, value_name = "PERMILLE")]
    pub slash_equivocation: Option<u16>,
    /// Thousandths lost for signing a wrong fold result [default: 50]
    #[arg(long, value_name = "PERMILLE")]
    pub slash_result: Option<u16>,
    /// Epochs that a validator which was silent stays out at least [default: 1]
    #[arg(long, value_name = "N")]
    pub jail_epochs: Option<u32>,
}

impl StakeRules {
    /// The rules asked for; relations that cannot hold are refused with all numbers named.
    pub fn params(&self) -> color_eyre::Result<StakeParams> {
        let usual = StakeParams::default();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let epoch_ms = self.epoch.map_or(usual.epoch_ms, ms);
        let epochs = |number: u64| epoch_ms.saturating_mul(number);
        let params = StakeParams {
            seats: self.seats.unwrap_or(usual.seats),
            epoch_ms,
            stake_min: self.stake_min.unwrap_or(usual.stake_min),
            unbonding_ms: self.unbonding.map_or(epochs(UNBONDING_EPOCHS), ms),
            evidence_ms: self.evidence.map_or(epochs(EVIDENCE_EPOCHS), ms),
            reward: self.reward.unwrap_or(usual.reward),
            slash_equivocation_permille: self
                .slash_equivocation
                .unwrap_or(usual.slash_equivocation_permille),
            slash_result_permille: self.slash_result.unwrap_or(usual.slash_result_permille),
            jail_epochs: self.jail_epochs.unwrap_or(usual.jail_epochs),
        };
        match params.fault() {
            None => Ok(params),
            Some(fault) => bail!(
                "{fault} (--seats {}, --epoch {} ms, --evidence {} ms, --unbonding {} ms, slashes \
                 of {} and {} thousandths): change one of them",
                params.seats,
                params.epoch_ms,
                params.evidence_ms,
                params.unbonding_ms,
                params.slash_equivocation_permille,
                params.slash_result_permille
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_as_usual() {
        assert_eq!(StakeRules::default().params().unwrap(), StakeParams::default());
    }

    #[test]
    fn short_epochs_bring_short_times_with_them() {
        let epoch = Some(Duration::from_secs(10));
        let params = StakeRules { epoch, ..StakeRules::default() }.params().unwrap();
        assert_eq!((params.evidence_ms, params.unbonding_ms), (140_000, 210_000));
    }

    #[test]
    fn a_relation_that_cannot_hold_is_refused_with_its_numbers() {
        let unbonding = Some(Duration::from_secs(3_600));
        let error = StakeRules { unbonding, ..StakeRules::default() }.params().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("longer") && text.contains("--unbonding 3600000 ms"), "{text}");
    }
}
