//! Joining from a checkpoint instead of from genesis. The operator trusts one checkpoint;
//! the committee that it speaks of certifies the newest one; the state under that one's root
//! comes part by part from several peers at once, each part proved by the part above it. The
//! blocks of the last window follow, proved by their chain of parents from the checkpoint's
//! block, since the replay set is made from them. What comes after is ordinary catching up.
//!
//! Everything that arrived is kept in a folder beside the ledger's: a joining that was killed
//! goes on where it was. Only the complete ledger is moved to its place.

mod blocks;
mod progress;
mod sources;
mod state;

pub use progress::Progress;
pub use sources::{Sources, Unserved};

use crate::{
    api,
    config::{Config, Join},
    keys::NodeKeys,
    network::{Peers, Plane, PlaneConfig, peers::parse_address, plane::keypair},
};
use color_eyre::eyre::{WrapErr, bail, ensure, eyre};
use std::{path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use twinfold_ledger::{Anchor, Joining};
use twinfold_types::{
    Height,
    genesis::Genesis,
    key::{Signer, StrictEd25519},
    limits,
    recovery::Recovery,
    trust::TrustedCheckpoint,
};

/// While no peer can help.
const PAUSE: Duration = Duration::from_millis(500);
const TELL_INTERVAL: Duration = Duration::from_secs(2);

/// Joins where the configuration says so and there is no ledger yet.
pub async fn run(config: &Config, keys: &NodeKeys, genesis: &Genesis) -> color_eyre::Result<()> {
    let (ledger, partial) = (config.data.join("ledger"), config.data.join("joining"));
    let Some(join) = &config.join else {
        ensure!(
            ledger.exists() || !partial.exists(),
            "{} holds a ledger in the making: give the checkpoint again ([join] or --checkpoint) to \
             go on, or remove that folder to start from genesis",
            partial.display()
        );
        return Ok(());
    };
    if ledger.exists() {
        tracing::debug!("there is a ledger already: [join] is of no use any more");
        return Ok(());
    }
    ensure!(
        genesis.committee().seat_of(&keys.consensus.public_key()).is_none(),
        "[join] is for nodes without a seat: a validator that begins without its journal has \
         forgotten its votes"
    );
    std::fs::create_dir_all(&config.data)
        .wrap_err_with(|| format!("cannot make {}", config.data.display()))?;
    let Some(joining) = Joining::open(&partial, &ledger, Some(&config.log.dir), genesis)? else {
        return Ok(());
    };
    let accepted = joining.recoveries()?;
    let trusted = trusted(join, genesis, &accepted)?;
    let (stop, progress) = (CancellationToken::new(), Arc::new(Progress::default()));
    let waiting = api::Waiting::new(genesis, keys.consensus.public_key(), progress.clone());
    let server = api::start_waiting(waiting, &config.http, stop.clone()).await?;
    let plane = start_plane(config, keys, genesis).await?;
    let sources = Sources::new(&plane.0, plane.1, genesis, accepted, progress.clone());
    let sources = Arc::new(sources);
    let telling = tokio::spawn(tell(progress.clone()));
    let joined = fetch(&sources, Arc::new(joining), &trusted, genesis).await;
    telling.abort();
    stop.cancel();
    server.wait().await;
    let height = joined?;
    tracing::info!(%height, "joined: the ledger begins here and follows the chain from now on");
    Ok(())
}

/// The checkpoint that the operator trusts, as far as it can be checked alone.
fn trusted(
    join: &Join,
    genesis: &Genesis,
    accepted: &[Recovery],
) -> color_eyre::Result<TrustedCheckpoint> {
    let path = &join.checkpoint;
    let trusted = read_checkpoint(path)?;
    let named = || format!("the checkpoint {}", path.display());
    let (chain, first) = (genesis.digest(), genesis.committee());
    let digests = sources::digests(accepted);
    trusted.verify(&chain, &first, &digests, &StrictEd25519).wrap_err_with(named)?;
    let checkpoint = &trusted.certificate.checkpoint;
    if let Some(recovery) = sources::left_out(&trusted.trail, checkpoint, accepted) {
        let (height, digest) = (recovery.statement.kept.height, recovery.digest());
        bail!(
            "the checkpoint {} is of the chain that the recovery {digest} ended at height {height}, and this \
             node's operator accepted that one: fetch a checkpoint from a node that followed it",
            path.display()
        );
    }
    // Whoever has left by then has been paid out.
    let limit = if join.allow_old { u64::MAX } else { genesis.params.stake.unbonding_ms };
    trusted
        .check_age(crate::clock::now(), limit)
        .wrap_err_with(named)
        .wrap_err("not trusted without [join] allow_old = true")?;
    let by = vouched_for(&trusted, join, genesis).wrap_err_with(named)?;
    tracing::info!(
        height = %trusted.height(), fingerprint = %trusted.fingerprint(), by,
        "joining from a trusted checkpoint"
    );
    Ok(trusted)
}

/// By whom: the admins that state it, or else the operator who gave the file. One that some
/// admins have signed needs enough of them.
fn vouched_for(
    trusted: &TrustedCheckpoint,
    join: &Join,
    genesis: &Genesis,
) -> color_eyre::Result<String> {
    if trusted.statements.is_empty() && !join.stated {
        return Ok("the operator".into());
    }
    let admins = trusted.check_stated(genesis, &StrictEd25519)?;
    let names: Vec<_> = admins.iter().map(|admin| admin.name.as_str()).collect();
    Ok(format!("the admins {}", names.join(", ")))
}

/// A checkpoint file, of a bounded size.
pub fn read_checkpoint(path: &Path) -> color_eyre::Result<TrustedCheckpoint> {
    use std::io::Read;
    let named = || format!("cannot read the checkpoint {}", path.display());
    let mut text = Vec::new();
    let limit = limits::CHECKPOINT_FILE_BYTES_MAX as u64;
    let file = std::fs::File::open(path).wrap_err_with(named)?;
    file.take(limit + 1).read_to_end(&mut text).wrap_err_with(named)?;
    ensure!(text.len() as u64 <= limit, "{}: over {limit} bytes", path.display());
    serde_json::from_slice(&text).wrap_err_with(named)
}

async fn start_plane(
    config: &Config,
    keys: &NodeKeys,
    genesis: &Genesis,
) -> color_eyre::Result<(Plane, Peers)> {
    let own = keypair(&keys.peer)?.public().to_peer_id();
    let peers = Peers::from_genesis(genesis, &config.network.peers, own)?;
    let plane = PlaneConfig {
        name: "payloads",
        listen: parse_address(&config.network.payload_listen)?,
        peers: peers.clone(),
        is_dialled: false,
        address: |addresses| addresses.1.clone(),
    };
    Ok((Plane::start(plane, &keys.peer).await?, peers))
}

/// Brings everything here and makes the ledger; the height at which it begins.
async fn fetch(
    sources: &Arc<Sources>,
    joining: Arc<Joining>,
    trusted: &TrustedCheckpoint,
    genesis: &Genesis,
) -> color_eyre::Result<Height> {
    let anchor = loop {
        let anchor = newest(sources, trusted, genesis).await;
        sources.progress.aim(anchor.height());
        let state = anchor.certificate.checkpoint.state_root;
        if state::fetch(sources, &joining, anchor.height(), state).await?
            && blocks::fetch(sources, &joining, &anchor).await?
        {
            break anchor;
        }
        // Its state is served no longer: what came is kept, the rest is taken of a newer one.
        tokio::time::sleep(PAUSE).await;
    };
    sources.progress.phase("building the ledger");
    let joining = Arc::into_inner(joining).ok_or_else(|| eyre!("a fetch is still under way"))?;
    let height = anchor.height();
    tokio::task::spawn_blocking(move || joining.finish(&anchor)).await??;
    Ok(height)
}

/// The newest anchor that any peer has, not older than what is trusted. Waits for one.
async fn newest(sources: &Sources, trusted: &TrustedCheckpoint, genesis: &Genesis) -> Anchor {
    loop {
        sources.progress.phase("looking for the newest checkpoint");
        let mut newest: Option<Anchor> = None;
        for anchor in sources.anchors(trusted, genesis).await {
            if newest.as_ref().is_none_or(|newest| newest.height() < anchor.height()) {
                newest = Some(anchor);
            }
        }
        match newest.filter(|newest| newest.height() >= trusted.height()) {
            Some(anchor) => return anchor,
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn tell(progress: Arc<Progress>) {
    loop {
        tokio::time::sleep(TELL_INTERVAL).await;
        tracing::info!("joining: {}", progress.view().text());
    }
}
