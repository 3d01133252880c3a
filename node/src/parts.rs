//! The parts of a running node: opened, connected, started.

use crate::{
    accuser,
    assembler::Assembler,
    blobs::{BlobStore, Exchange, ModelStore, exchange::ExchangeConfig},
    collect,
    completer::{self, Named},
    condemner,
    config::{Config, Scrub},
    driver::{Driver, DriverError, FromExecutor, ToExecutor},
    executor::{Executor, Membership},
    folder::Folder,
    journal::Journal,
    keys::NodeKeys,
    metrics::Metrics,
    network::{Links, Peers, Plane, PlaneConfig, peers::parse_address, plane::keypair},
    node::{AgreementStatus, Door, Node},
    pool::{Pool, Source},
    proposals::Proposals,
    pruning::Pruning,
    recover::heard::Heard,
    rotation,
    router::{Router, admit_transactions, repeat_transactions},
    scrub,
    seat_keys::SeatKeys,
    shrinker,
    spread::spread,
    takeover,
};
use color_eyre::eyre::{WrapErr, eyre};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use twinfold_consensus::{Diagnosis, Event, HaltReason, Machine, Record, Recovered};
use twinfold_ledger::{Ledger, LedgerError};
use twinfold_types::{
    BlobDigest, Evidence, Height, PublicKey, SignedTx, genesis::Genesis, key::Signer,
    limits::EVIDENCE_WAITING_MAX, message::Proposal, round::SignedFoldResult, vote::Checkpoint,
};

const EVENTS_QUEUED: usize = 4_096;
/// Messages of up to 16 MiB each.
const INBOUND_QUEUED: usize = 64;
/// Clients' transactions on their way to the peers; the pool bounds how many there are.
const OUTGOING_QUEUED: usize = 1_024;
const EXECUTION_QUEUED: usize = 512;

/// Everything opened and connected, not yet running.
pub struct Parts {
    pub node: Arc<Node>,
    pub driver: Driver,
    pub executor: Executor,
    events: mpsc::Receiver<Event>,
    work: mpsc::Receiver<ToExecutor>,
    router: Router,
    folds: mpsc::Receiver<SignedFoldResult>,
    transactions: mpsc::Receiver<(Vec<SignedTx>, Source)>,
    proposed: mpsc::Receiver<(PublicKey, Proposal)>,
    to_spread: mpsc::Receiver<Vec<SignedTx>>,
    evidence: mpsc::Receiver<Evidence>,
    named: mpsc::Receiver<Named>,
    lies: mpsc::Receiver<BlobDigest>,
    rotate_epochs: u64,
    scrub: Scrub,
}

impl Parts {
    /// Starts everything; `execute` carries out what is committed. What it returns ends
    /// when agreement and execution have: `Some` when the core halted.
    pub fn run(
        self,
        stop: CancellationToken,
        execute: impl FnOnce(Executor, mpsc::Receiver<ToExecutor>) -> Result<(), LedgerError>
        + Send
        + 'static,
    ) -> color_eyre::Result<impl Future<Output = color_eyre::Result<Option<Halted>>>> {
        tokio::spawn(self.router.run());
        tokio::spawn(admit_transactions(self.node.clone(), self.transactions));
        tokio::spawn(repeat_transactions(self.node.clone()));
        tokio::spawn(rotation::rotate(self.node.clone(), self.rotate_epochs));
        tokio::spawn(accuser::accuse(self.node.clone(), self.evidence));
        tokio::spawn(completer::complete(self.node.clone(), self.named));
        tokio::spawn(condemner::condemn(self.node.clone(), self.lies));
        tokio::spawn(takeover::take_over(self.node.clone()));
        tokio::spawn(scrub::scrub(self.node.clone(), self.scrub));
        tokio::spawn(collect::collect(self.node.clone()));
        tokio::spawn(shrinker::shrink(self.node.clone()));
        tokio::spawn(spread(self.node.clone(), self.to_spread));
        tokio::spawn(Assembler::new(self.node.clone()).run(self.proposed));
        tokio::spawn(Folder::new(self.node.clone()).run(self.folds));
        let (executed_sender, executed) = oneshot::channel();
        let (executor, work) = (self.executor, self.work);
        std::thread::Builder::new()
            .name("executor".into())
            .spawn(move || executed_sender.send(execute(executor, work)).ok())?;
        let (agreed_sender, agreed) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let (driver, events) = (self.driver, self.events);
        std::thread::Builder::new()
            .name("agreement".into())
            .spawn(move || agreed_sender.send(runtime.block_on(driver.run(events, stop))).ok())?;
        Ok(ended(agreed, executed))
    }
}

/// Why a node takes part no longer.
pub struct Halted {
    pub reason: String,
    /// What a quorum certified and this node does not have.
    pub certified: Option<Checkpoint>,
}

/// When the driver ends, the executor does once its queue is empty; when the executor
/// fails, its error is the reason and not the driver's.
async fn ended(
    agreed: oneshot::Receiver<Result<(), DriverError>>,
    executed: oneshot::Receiver<Result<(), LedgerError>>,
) -> color_eyre::Result<Option<Halted>> {
    match executed.await {
        Ok(Ok(())) => {}
        Ok(Err(LedgerError::Diverged { height, ours, theirs })) => {
            let certified = Some((*theirs).clone());
            let reason = LedgerError::Diverged { height, ours, theirs }.to_string();
            return Ok(Some(Halted { reason, certified }));
        }
        Ok(Err(error @ (LedgerError::Recovery { .. } | LedgerError::BeyondRecovery { .. }))) => {
            return Ok(Some(Halted { reason: error.to_string(), certified: None }));
        }
        Ok(Err(error)) => return Err(error).wrap_err("the ledger cannot go on"),
        Err(_) => return Err(eyre!("the executor thread ended badly")),
    }
    match agreed.await {
        Ok(Ok(())) => Ok(None),
        Ok(Err(DriverError::Halted(halt))) => {
            let reason = halt.to_string();
            let certified = match *halt {
                HaltReason::Diverged { stable, .. } => Some(stable.checkpoint),
                HaltReason::Forked { .. } | HaltReason::Protocol { .. } => None,
            };
            Ok(Some(Halted { reason, certified }))
        }
        Ok(Err(error)) => Err(error).wrap_err("agreement cannot go on"),
        Err(_) => Err(eyre!("the agreement thread ended badly")),
    }
}

/// Opens the folder and connects the parts.
pub async fn open(
    config: &Config,
    keys: NodeKeys,
    genesis: Genesis,
    door: Door,
) -> color_eyre::Result<Parts> {
    let chain = genesis.digest();
    let own = keys.consensus.public_key();
    let own_peer = keypair(&keys.peer)?.public().to_peer_id();
    std::fs::create_dir_all(&config.data)
        .wrap_err_with(|| format!("cannot make {}", config.data.display()))?;
    let key = Arc::new(keys.consensus.clone());
    let seat_keys = Arc::new(SeatKeys::open(&config.keys.dir, key.clone())?);
    let ledger = Ledger::open(&config.data.join("ledger"), Some(&config.log.dir), &genesis)?;
    let reader = ledger.reader();
    reader.check_recovery()?;
    let recovery = reader.recovery_ahead()?;
    let committee = reader.voting_committee()?;
    let seat = committee.seat_of(&own);
    // An observer signs nothing, so it may begin a new one at any height.
    let new = seat.is_none() || reader.head().height.0 == 0;
    let (journal, mut records) = Journal::open::<Record>(&config.data.join("journal"), chain, new)?;
    let blobs = Arc::new(BlobStore::open(&config.data.join("blobs"))?);
    let models = Arc::new(ModelStore::open(&config.data.join("models"))?);

    let peers = Peers::from_genesis(&genesis, &config.network.peers, own_peer)?;
    let members = reader.members()?;
    peers.keep_members(&members);
    for member in &members {
        // One unusable peer id must not keep every node from starting.
        if let Err(error) = peers.admit(member, own_peer) {
            tracing::warn!(member = %member.name, %error, "this member's node is not let in");
        }
    }
    for candidate in reader.candidates()? {
        if let Err(error) = peers.learn(&candidate) {
            tracing::warn!(%error, "a validator declared an address that is none");
        }
    }
    for peer in peers.strangers() {
        tracing::warn!(
            peer = %peer.id, height = %reader.head().height,
            "no member in this state has this peer id: it is dialled because the configuration \
             names it ([[network.peers]])"
        );
    }
    let dialled = genesis.committee().seat_of(&own).is_some();
    let planes = start_planes(config, &keys, &peers, dialled).await?;
    let (inbound_sender, inbound) = mpsc::channel(INBOUND_QUEUED);
    let links = Links::start(&planes[0], peers.clone(), chain, inbound_sender)?;
    let (lies_sender, lies) = mpsc::channel(condemner::WAITING_MAX);
    let exchange = Exchange::start(
        &planes[1],
        ExchangeConfig {
            chain,
            keys: seat_keys.clone(),
            verifier: door.verifier.clone(),
            peers: peers.clone(),
            reader: reader.clone(),
            blobs: blobs.clone(),
            models: models.clone(),
            lies: lies_sender,
        },
    )?;

    let (event_sender, events) = mpsc::channel(EVENTS_QUEUED);
    let (executed_sender, executed) = mpsc::unbounded_channel();
    let (work_sender, work) = mpsc::channel(EXECUTION_QUEUED);
    let (fold_sender, folds) = mpsc::channel(INBOUND_QUEUED);
    let (tx_sender, transactions) = mpsc::channel(INBOUND_QUEUED);
    let (named_sender, named) = mpsc::channel(completer::WAITING_MAX);
    let (accuser_sender, evidence) = mpsc::channel(EVIDENCE_WAITING_MAX);
    let (status, agreement) = watch::channel(AgreementStatus::default());
    let (diagnosis_sender, diagnosis) = watch::channel(Diagnosis::default());
    let head = reader.head();
    let stable_height = reader.stable().map(|stable| stable.checkpoint.height).unwrap_or_default();
    let (heads_sender, heads) = watch::channel(head.height);
    let (stable_sender, stable) = watch::channel(stable_height);
    let (assembler, proposed) = mpsc::channel(INBOUND_QUEUED);
    let (outgoing, to_spread) = mpsc::channel(OUTGOING_QUEUED);
    let (pool, proposals) = (Arc::new(Pool::default()), Arc::new(Proposals::default()));
    let verified = door.verifier.clone();

    let signer = seat_keys.signer(&committee);
    if recovery.is_some() {
        // Of a recovery that was given up for the one accepted now.
        records.retain(|record| record.epoch() <= committee.epoch);
    }
    let mut machine = Machine::new(
        twinfold_consensus::Config { chain, genesis_time: genesis.time, committee, own },
        signer,
        verified.clone(),
        Recovered {
            head: twinfold_consensus::Head {
                height: head.height,
                digest: head.digest,
                time: head.time,
            },
            certificate: reader.certificate(head.height)?,
            stable: reader.stable(),
            records,
        },
    )?
    .asking_first();
    if machine.lacks_key() {
        tracing::error!(
            "this node's seat signs with a key that is not in {}: it follows and does not vote; put the \
             file back, or wait: another key is declared for the next epoch",
            config.keys.dir.display()
        );
    }
    if let Some(recovery) = recovery {
        machine = machine.following_until(recovery.statement.kept.height);
        tracing::warn!(
            height = %recovery.statement.kept.height, statement = %recovery.digest(),
            "a recovery is accepted: this node fetches what it keeps, and signs nothing until it is there"
        );
    }
    // What this node says of the state it recovered; the core signs it again if needed.
    if let Some(checkpoint) = reader.checkpoint(head.height)? {
        let ends_at = reader.ends_at()?;
        executed_sender.send(FromExecutor::Executed { checkpoint, ends_at }).ok();
    }
    let node = Arc::new(Node {
        genesis,
        chain,
        own,
        key: key.clone(),
        keys: seat_keys.clone(),
        door,
        data: config.data.clone(),
        reader: reader.clone(),
        pool: pool.clone(),
        arrivals: Notify::new(),
        outgoing,
        proposals: proposals.clone(),
        peers: peers.clone(),
        links: links.clone(),
        blobs: blobs.clone(),
        models,
        exchange,
        agreement,
        diagnosis,
        heads,
        stable,
        events: event_sender.clone(),
        accuser: accuser_sender.clone(),
        halted: Mutex::new(None),
        heard: Heard::default(),
        metrics: Arc::new(Metrics::default()),
    });
    let driver = Driver {
        machine,
        journal,
        own,
        key,
        keys: seat_keys,
        links,
        pool,
        proposals,
        proposed: None,
        reader: reader.clone(),
        executor: work_sender,
        accuser: accuser_sender,
        status,
        diagnosis: diagnosis_sender,
        diagnosed: std::time::Instant::now(),
        build: None,
        timer: None,
        deadline: None,
        deadline_at: None,
        pending: false,
        loopback: VecDeque::new(),
        silent: None,
        attested: Height(0),
        executed,
    };
    let executor = Executor {
        ledger,
        reader,
        agreement: executed_sender,
        heads: heads_sender,
        stable: stable_sender,
        membership: Membership { peers, own: own_peer, planes },
        blobs,
        named: named_sender,
        early: None,
        pruning: config.retention.limits().map(Pruning::new),
    };
    let router = Router {
        inbound,
        events: event_sender,
        folds: fold_sender,
        transactions: tx_sender,
        assembler,
        node: node.clone(),
    };
    Ok(Parts {
        node,
        driver,
        events,
        executor,
        work,
        router,
        folds,
        transactions,
        evidence,
        named,
        lies,
        rotate_epochs: config.keys.rotate_epochs,
        scrub: config.scrub,
        proposed,
        to_spread,
    })
}

async fn start_planes(
    config: &Config,
    keys: &NodeKeys,
    peers: &Peers,
    is_dialled: bool,
) -> color_eyre::Result<Arc<[Plane; 2]>> {
    let plane = |name, listen: &str, address| -> color_eyre::Result<PlaneConfig> {
        let listen = parse_address(listen)?;
        Ok(PlaneConfig { name, listen, peers: peers.clone(), is_dialled, address })
    };
    let votes = plane("votes", &config.network.listen, |addresses| addresses.0.clone())?;
    let payloads =
        plane("payloads", &config.network.payload_listen, |addresses| addresses.1.clone())?;
    let planes =
        [Plane::start(votes, &keys.peer).await?, Plane::start(payloads, &keys.peer).await?];
    Ok(Arc::new(planes))
}
