//! The command line. Each command's own arguments stand beside the command.

use crate::command;
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};
use twinfold_types::{Digest, text::parse_duration};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  refused by the chain (a receipt's code) or at a node's door
  4  no node could be reached
  5  a proof or verification failed, or an answer was not what it should be
  6  timed out

Files: DIR/keys holds keys, DIR/state what trainers must not lose.";

#[derive(Debug, Parser)]
#[command(name = "twinfold", version, about = "Signed model updates in, verifiable models out", after_help = EXIT_CODES)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Args)]
pub struct Global {
    /// URL of a node; several (repeated, or with commas) are tried in turn
    #[arg(
        long,
        value_name = "URL",
        global = true,
        env = "TWINFOLD_NODE",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7780"
    )]
    pub node: Vec<String>,
    /// Folder of keys and state [default: ~/.twinfold]
    #[arg(long, value_name = "DIR", global = true, env = "TWINFOLD_DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON only: one document (events: one a line)
    #[arg(long, global = true)]
    pub json: bool,
    /// Name of the key to sign with [default: the only one there is]
    #[arg(long, value_name = "NAME", global = true, env = "TWINFOLD_KEY")]
    pub key: Option<String>,
    /// File with the passphrase of the key (also: TWINFOLD_PASSPHRASE)
    #[arg(long, value_name = "FILE", global = true)]
    pub passphrase_file: Option<PathBuf>,
    /// Genesis file that nodes and proofs are held against
    #[arg(long, value_name = "FILE", global = true, env = "TWINFOLD_GENESIS")]
    pub genesis: Option<PathBuf>,
    /// A recovery of the chain to follow, by its statement's digest (see docs/operations.md)
    #[arg(
        long,
        value_name = "DIGEST",
        global = true,
        env = "TWINFOLD_ACCEPT_RECOVERY",
        value_delimiter = ','
    )]
    pub accept_recovery: Vec<Digest>,
    /// Certificates (PEM) to trust instead of the public ones
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// How long to wait for a transaction
    #[arg(long, value_name = "TIME", global = true, default_value = "60s", value_parser = parse_duration)]
    pub timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, show, list and export keys
    #[command(subcommand)]
    Key(command::key::KeyCommand),
    /// How the node and the chain stand
    Status,
    /// The seats of the running epoch, and the candidates for the next
    Validators,
    /// One epoch with its seats, or the running one
    Epoch(command::epoch::EpochArgs),
    /// The epochs so far: when each began and ended, who joined and left
    Epochs(command::epoch::EpochsArgs),
    /// Stake: delegate it, take it back, give it away
    #[command(subcommand)]
    Stake(command::stake::StakeCommand),
    /// One block, or the newest
    Block(command::chain::BlockArgs),
    /// One transaction and its receipt
    Tx(command::chain::TxArgs),
    /// Members; operators add and remove their own trainers
    #[command(subcommand)]
    Member(command::member::MemberCommand),
    /// What admins decide together
    #[command(subcommand)]
    Proposal(command::proposal::ProposalCommand),
    /// Learning tasks
    #[command(subcommand)]
    Task(Box<command::task::TaskCommand>),
    /// Train for a task, round after round, on data that stays here
    Train(command::train::TrainArgs),
    /// Measure a task's global models as they come, on data that stays here
    Evaluate(command::evaluate::EvaluateArgs),
    /// Send an update made elsewhere
    #[command(subcommand)]
    Update(command::update::UpdateCommand),
    /// Payloads of any size: store, fetch, see who holds what
    #[command(subcommand)]
    Blob(command::blob::BlobCommand),
    /// Legal holds that stand: see `twinfold proposal new hold`
    Holds,
    /// Who has how many bytes of payloads on the ledger
    Storage,
    /// Data sets: files with versions on the ledger, appended by whom their owner lets
    #[command(subcommand)]
    Dataset(command::dataset::DatasetCommand),
    /// Models: fetch, publish, verify
    #[command(subcommand)]
    Model(command::model::ModelCommand),
    /// Proofs that need nothing but the genesis file
    #[command(subcommand)]
    Proof(command::proof::ProofCommand),
    /// Checkpoints that the admins state, for new nodes to begin from
    #[command(subcommand)]
    Checkpoint(command::checkpoint::CheckpointCommand),
    /// Admins' part in restarting a chain that lost too many validators
    #[command(subcommand)]
    Recovery(command::recovery::RecoveryCommand),
    /// Blocks, receipts and events as they come
    Events(command::events::EventsArgs),
    /// Print a shell's completion script
    Completions { shell: clap_complete::Shell },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nodes_may_be_repeated_or_joined_by_commas() {
        let line = ["twinfold", "status", "--node", "http://a,http://b", "--node", "http://c"];
        let cli = Cli::try_parse_from(line).unwrap();
        assert_eq!(cli.global.node, ["http://a", "http://b", "http://c"]);
    }

    #[test]
    fn the_promised_commands_parse() {
        let lines = [
            "key new edge --plain",
            "key export edge --secret --yes",
            "block 7",
            "tx 00ff --wait certified",
            "member add --name t1 --organisation north --member-key 00",
            "proposal new add-member --name a --organisation o --role auditor --member-key 00 --peer p",
            "proposal new set-quota --organisation o --trainers 5",
            "proposal new grant-stake --member site-5 --amount 1_000_000",
            "proposal new stake-params --epoch 12h --seats 7 --reward 0",
            "proposal new end-epoch",
            "proposal new expel --validator site-2",
            "proposal new readmit --validator site-2",
            "proposal new set-protocol --protocol 2",
            "proposal new set-storage-quota --organisation north --bytes 2TiB",
            "proposal new set-storage-quota --member tess",
            "proposal new hold --task digits --reason case-7",
            "proposal new release-hold --payload 00",
            "holds",
            "storage",
            "stake delegate --validator site-5 --amount 2_500",
            "stake undelegate --validator site-5 --amount 7",
            "stake transfer --to tess --amount 7",
            "stake show tess --json",
            "stake show",
            "stake release",
            "validators",
            "epoch 3",
            "epochs --from 2 --limit 5",
            "task create --name digits --architecture mlp:32 --features 64 --classes 10 --mode async:4",
            "task watch digits",
            "train --task digits --data d.csv --partition 0/8 --split dirichlet:0.5 --rounds 3",
            "update submit --task t --base 3 --cluster 0 --delta d.safetensors --examples 9 --key k --wait",
            "model verify 00 --recompute",
            "model get --task t -o m.safetensors",
            "proof get 00 -o p.bin",
            "proof verify p.bin --genesis g.json",
            "checkpoint state -o c.json --genesis g.json",
            "checkpoint sign c.json --key ben",
            "checkpoint combine a.json b.json -o c.json",
            "checkpoint show c.json",
            "proof verify p.bin --genesis g.json --accept-recovery 00,01",
            "recovery show r.json --genesis g.json",
            "recovery sign r.json --digest 00 --key admin",
            "events --after 1-0-0 --follow",
            "key encryption new",
            "key encryption new edge --rotate",
            "key encryption publish --key edge",
            "key encryption destroy-old --yes",
            "blob put f --seal-for ben,nora --whole",
            "blob grant 00 --to ben",
            "blob revoke 00 --from ben,nora",
            "blob purge 00",
            "blob get 00 -o f --raw",
            "completions zsh",
        ];
        for line in lines {
            let words = std::iter::once("twinfold").chain(line.split(' '));
            // Identities in the lines are too short on purpose: only their form fails.
            if let Err(error) = Cli::try_parse_from(words) {
                assert!(error.to_string().contains("hexadecimal"), "{line}: {error}");
            }
        }
    }

    #[test]
    fn a_change_of_rules_that_changes_nothing_is_wrong_usage() {
        let line = ["twinfold", "proposal", "new", "stake-params"];
        assert!(Cli::try_parse_from(line).unwrap_err().to_string().contains("--seats"));
    }

    #[test]
    fn completions_name_the_commands() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "twinfold", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("proposal") && script.contains("completions"), "{shell}");
        }
    }
}
