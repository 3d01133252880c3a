//! `twinfold-node start`: joins where need be, runs the parts until told to stop or until going on
//! would be unsafe.

use crate::{
    api,
    args::Start,
    config::{Config, Join, LogFormat},
    diverge,
    executor::Executor,
    genesis_file, join,
    keys::NodeKeys,
    node::{Door, Node},
    parts::{self, Halted},
};
use color_eyre::eyre::{WrapErr, eyre};
use tokio_util::sync::CancellationToken;
use twinfold_types::genesis::Genesis;

/// A node that halted looks for the first difference so long.
const EXPLAIN_TIME: std::time::Duration = std::time::Duration::from_secs(60);
const EXPLAIN_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

pub fn run(args: Start) -> color_eyre::Result<()> {
    let mut config = Config::read(&args.config)?;
    apply_overrides(&mut config, args);
    start_log(&config)?;
    let keys = NodeKeys::read(&config.keys.dir, config.keys.passphrase_file.as_deref())?;
    let genesis = genesis_file::read(&config.genesis)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run_node(config, keys, genesis));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

fn apply_overrides(config: &mut Config, args: Start) {
    if let Some(listen) = args.http {
        config.http.listen = listen;
    }
    if let Some(genesis) = args.genesis {
        config.genesis = genesis;
    }
    if let Some(checkpoint) = args.checkpoint {
        let (stated, allow_old) =
            config.join.as_ref().map_or((false, false), |join| (join.stated, join.allow_old));
        config.join = Some(Join { checkpoint, stated, allow_old });
    }
    if let Some(join) = &mut config.join {
        join.stated |= args.stated_checkpoint;
        join.allow_old |= args.allow_old_checkpoint;
    }
    if let Some(path) = args.passphrase_file {
        config.keys.passphrase_file = Some(path);
    }
    if let Some(filter) = args.log {
        config.log.filter = filter;
    }
    if let Some(format) = args.log_format {
        config.log.format = format;
    }
}

fn start_log(config: &Config) -> color_eyre::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter)
        .wrap_err_with(|| format!("log.filter {:?}", config.log.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Human => {
            use std::io::IsTerminal;
            builder.with_ansi(std::io::stderr().is_terminal()).init();
        }
    }
    Ok(())
}

async fn run_node(config: Config, keys: NodeKeys, genesis: Genesis) -> color_eyre::Result<()> {
    let stop = CancellationToken::new();
    tokio::select! {
        joined = join::run(&config, &keys, &genesis) => joined?,
        reason = stop_signal() => {
            tracing::info!(reason, "stopping before the node has joined: it goes on from here when started again");
            return Ok(());
        }
    }
    let parts = parts::open(&config, keys, genesis, Door::default()).await?;
    // Also a node that takes part no longer fetches what others ask it for.
    let (node, _planes) = (parts.node.clone(), parts.executor.membership.planes.clone());
    let server = api::start(node.clone(), &config.http, stop.clone()).await?;
    tracing::info!(
        chain = %node.genesis.chain, genesis = %node.chain, seat = ?node.seat(), epoch = %node.reader.committee().epoch, http = %server.address,
        height = %node.reader.head().height, "the node runs"
    );
    let running = parts.run(stop.clone(), Executor::run)?;
    tokio::pin!(running);
    let outcome = tokio::select! {
        reason = stop_signal() => {
            tracing::info!(reason, "stopping");
            stop.cancel();
            // Lets a batch that is being written end, and the database close.
            running.await.map(|_| ())
        }
        ended = &mut running => match ended {
            Ok(Some(halted)) => {
                // Reads go on: the data are what others will ask about.
                tracing::error!(reason = %halted.reason, "this node takes part no longer");
                *node.halted.lock() = Some(halted.reason.clone());
                tokio::select! {
                    () = explain(&node, halted) => stop_signal().await,
                    reason = stop_signal() => reason,
                };
                Ok(())
            }
            Ok(None) => Err(eyre!("agreement ended by itself")),
            Err(error) => Err(error),
        },
    };
    stop.cancel();
    server.wait().await;
    outcome
}

/// Adds to the reason the first key in which the states differ, if that is the reason.
async fn explain(node: &Node, halted: Halted) {
    let Some(certified) = halted.certified else { return };
    let until = tokio::time::Instant::now() + EXPLAIN_TIME;
    let difference = loop {
        match diverge::first_difference(&node.exchange, &node.reader, &certified).await {
            Ok(Some(difference)) => break difference.to_string(),
            Ok(None) => break "no state key differs: compare the receipts before".into(),
            // Right after a start the peers are not connected yet.
            Err(error) if tokio::time::Instant::now() >= until => {
                break format!("the certified state could not be fetched: {error}");
            }
            Err(_) => tokio::time::sleep(EXPLAIN_PAUSE).await,
        }
    };
    tracing::error!(height = %certified.height, "{difference}");
    *node.halted.lock() = Some(format!("{}; {difference}", halted.reason));
}

async fn stop_signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return "no signal handler could be set";
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "interrupt",
    }
}
