use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    twinfold_testnet::run::main(twinfold_testnet::args::Args::parse())
}
