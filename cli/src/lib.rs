//! Twinfold for people and programs: an HTTP client that checks what nodes say, a
//! keystore, tasks, trainers and offline verification. The binary `twinfold` is a
//! thin shell over it.

pub mod args;
pub mod client;
pub mod command;
pub mod data;
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod held;
pub mod keystore;
pub mod masked;
pub mod model_export;
pub mod model_file;
pub mod model_text;
pub mod plan;
pub mod publish;
pub mod readers;
pub mod render;
pub mod sealed;
pub mod session;
pub mod task;
pub mod tensor_file;
pub mod train;
pub mod update;
pub mod verify;

use clap::Parser;
use std::process::ExitCode;

/// Parses the command line, runs it, and turns the error into message and code.
pub fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let json = cli.global.json;
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            report(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}

/// What went wrong and what to do, to stderr.
fn report(error: &error::CliError, json: bool) {
    let hint = error.hint();
    if json {
        let code = error.exit_code();
        let view =
            serde_json::json!({ "error": error.to_string(), "hint": hint, "exit_code": code });
        eprintln!("{view}");
        return;
    }
    eprintln!("error: {error}");
    if !hint.is_empty() {
        eprintln!("  → {hint}");
    }
}
