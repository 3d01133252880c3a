//! The operator's own word: this node follows that very statement. One synced batch, so a kill
//! leaves it accepted or not; accepting it again changes nothing.

use super::{Names, check_size, log::Log, read_file, read_node};
use crate::args::RecoverAccept;
use color_eyre::eyre::{WrapErr, bail, ensure};
use std::io::{IsTerminal, Write};
use twinfold_ledger::{Joining, Ledger};
use twinfold_types::{key::StrictEd25519, recovery::Recovery};

pub fn run(args: &RecoverAccept) -> color_eyre::Result<()> {
    let (config, genesis) = read_node(&args.config)?;
    let recovery = read_file(&args.statement)?;
    let named = || format!("the statement {}", args.statement.display());
    recovery.verify(&genesis.digest(), &StrictEd25519).wrap_err_with(named)?;
    check_size(&recovery.statement.committee, &genesis, args.allow_unsafe_size)?;
    let (folder, partial) = (config.data.join("ledger"), config.data.join("joining"));
    std::fs::create_dir_all(&config.data)
        .wrap_err_with(|| format!("cannot make {}", config.data.display()))?;
    if config.join.is_some() && !folder.exists() {
        let Some(joining) = Joining::open(&partial, &folder, Some(&config.log.dir), &genesis)?
        else {
            bail!("the ledger was complete and is in its place now: give the same command again");
        };
        Names::of_genesis(&genesis).show(&recovery.statement, None);
        println!("\nThis node has no ledger yet: it follows the statement when it joins.");
        if confirmed(args.yes, &recovery)? {
            let replaced = joining.accept_recovery(&recovery).wrap_err_with(named)?;
            tell_replaced(&replaced);
            told(&recovery);
        }
        return Ok(());
    }
    let mut ledger = Ledger::open(&folder, Some(&config.log.dir), &genesis)?;
    let reader = ledger.reader();
    let examined = reader.examine_recovery(&recovery).wrap_err_with(named)?;
    Names::of_ledger(&reader)?.show(&recovery.statement, examined.ended.as_ref());
    println!();
    if examined.known {
        println!("It is accepted here already.");
        return Ok(());
    }
    let log = Log::read(&config.data.join("journal"), genesis.digest())?;
    log.check_accepted(&reader, &recovery, &examined.replaces).wrap_err_with(named)?;
    tell_replaced(&examined.replaces);
    let (head, kept) = (examined.head, recovery.statement.kept.height);
    match head < kept {
        true => println!(
            "This node has executed height {head}: it fetches the rest up to {kept}, signs nothing \
             meanwhile, and compares when it is there."
        ),
        false => {
            println!("This node has executed height {head}: block, state, admins and seats agree.")
        }
    }
    if confirmed(args.yes, &recovery)? {
        ledger.accept_recovery(&recovery).wrap_err_with(named)?;
        told(&recovery);
    }
    Ok(())
}

fn tell_replaced(replaced: &[Recovery]) {
    for other in replaced {
        println!("It replaces the statement {} that was accepted before.", other.digest());
    }
}

fn told(recovery: &Recovery) {
    println!("Accepted. Start the node; clients need --accept-recovery {}", recovery.digest());
}

/// A person who compared the digest says so.
fn confirmed(yes: bool, recovery: &Recovery) -> color_eyre::Result<bool> {
    if yes {
        return Ok(true);
    }
    ensure!(
        std::io::stdin().is_terminal(),
        "nobody is there to confirm: compare the digest {} with the other operators, then say --yes",
        recovery.digest()
    );
    println!("Is this the statement that the operators agreed on? It cannot be taken back once");
    print!("the new epoch has a block. Type `yes` to accept it: ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let yes = line.trim() == "yes";
    if !yes {
        println!("Nothing was changed.");
    }
    Ok(yes)
}
