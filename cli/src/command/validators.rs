//! `twinfold validators`: who sits in the running epoch, and who may in the next.

use super::Context;
use crate::{
    error::Result,
    render::{amount, or_dash, permille, table},
};
use twinfold_types::{api::ValidatorView, stake::Jail};

const HEADER: [&str; 14] = [
    "rank",
    "seat",
    "name",
    "organisation",
    "stake",
    "own stake",
    "commission",
    "ready",
    "jail",
    "signed",
    "member",
    "key",
    "connected",
    "leads",
];

pub fn run(context: &Context) -> Result<()> {
    let validators = context.client()?.validators()?;
    context.output.show(&validators, || human(&validators))
}

fn human(validators: &[ValidatorView]) -> String {
    table(&HEADER, validators.iter().map(row))
}

fn row(validator: &ValidatorView) -> [String; 14] {
    let mark = |yes: bool| if yes { "yes".to_string() } else { String::new() };
    [
        or_dash(validator.rank),
        or_dash(validator.seat),
        validator.name.clone(),
        validator.organisation.clone(),
        amount(validator.stake),
        amount(validator.own_stake),
        permille(validator.commission_permille),
        mark(validator.ready),
        validator.jail.map(|jail| jail_text(&jail)).unwrap_or_default(),
        signed(validator),
        validator.validator.short(),
        validator.key.short(),
        mark(validator.connected),
        mark(validator.leader),
    ]
}

/// `12 of 13`; nothing before the epoch's first checkpoint stands on the chain.
fn signed(validator: &ValidatorView) -> String {
    match (validator.signed, validator.checkpoints) {
        (Some(signed), Some(checkpoints)) if checkpoints > 0 => {
            format!("{signed} of {checkpoints}")
        }
        _ => or_dash::<u32>(None),
    }
}

/// Why a validator is kept out, and what lets it in again.
pub fn jail_text(jail: &Jail) -> String {
    match jail {
        Jail::Silent { until } => format!("silent: may ask out from epoch {until} on"),
        Jail::Guilty => "guilty: until the admins readmit it".into(),
        Jail::Expelled => "expelled: until the admins readmit it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Epoch, PublicKey, SeatIndex, Stake};

    fn view(name: &str) -> ValidatorView {
        ValidatorView {
            seat: Some(SeatIndex(0)),
            rank: Some(1),
            name: name.into(),
            organisation: "clinic".into(),
            validator: PublicKey([1; 32]),
            key: PublicKey([2; 32]),
            peer: "12D3".into(),
            connected: true,
            leader: true,
            stake: Stake(1_500_000),
            own_stake: Stake(1_000_000),
            commission_permille: 25,
            commission_next_permille: 25,
            ready: true,
            jail: None,
            checkpoints: Some(13),
            signed: Some(12),
            addresses: None,
        }
    }

    #[test]
    fn a_seat_is_shown_with_its_stake_and_what_it_signed() {
        let text = human(&[view("site-1")]);
        for part in ["1_500_000", "1_000_000", "2.5 %", "12 of 13"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }

    #[test]
    fn a_candidate_without_a_seat_has_dashes_and_its_jail_says_what_lets_it_out() {
        let jail = Some(Jail::Silent { until: Epoch(7) });
        let (seat, signed, checkpoints) = (None, None, None);
        let candidate = ValidatorView { seat, signed, checkpoints, jail, ..view("site-5") };
        let text = human(&[candidate]);
        assert!(text.contains('–') && text.contains("from epoch 7 on"), "{text}");
        assert!(jail_text(&Jail::Guilty).contains("readmit"));
    }
}
