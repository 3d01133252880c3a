//! Measures, beside what they are to be held against: `tests/bench NAME [--json]`.
//!
//! Each run first says how fast the machine is at this moment (disk, signatures,
//! memory, loopback), because a machine shared with others changes from minute to
//! minute; a peer or a physical limit is measured in the same run where there is
//! one. Nothing here judges: a figure asked for would stand in `reach`.

mod aggregate;
mod blob;
mod calibration;
mod commit;
mod cpu;
mod crowd;
mod flower;
mod join;
mod lab;
mod learning;
mod masks;
mod order;
mod report;
mod round;
mod scale;

use color_eyre::eyre::{Result, bail};
use lab::Lab;
use report::Report;
use std::path::PathBuf;

const USAGE: &str = "\
Usage: tests/bench NAME [--json] [--only TEXT] [--dir DIR] [--blocks N]

  round         one synchronous round with trivial trainers, beside Flower's
  aggregate     aggregation rules, beside memory and Flower's strategies
  commit        small transactions: rate at saturation, latency at low load
  order         ordering alone: opaque and signed transactions, payloads, overload, idleness
  blob          payloads in fragments: a gibibyte in and out, one validator down; many sizes (drawn
                beside --dir, as DIR.svg); a data set that grows; small transactions beside an upload
  join          a new node comes to a chain of 100,000 blocks
  attack        liars among trainers against each rule: accuracy in tables (--only digits, --only MNIST)
  compress      what few bytes cost: accuracy against dense updates over paired seeds, in tables
  crowd         1,000 to 10,000 trainers in one task: what each costs
  drift         what helps trainers whose data differ: FedProx, SCAFFOLD
  masks         what masked updates cost trainers, execution and whoever folds
  stream        a task without end on fifty years of weather, beside the same frozen
  warm          rounds until a task that starts from a stored model is as good as one from nothing
  scale         agreement in virtual time: time to commit over the number of nodes, and what
                a commit costs a committee against everyone; with --dir the curves are drawn
  calibration   the machine alone: every other name starts with it

  --json        one JSON object a line instead of a table
  --only TEXT   only work whose description contains TEXT
  --dir DIR     an empty folder for the networks, instead of a temporary one; after a
                failure what they wrote stays there
  --blocks N    the length of the chain that join is about
  -h, --help    this text
";

type Bench = Box<dyn Fn(&mut Report, &mut Lab) -> Result<()>>;

struct Args {
    name: String,
    json: bool,
    only: String,
    dir: Option<PathBuf>,
    blocks: u64,
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(order::NODE) {
        return order::node::main();
    }
    let Some(args) = parse(std::env::args().skip(1))? else {
        print!("{USAGE}");
        return Ok(());
    };
    let mut report = Report::new(args.json, args.only);
    let blocks = args.blocks;
    let bench: Bench = match args.name.as_str() {
        "calibration" => return calibration::run(&mut report).map(drop),
        "scale" => return scale::run(&mut report, args.dir.as_deref()),
        "round" => Box::new(round::run),
        "aggregate" => Box::new(aggregate::run),
        "commit" => Box::new(commit::run),
        "blob" => Box::new(blob::run),
        "join" => Box::new(move |report, lab| join::run(report, lab, blocks)),
        "compress" => Box::new(learning::compress::run),
        "drift" => Box::new(learning::drift::run),
        "crowd" => Box::new(crowd::run),
        "masks" => Box::new(masks::run),
        "stream" => Box::new(learning::stream::run),
        "warm" => Box::new(learning::warm::run),
        "attack" => Box::new(learning::attack::run),
        "order" => Box::new(order::run_all),
        other => bail!("there is no bench {other:?}\n\n{USAGE}"),
    };
    let mut lab = Lab::open(args.dir.as_deref())?;
    let outcome = bench(&mut report, &mut lab);
    if outcome.is_err() {
        lab.keep_asked_folder();
    }
    outcome
}

/// `None` asks for the help text.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let (mut name, mut json, mut only, mut dir) = (None, false, String::new(), None);
    let mut blocks = join::BLOCKS;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(None),
            "--json" => json = true,
            "--only" | "--dir" | "--blocks" => match (arg.as_str(), args.next()) {
                ("--only", Some(text)) => only = text,
                ("--blocks", Some(text)) => blocks = text.replace('_', "").parse()?,
                (_, Some(text)) => dir = Some(PathBuf::from(text)),
                (flag, None) => bail!("{flag} expects a value\n\n{USAGE}"),
            },
            flag if flag.starts_with('-') => bail!("unknown option {flag}\n\n{USAGE}"),
            other if name.is_none() => name = Some(other.to_string()),
            other => bail!("one name at a time, got {other:?} too\n\n{USAGE}"),
        }
    }
    match name {
        Some(name) => Ok(Some(Args { name, json, only, dir, blocks })),
        None => bail!("which bench?\n\n{USAGE}"),
    }
}
