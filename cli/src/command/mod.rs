//! The commands: what each asks, does and prints.

pub mod admin_action;
pub mod blob;
pub mod chain;
pub mod checkpoint;
pub mod contributions;
pub mod create_args;
pub mod dataset;
pub mod encryption;
pub mod epoch;
pub mod evaluate;
pub mod event_text;
pub mod events;
pub mod forming;
pub mod keeping;
pub mod key;
pub mod masking;
pub mod member;
pub mod model;
pub mod model_export;
pub mod model_store;
pub mod plan;
pub mod privacy;
pub mod proof;
pub mod proposal;
pub mod recovery;
pub mod recruit;
pub mod sealed;
pub mod selection;
pub mod stake;
pub mod task;
pub mod train;
pub mod update;
pub mod validators;

use crate::{
    args::{Cli, Command, Global},
    client::{Client, ClientOptions, read_genesis},
    error::{CliError, Result},
    keystore::{Keystore, PASSPHRASE_VARIABLE, PassphraseSource},
    render::Output,
};
use clap::CommandFactory;
use std::{path::PathBuf, time::Duration};
use twinfold_types::{
    Action, Code, PublicKey, SecretKey,
    api::{Level, TxStatus},
    dataset::DatasetAction,
    genesis::Genesis,
    recovery::Accepted,
    sealed::SealedAction,
    stake::StakeAction,
};
use zeroize::Zeroizing;

/// What every command has at hand.
pub struct Context {
    pub global: Global,
    pub output: Output,
    dir: PathBuf,
}

/// Runs the command line.
pub fn run(cli: Cli) -> Result<()> {
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Key(command) => key::run(&context, command),
        Command::Status => chain::status(&context),
        Command::Validators => validators::run(&context),
        Command::Epoch(args) => epoch::epoch(&context, &args),
        Command::Holds => keeping::holds(&context),
        Command::Storage => keeping::storage(&context),
        Command::Epochs(args) => epoch::epochs(&context, &args),
        Command::Stake(command) => stake::run(&context, command),
        Command::Block(args) => chain::block(&context, &args),
        Command::Tx(args) => chain::tx(&context, &args),
        Command::Member(command) => member::run(&context, command),
        Command::Proposal(command) => proposal::run(&context, command),
        Command::Task(command) => task::run(&context, *command),
        Command::Train(args) => train::run(&context, &args),
        Command::Evaluate(args) => evaluate::run(&context, &args),
        Command::Update(command) => update::run(&context, command),
        Command::Blob(command) => blob::run(&context, command),
        Command::Dataset(command) => dataset::run(&context, command),
        Command::Model(command) => model::run(&context, command),
        Command::Proof(command) => proof::run(&context, command),
        Command::Checkpoint(command) => checkpoint::run(&context, command),
        Command::Recovery(command) => recovery::run(&context, command),
        Command::Events(args) => events::run(&context, args),
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "twinfold", &mut script);
            std::io::Write::write_all(&mut std::io::stdout(), &script).map_err(CliError::Output)
        }
    }
}

impl Context {
    fn new(global: Global) -> Result<Self> {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".twinfold"));
        let dir = global.dir.clone().or_else(home).ok_or_else(|| {
            CliError::usage("there is no home folder", "name a folder for keys with --dir")
        })?;
        Ok(Self { output: Output { json: global.json }, global, dir })
    }

    pub fn client(&self) -> Result<Client> {
        self.patient_client(Duration::ZERO)
    }

    /// A client that goes on trying while no node can be reached.
    pub fn patient_client(&self, patience: Duration) -> Result<Client> {
        let client = Client::new(ClientOptions {
            nodes: self.global.node.clone(),
            ca: self.global.ca.clone(),
            genesis: self.global.genesis.clone(),
            accepted: self.accepted(),
            patience,
        })?;
        // Without a key, or with several of which none is named, content is asked for unsigned.
        let (keystore, name) = (self.keystore(), self.key_name().ok());
        Ok(client.reading_with(move || match &name {
            Some(name) => keystore.open(name).map(Some).map_err(|error| error.to_string()),
            None => Ok(None),
        }))
    }

    /// The recoveries that whoever runs this accepts.
    pub fn accepted(&self) -> Accepted {
        self.global.accept_recovery.iter().copied().collect()
    }

    pub fn keystore(&self) -> Keystore {
        let environment = std::env::var(PASSPHRASE_VARIABLE).ok().map(Zeroizing::new);
        let file = self.global.passphrase_file.clone();
        Keystore::in_dir(&self.dir, PassphraseSource { file, environment })
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Name of the key to sign with: as given, else the only one there is.
    pub fn key_name(&self) -> Result<String> {
        if let Some(name) = &self.global.key {
            return Ok(name.clone());
        }
        match self.keystore().names()?.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(CliError::usage("there is no key", "make one with `twinfold key new NAME`")),
            names => Err(CliError::usage(
                format!("{} keys, and --key names none of them", names.len()),
                format!("choose one: {}", names.join(", ")),
            )),
        }
    }

    pub fn signing_key(&self) -> Result<SecretKey> {
        Ok(self.keystore().open(&self.key_name()?)?)
    }

    /// The genesis file given, which this command cannot do without.
    pub fn genesis_file(&self) -> Result<Genesis> {
        match &self.global.genesis {
            Some(path) => Ok(read_genesis(path)?),
            None => Err(CliError::usage(
                "a genesis file is needed: everything is held against it",
                "give --genesis FILE (the file that the operators compared)",
            )),
        }
    }

    /// Signs, sends, waits for the receipt, and shows it. A receipt with another
    /// code than 0 is an error.
    pub fn transact(&self, action: Action, done: &str) -> Result<()> {
        let status = self.execute(action)?;
        self.output.show(&status, || format!("{done}\ntransaction {}", status.id))
    }

    /// The same without showing it.
    pub fn execute(&self, action: Action) -> Result<TxStatus> {
        let key = self.signing_key()?;
        let _progress = self.output.progress("waiting for the receipt");
        accepted(self.client()?.submit(&key, action, Level::Executed, self.global.timeout)?)
    }
}

/// The status, if its receipt's code is 0.
pub fn accepted(status: TxStatus) -> Result<TxStatus> {
    match &status.receipt {
        Some(receipt) if receipt.code != Code::Ok => {
            Err(CliError::Chain { tx: status.id, code: receipt.code })
        }
        _ => Ok(status),
    }
}

/// A public key on the command line.
pub fn parse_key(text: &str) -> Result<PublicKey, String> {
    text.parse()
}

/// What an action is called.
pub fn action_name(action: &Action) -> &'static str {
    match action {
        Action::Propose(_) => "propose",
        Action::SignProposal(_) => "sign proposal",
        Action::AddTrainer(_) => "add trainer",
        Action::RemoveTrainer(_) => "remove trainer",
        Action::CreateTask(_) => "create task",
        Action::CloseTask(_) => "close task",
        Action::Update(_) => "update",
        Action::Aggregate(_) => "aggregate",
        Action::PublishModel(_) => "publish model",
        Action::Stake(StakeAction::Delegate { .. }) => "delegate",
        Action::Stake(StakeAction::Undelegate { .. }) => "undelegate",
        Action::Stake(StakeAction::Transfer { .. }) => "transfer stake",
        Action::Stake(StakeAction::Declare(_)) => "declare",
        Action::Stake(StakeAction::Release) => "release",
        Action::Accuse(_) => "accuse",
        Action::Attest(_) => "attest",
        Action::SetEncryptionKey(_) => "set encryption key",
        Action::Sealed(SealedAction::Register(_)) => "register sealed",
        Action::Sealed(SealedAction::Grant { .. }) => "grant sealed",
        Action::Sealed(SealedAction::Revoke { .. }) => "revoke sealed",
        Action::Sealed(SealedAction::Destroy(_)) => "destroy sealed",
        Action::Dataset(DatasetAction::Create(_)) => "create data set",
        Action::Dataset(DatasetAction::Append(_)) => "append to data set",
        Action::Dataset(DatasetAction::Grant { .. }) => "grant data set",
        Action::Dataset(DatasetAction::Revoke { .. }) => "revoke data set",
        Action::Dataset(DatasetAction::Purge { .. }) => "purge data set",
        Action::DeprecateModel(_) => "deprecate model",
        Action::MeasureModel(_) => "measure model",
        Action::Condemn(_) => "condemn payload",
        Action::TakeOver => "take over seat",
        Action::Evaluate(_) => "evaluate",
        Action::Enrol(_) => "enrol",
        Action::Leave(_) => "leave",
        Action::Recruit(_) => "recruit",
        Action::Profile(_) => "profile",
        Action::Mask(_) => "mask",
    }
}
