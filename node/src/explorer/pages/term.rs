//! The running epoch on the start page: seats with their stake, candidates, proven faults.

use super::{Names, epochs::ending};
use crate::{
    api::{Refusal, stake_view},
    explorer::format::stake,
    node::Node,
};
use twinfold_ledger::Reader;
use twinfold_types::{
    Epoch, Height, PublicKey,
    api::ValidatorView,
    evidence::Offence,
    stake::Jail,
    state_key::{Prefix, parse_punished},
};

/// Proven faults in the list, the newest.
const FAULTS: usize = 10;

pub struct Term {
    pub number: Epoch,
    pub state: String,
    pub first: Height,
    pub changes: String,
    pub seats: Vec<Row>,
    pub candidates: Vec<Row>,
    pub faults: Vec<Fault>,
}

pub struct Row {
    /// Seat, or rank.
    pub place: String,
    pub name: String,
    pub organisation: String,
    pub stake: String,
    pub own: String,
    pub signed: String,
    pub is_this_node: bool,
    pub connected: bool,
    pub leads: bool,
    /// Why it will not be elected, and whether that is its fault.
    pub note: String,
    pub grave: bool,
}

pub struct Fault {
    pub epoch: Epoch,
    pub name: String,
    pub offence: &'static str,
}

pub fn term(node: &Node) -> Result<Term, Refusal> {
    let (reader, names) = (&node.reader, Names::new(&node.reader));
    let committee = reader.committee();
    let epoch = stake_view::epochs(reader, committee.epoch, 1)?.pop();
    let changes = epoch.map(|epoch| changes(&names, &epoch.joined, &epoch.left));
    let views = stake_view::validators(node)?;
    let (seats, candidates): (Vec<_>, Vec<_>) =
        views.into_iter().partition(|view| view.seat.is_some());
    let row = |view: ValidatorView| row(view, &node.own);
    Ok(Term {
        number: committee.epoch,
        state: ending(&committee, reader.ends_at()?),
        first: committee.anchor.next(),
        changes: changes.unwrap_or_default(),
        seats: seats.into_iter().map(row).collect(),
        candidates: candidates.into_iter().map(row).collect(),
        faults: faults(reader, &names)?,
    })
}

fn changes(names: &Names<'_>, joined: &[PublicKey], left: &[PublicKey]) -> String {
    let list =
        |keys: &[PublicKey]| keys.iter().map(|key| names.of(key)).collect::<Vec<_>>().join(", ");
    match (joined, left) {
        ([], []) => String::new(),
        (joined, []) => format!("Joined: {}.", list(joined)),
        ([], left) => format!("Left: {}.", list(left)),
        (joined, left) => format!("Joined: {}. Left: {}.", list(joined), list(left)),
    }
}

fn row(view: ValidatorView, own: &PublicKey) -> Row {
    let place = match (view.seat, view.rank) {
        (Some(seat), _) => seat.to_string(),
        (None, Some(rank)) => rank.to_string(),
        (None, None) => String::new(),
    };
    let signed = match (view.signed, view.checkpoints) {
        (Some(signed), Some(all)) if all > 0 => format!("{signed} of {all}"),
        _ => "–".into(),
    };
    Row {
        place,
        note: note(&view),
        grave: view.jail.is_some(),
        is_this_node: view.validator == *own,
        name: view.name,
        organisation: view.organisation,
        stake: stake(view.stake),
        own: stake(view.own_stake),
        signed,
        connected: view.connected,
        leads: view.leader,
    }
}

fn note(view: &ValidatorView) -> String {
    match view.jail {
        Some(Jail::Silent { until }) => format!("was silent, out until epoch {until}"),
        Some(Jail::Guilty) => "guilty".into(),
        Some(Jail::Expelled) => "expelled".into(),
        None if view.rank.is_none() => "no member any more".into(),
        None if !view.ready => "not ready for a seat".into(),
        None => String::new(),
    }
}

fn faults(reader: &Reader, names: &Names<'_>) -> Result<Vec<Fault>, Refusal> {
    let rows = reader.scan_back::<()>(&Prefix::Punished.scan(), None, FAULTS)?;
    let parsed = rows.iter().filter_map(|(key, ())| parse_punished(key));
    let fault = |(epoch, validator, offence): (Epoch, PublicKey, Offence)| Fault {
        epoch,
        name: names.of(&validator),
        offence: match offence {
            Offence::Equivocation => "signed two things of which only one can be",
            Offence::WrongResult => "signed a wrong fold result",
        },
    };
    Ok(parsed.map(fault).collect())
}
