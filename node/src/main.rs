use clap::Parser;
use std::process::ExitCode;
use twinfold_node::{
    args::{Cli, Command},
    audit, checkpoint, declare, doctor, genesis_file, init, recover, start,
};

fn main() -> ExitCode {
    if let Err(error) =
        color_eyre::config::HookBuilder::default().display_env_section(false).install()
    {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let done = match Cli::parse().command {
        Command::Init(args) => init::run(&args),
        Command::Genesis(command) => genesis_file::run(&command),
        Command::Start(args) => start::run(args),
        Command::Declare(args) => declare::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Checkpoint(args) => checkpoint::run(&args),
        Command::Recover(command) => recover::run(&command),
        Command::Audit(args) => audit::run(&args),
        Command::Repair(args) => audit::run_repair(&args),
        Command::Version => {
            println!("twinfold-node {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
