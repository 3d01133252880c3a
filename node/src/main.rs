use clap::Parser;
use twinfold_node::{
    args::{Cli, Command},
    genesis_file, init, start,
};

fn main() -> color_eyre::Result<()> {
    color_eyre::config::HookBuilder::default().display_env_section(false).install()?;
    match Cli::parse().command {
        Command::Init(args) => init::run(&args),
        Command::Genesis(command) => genesis_file::run(&command),
        Command::Start(args) => start::run(args),
        Command::Version => {
            println!("twinfold-node {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}
