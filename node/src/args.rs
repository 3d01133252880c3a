//! The command line of `twinfold-node`.

use crate::stake_rules::{StakeRules, VALIDATOR_STAKE_DEFAULT};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use twinfold_types::{
    Digest, Stake,
    text::{parse_duration, parse_stake},
};

/// A node of a Twinfold chain: orders signed model updates with its committee, folds
/// them into models, and serves both over HTTP.
#[derive(Debug, Parser)]
#[command(name = "twinfold-node", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a node's folder: keys, a commented configuration, its public entry.
    Init(Init),
    /// Run the node until SIGTERM or Ctrl-C.
    Start(Start),
    /// Say on the chain whether this validator wants a seat, what it keeps of rewards, and
    /// where others dial it. It counts from the next election on.
    Declare(Declare),
    /// Ask running nodes why the network stands still, or whether it does.
    Doctor(Doctor),
    /// Print the newest checkpoint of a running node, for a new node to begin from.
    Checkpoint(Checkpoint),
    /// Make, extend, show or check the genesis file that all operators share.
    #[command(subcommand)]
    Genesis(GenesisCommand),
    /// Restart a chain that lost more than f validators for good, by the word of its admins.
    /// Works on the folder of a node that is stopped.
    #[command(subcommand)]
    Recover(RecoverCommand),
    /// Look at everything that a stopped node has on its disk, and say what is not what was written.
    Audit(AuditArgs),
    /// The same, and put aside what is damaged: the node fetches it from the others when it starts.
    Repair(AuditArgs),
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Folder that `init` made, with config.toml in it.
    #[arg(
        long,
        value_name = "FOLDER",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    pub dir: Option<PathBuf>,
    /// Configuration file of the stopped node.
    #[arg(long, env = "TWINFOLD_NODE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum RecoverCommand {
    /// Make the statement that the admins sign, from what this node holds.
    Propose(RecoverPropose),
    /// Accept a signed statement for this node: it goes on from the kept height with the named
    /// committee, and signs nothing under the old one any more.
    Accept(RecoverAccept),
}

#[derive(Debug, Args)]
pub struct RecoverPropose {
    /// Configuration file of the stopped node.
    #[arg(long, env = "TWINFOLD_NODE_CONFIG")]
    pub config: PathBuf,
    /// A validator that sits in the new committee, by name or public key; once for each, in the
    /// order of seats.
    #[arg(long = "seat", value_name = "NAME|KEY", required = true)]
    pub seats: Vec<String>,
    /// File to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Number of the new epoch [default: the next free one]. A later one replaces a statement
    /// that was accepted and never acted upon.
    #[arg(long, value_name = "N")]
    pub epoch: Option<u64>,
    /// Allow fewer than four seats: such a committee bears no fault.
    #[arg(long)]
    pub allow_unsafe_size: bool,
}

#[derive(Debug, Args)]
pub struct RecoverAccept {
    /// Configuration file of the stopped node.
    #[arg(long, env = "TWINFOLD_NODE_CONFIG")]
    pub config: PathBuf,
    /// The statement that enough admins signed.
    #[arg(long, value_name = "FILE")]
    pub statement: PathBuf,
    /// Accept it without asking: the digest was compared before.
    #[arg(long)]
    pub yes: bool,
    /// Accept a committee of fewer than four seats.
    #[arg(long)]
    pub allow_unsafe_size: bool,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Folder to make; must be empty or absent.
    #[arg(long, env = "TWINFOLD_NODE_DIR")]
    pub dir: PathBuf,
    /// Name of the node, shown to people.
    #[arg(long)]
    pub name: String,
    /// Organisation that runs it.
    #[arg(long)]
    pub organisation: String,
    /// Address of the HTTP API.
    #[arg(long, default_value = "127.0.0.1:7780")]
    pub http: std::net::SocketAddr,
    /// Multiaddress for votes and blocks, as other nodes dial it.
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/7781")]
    pub address: String,
    /// Multiaddress for payloads, as other nodes dial it.
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/7782")]
    pub payload_address: String,
    /// Stake that it has bonded to itself from the first block on, where it is in genesis.
    #[arg(long, value_name = "N", value_parser = parse_stake, default_value_t = VALIDATOR_STAKE_DEFAULT)]
    pub stake: Stake,
    /// File with the passphrase that encrypts the keys.
    #[arg(long, env = "TWINFOLD_PASSPHRASE_FILE", conflicts_with = "plain_keys")]
    pub passphrase_file: Option<PathBuf>,
    /// Store the keys unencrypted, readable by the owner only.
    #[arg(long)]
    pub plain_keys: bool,
}

#[derive(Debug, Args)]
pub struct Declare {
    /// Configuration file, as `init` writes it: its keys sign, its node is asked.
    #[arg(long, env = "TWINFOLD_NODE_CONFIG")]
    pub config: PathBuf,
    /// It has caught up and wants a seat.
    #[arg(long, conflicts_with = "leave")]
    pub ready: bool,
    /// It wants no seat: it leaves at the next election that can replace it.
    #[arg(long)]
    pub leave: bool,
    /// Thousandths of its rewards that it keeps before its delegators share the rest.
    #[arg(long, value_name = "PERMILLE", value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub commission: Option<u16>,
    /// Multiaddress for votes and blocks, as other nodes dial it.
    #[arg(long, value_name = "MULTIADDR", requires = "payload_address")]
    pub address: Option<String>,
    /// Multiaddress for payloads, as other nodes dial it.
    #[arg(long, value_name = "MULTIADDR", requires = "address")]
    pub payload_address: Option<String>,
    /// File with the passphrase of the keys.
    #[arg(long, env = "TWINFOLD_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// URL of the node to send it through [default: the configuration's own].
    #[arg(long, value_name = "URL")]
    pub node: Option<String>,
    /// Certificate of the node's API or of its issuer (PEM), where it is none that the world knows.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long to wait until the chain has carried it out.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    pub timeout: std::time::Duration,
    /// Print the receipt as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// URL of a node's API; several are asked one after the other.
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    pub node: Vec<String>,
    /// Ask the node of this configuration file.
    #[arg(long, env = "TWINFOLD_NODE_CONFIG", conflicts_with = "node")]
    pub config: Option<PathBuf>,
    /// Certificate of the nodes' API or of its issuer (PEM), where it is none that the world knows.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print what the nodes answered as JSON, one line a node.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Checkpoint {
    /// URL of a node's API.
    #[arg(long, value_name = "URL")]
    pub node: String,
    /// Genesis file that the checkpoint is held against.
    #[arg(long, env = "TWINFOLD_GENESIS")]
    pub genesis: PathBuf,
    /// A recovery that you accept, by the digest of its statement; repeated, or with commas.
    #[arg(long, value_name = "DIGEST", env = "TWINFOLD_ACCEPT_RECOVERY", value_delimiter = ',')]
    pub accept_recovery: Vec<Digest>,
    /// Certificate of the node's API or of its issuer (PEM), where it is none that the world knows.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Start {
    /// Configuration file, as `init` writes it.
    #[arg(long, env = "TWINFOLD_NODE_CONFIG")]
    pub config: PathBuf,
    /// Overrides `http.listen`.
    #[arg(long, env = "TWINFOLD_HTTP_LISTEN")]
    pub http: Option<std::net::SocketAddr>,
    /// Overrides `join.checkpoint`: begin from this checkpoint, trusted by hand or stated by
    /// the admins, where there is no ledger yet.
    #[arg(long, env = "TWINFOLD_CHECKPOINT")]
    pub checkpoint: Option<PathBuf>,
    /// Begin only from a checkpoint that enough of genesis' admins have signed.
    #[arg(long)]
    pub stated_checkpoint: bool,
    /// Begin from the checkpoint however old it is.
    #[arg(long)]
    pub allow_old_checkpoint: bool,
    /// Overrides `genesis`.
    #[arg(long, env = "TWINFOLD_GENESIS")]
    pub genesis: Option<PathBuf>,
    /// Overrides `keys.passphrase_file`.
    #[arg(long, env = "TWINFOLD_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Overrides `log.filter`, such as `info` or `twinfold_node=debug`.
    #[arg(long, env = "TWINFOLD_LOG")]
    pub log: Option<String>,
    /// Overrides `log.format`: human or json.
    #[arg(long, env = "TWINFOLD_LOG_FORMAT")]
    pub log_format: Option<crate::config::LogFormat>,
}

#[derive(Debug, Subcommand)]
pub enum GenesisCommand {
    /// Start a genesis file: no validators yet.
    New {
        /// File to write.
        file: PathBuf,
        /// Name of the chain.
        #[arg(long)]
        chain: String,
        /// Admin signatures that a proposal needs.
        #[arg(long, default_value_t = 1)]
        threshold: u32,
        /// Trainers an organisation may have unless the admins set another number.
        #[arg(long, default_value_t = twinfold_types::limits::TRAINER_QUOTA_DEFAULT)]
        trainer_quota: u32,
        /// Allow fewer than four validators: such a network tolerates no fault.
        #[arg(long)]
        allow_unsafe_size: bool,
        #[command(flatten)]
        rules: Box<StakeRules>,
    },
    /// Add a validator (the `validator.json` that its `init` wrote) or other members.
    Add {
        file: PathBuf,
        /// Public entry of a validator.
        #[arg(long, conflicts_with = "member")]
        validator: Option<PathBuf>,
        /// Another member, as often as there are such: NAME:ORGANISATION:ROLE[+ROLE]:PUBLIC-KEY[:PEER-ID], where a
        /// role is admin, operator, trainer or auditor.
        #[arg(
            long = "member",
            id = "member",
            value_name = "MEMBER",
            required_unless_present = "validator"
        )]
        members: Vec<String>,
        /// Stake from the first block on: a validator's is bonded to itself [default: what its
        /// entry says], other members' is free, so much each [default: 0].
        #[arg(long, value_name = "N", value_parser = parse_stake)]
        stake: Option<Stake>,
    },
    /// Show the members and the fingerprint.
    Show { file: PathBuf },
    /// Check the file and print the fingerprint that operators compare.
    Check { file: PathBuf },
}
