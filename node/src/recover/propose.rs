//! Makes the statement that admins sign, from what a survivor holds. Whatever it knows to be
//! committed is executed first, so that the kept height is the highest there is here.

use super::{Names, check_size, log::Log, read_node};
use crate::{args::RecoverPropose, clock, journal::write_whole};
use color_eyre::eyre::{WrapErr, ensure, eyre};
use twinfold_ledger::{Draft, Ledger, Reader};
use twinfold_types::{Epoch, PublicKey, TimeMs, recovery::Recovery};

pub fn run(args: &RecoverPropose) -> color_eyre::Result<()> {
    let (config, genesis) = read_node(&args.config)?;
    ensure!(
        !args.out.exists(),
        "{} is there already: choose another file, or remove it",
        args.out.display()
    );
    let folder = config.data.join("ledger");
    ensure!(
        folder.exists(),
        "{} is not there: a statement is made from the folder of a node that has followed the chain",
        folder.display()
    );
    let mut ledger = Ledger::open(&folder, Some(&config.log.dir), &genesis)?;
    let reader = ledger.reader();
    let log = Log::read(&config.data.join("journal"), genesis.digest())?;
    let executed = log.execute_committed(&mut ledger)?;
    if executed > 0 {
        println!("executed {executed} blocks that a certificate here shows to be committed");
    }
    let seats = args.seats.iter().map(|text| seat(&reader, text));
    let seats = seats.collect::<color_eyre::Result<Vec<_>>>()?;
    let epoch = args.epoch.map(Epoch).or(next_epoch(&reader)?);
    // Block times may run a little ahead of the clock.
    let time = TimeMs(clock::now().0.max(reader.head().time.0 + 1));
    let statement = reader.draft_recovery(&Draft { seats: &seats, epoch, time })?;
    check_size(&statement.committee, &genesis, args.allow_unsafe_size)?;
    let names = Names::of_ledger(&reader)?;
    names.show(&statement, reader.past_committee(statement.kept.epoch)?.as_ref());
    let head = reader.head().height;
    let recovery = Recovery::unsigned(statement);
    let text = serde_json::to_string_pretty(&recovery)? + "\n";
    write_whole(&args.out, text.as_bytes())
        .wrap_err_with(|| format!("cannot write {}", args.out.display()))?;
    println!();
    println!(
        "This node holds everything up to height {head}. Run `recover propose` on each survivor,"
    );
    println!("and sign the statement of the one with the greatest height: what is above the kept");
    println!("height is lost, and a node that has executed more refuses.");
    if let Some(height) = log.voted_above(head) {
        println!();
        println!(
            "Careful: this validator voted to commit height {height} and cannot know whether it was."
        );
        println!(
            "If a lost validator committed it, clients may have been told so; its transactions"
        );
        println!("are not in the kept chain and must be sent again.");
    }
    println!();
    println!(
        "Next: the admins sign, one after the other: `twinfold recovery sign {}`.",
        args.out.display()
    );
    Ok(())
}

/// A member by name or key.
fn seat(reader: &Reader, text: &str) -> color_eyre::Result<PublicKey> {
    if let Ok(key) = text.parse::<PublicKey>() {
        return Ok(key);
    }
    let members = reader.members()?;
    let mut named = members.iter().filter(|member| member.name == text);
    match (named.next(), named.next()) {
        (Some(member), None) => Ok(member.key),
        (Some(_), Some(_)) => Err(eyre!("several members are called {text}: give the key")),
        (None, _) => Err(eyre!("no member is called {text}: give a name or a public key")),
    }
}

/// Beyond what was accepted here for the same height and never acted upon.
fn next_epoch(reader: &Reader) -> color_eyre::Result<Option<Epoch>> {
    let head = reader.head().height;
    let accepted = reader.recoveries()?.into_iter();
    let open = accepted.filter(|recovery| recovery.statement.kept.height >= head);
    Ok(open.map(|recovery| recovery.statement.committee.epoch.next()).max())
}
