//! Feeds a node with transactions from inside its process, at a pace or as fast as it takes.

use super::{
    node::UNSIGNED,
    protocol::{Pace, Run, Work},
    tally::{self, Tally, now_us},
};
use color_eyre::eyre::{Result, eyre};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::Semaphore};
use twinfold_node::{
    Node,
    blobs::{BlobError, Staging, exchange::UploadProof},
    pool::Source,
};
use twinfold_types::{
    Action, BlobId, Digest, PublicKey, SecretKey, SignedTx, TimeMs,
    blob::{Coding, UploadBody},
    codec,
    key::Signer,
    member::AdminAction,
    store::{FileForm, ModelAbout, PublishAction},
    tx::TxBody,
};

/// Transactions given to the node at once when it is fed as fast as it takes.
const CHUNK_TXS: usize = 256;
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks for payloads on their way.
const LOOK_PAUSE: Duration = Duration::from_millis(4);
/// Payloads uploaded to one node at the same time.
const UPLOADS_AT_ONCE: usize = 16;
const VALID_MS: u64 = 9 * 60 * 1_000;

pub struct Feeder {
    node: Arc<Node>,
    tally: Arc<Tally>,
    senders: Vec<SecretKey>,
    runtime: Handle,
}

/// A feed that is ready to begin.
pub struct Feed {
    node: Arc<Node>,
    tally: Arc<Tally>,
    source: Stream,
    pace: Pace,
    runtime: Handle,
}

enum Stream {
    Idle,
    Opaque { senders: Vec<PublicKey>, filler: String },
    Signed(Arc<Vec<SecretKey>>),
    Payloads { sender: SecretKey, bytes: usize },
}

pub struct Feeding {
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Feeder {
    pub fn new(
        node: Arc<Node>,
        tally: Arc<Tally>,
        senders: Vec<SecretKey>,
        runtime: Handle,
    ) -> Self {
        Self { node, tally, senders, runtime }
    }

    pub fn prepare(&self, run: &Run) -> Result<Feed> {
        let first = self.senders.first().ok_or_else(|| eyre!("nobody to sign"))?;
        let source = match run.work {
            Work::Idle => Stream::Idle,
            Work::Signed => Stream::Signed(Arc::new(self.senders.clone())),
            Work::Payloads { bytes } => Stream::Payloads { sender: first.clone(), bytes },
            Work::Opaque { bytes } => {
                let senders = self.senders.iter().map(Signer::public_key).collect();
                let empty = unsigned(&self.node, first.public_key(), 0, quota(String::new()));
                let filler = bytes.saturating_sub(codec::encode(&empty).len());
                Stream::Opaque { senders, filler: "x".repeat(filler) }
            }
        };
        let (node, tally) = (self.node.clone(), self.tally.clone());
        Ok(Feed { node, tally, source, pace: run.pace, runtime: self.runtime.clone() })
    }
}

impl Feed {
    pub fn start(self) -> Feeding {
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), refused.clone());
        self.tally.waiting.store(0, Ordering::Relaxed);
        let thread = std::thread::spawn(move || self.run(&stopped, &counted));
        Feeding { stop, refused, thread }
    }

    fn run(self, stop: &AtomicBool, refused: &Arc<AtomicUsize>) {
        let uploads = Arc::new(Semaphore::new(UPLOADS_AT_ONCE));
        let mut looked = Instant::now();
        let (started, mut count, mut again) = (now_us(), 0u64, Vec::new());
        while !stop.load(Ordering::Relaxed) && !matches!(self.source, Stream::Idle) {
            let numbers = self.due(started, &mut count);
            if numbers.is_empty() {
                std::thread::sleep(FULL_PAUSE);
                if looked.elapsed() >= LOOK_PAUSE {
                    self.tally.look_for_payloads();
                    looked = Instant::now();
                }
                continue;
            }
            match &self.source {
                Stream::Payloads { sender, bytes } => {
                    for number in numbers {
                        self.upload(sender.clone(), *bytes, number, &uploads, refused);
                    }
                }
                _ => self.submit(&numbers, &mut again, refused),
            }
        }
    }

    /// The numbers of those that are due now.
    fn due(&self, started_us: u64, count: &mut u64) -> Vec<u64> {
        let node = self.tally.index();
        let mut numbers = Vec::new();
        let room = match self.pace {
            Pace::Waiting(most) => {
                most.saturating_sub(self.tally.waiting.load(Ordering::Relaxed)).min(CHUNK_TXS)
            }
            // No more at once, or a feed that is late would never look whether to stop.
            Pace::PerSecond(_) => 4 * CHUNK_TXS,
        };
        // A node is fed a part of the pace after the one before it.
        let next_us = |count: u64| match self.pace {
            Pace::PerSecond(rate) => {
                started_us + ((count as f64 + node as f64 / 4.0) / rate * 1e6) as u64
            }
            Pace::Waiting(_) => now_us(),
        };
        let now = now_us();
        while numbers.len() < room && !matches!(self.source, Stream::Idle) {
            let due = next_us(*count);
            if due > now && matches!(self.pace, Pace::PerSecond(_)) {
                break;
            }
            numbers.push(tally::number(due, node, *count));
            *count += 1;
        }
        self.tally.waiting.fetch_add(numbers.len(), Ordering::Relaxed);
        numbers
    }

    /// What is refused is tried again before anything new is signed, as a client would.
    fn submit(&self, numbers: &[u64], again: &mut Vec<SignedTx>, refused: &AtomicUsize) {
        let make = |number: &u64| again.pop().unwrap_or_else(|| self.make(*number));
        let txs: Vec<SignedTx> = numbers.iter().map(make).collect();
        let answers = self.node.submit_all(txs.clone(), Source::Client);
        let failed = answers.iter().zip(txs).filter(|(answer, _)| answer.is_err());
        again.extend(failed.map(|(_, tx)| tx));
        note_refused(&self.tally, refused, again.len());
    }

    fn make(&self, number: u64) -> SignedTx {
        let turn = |count: usize| (number % 256) as usize % count.max(1);
        match &self.source {
            Stream::Signed(keys) => {
                let key = &keys[turn(keys.len())];
                let action = quota("bench".into());
                body(&self.node, key.public_key(), number, action).sign(key)
            }
            Stream::Opaque { senders, filler } => {
                unsigned(&self.node, senders[turn(senders.len())], number, quota(filler.clone()))
            }
            _ => unsigned(&self.node, self.node.own, number, quota(String::new())),
        }
    }

    /// The payload plane's way: stored by a quorum, then named by a small transaction.
    fn upload(
        &self,
        sender: SecretKey,
        bytes: usize,
        number: u64,
        uploads: &Arc<Semaphore>,
        refused: &Arc<AtomicUsize>,
    ) {
        let Ok(permit) = uploads.clone().try_acquire_owned() else {
            return note_refused(&self.tally, refused, 1);
        };
        let (node, tally, refused) = (self.node.clone(), self.tally.clone(), refused.clone());
        self.runtime.spawn(async move {
            if let Err(error) = upload(&node, &sender, bytes, number).await {
                eprintln!("an upload failed: {error}");
                note_refused(&tally, &refused, 1);
            }
            drop(permit);
        });
    }
}

impl Feeding {
    /// Ends it; the number of refusals.
    pub fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| eyre!("feeding panicked"))?;
        Ok(self.refused.load(Ordering::Relaxed))
    }
}

fn note_refused(tally: &Tally, refused: &AtomicUsize, count: usize) {
    refused.fetch_add(count, Ordering::Relaxed);
    let waiting = tally.waiting.load(Ordering::Relaxed);
    tally.waiting.fetch_sub(count.min(waiting), Ordering::Relaxed);
}

async fn upload(
    node: &Arc<Node>,
    sender: &SecretKey,
    bytes: usize,
    number: u64,
) -> Result<(), BlobError> {
    // A different payload each time, without the cost of making one.
    let mut content = vec![7; bytes];
    content[..8].copy_from_slice(&number.to_le_bytes());
    let seats = node.reader.committee().size();
    let coding =
        Coding::whole_copies(seats).map_err(|error| BlobError::Mismatch(error.to_string()))?;
    let mut staging = Staging::new(&node.blobs, coding)?;
    staging.write(&content)?;
    let blob = BlobId::whole_copies(&content, seats);
    let time_ms = now_us() / 1_000;
    let statement = UploadBody { blob: blob.digest(), time_ms }.statement(&node.chain);
    let (key, signature) = (sender.public_key(), sender.sign(&statement));
    let proof = UploadProof { key, time_ms, signature };
    let payload = node.accept_upload(staging, blob.digest(), proof).await?;
    let about = ModelAbout {
        name: "bench".into(),
        version: "1.0.0".into(),
        description: String::new(),
        licence: String::new(),
        tags: Vec::new(),
        scenario: String::new(),
        datasets: Vec::new(),
        sha256: Digest::ZERO,
        form: FileForm::Safetensors { tensors: 0, values: 0 },
    };
    let publish = PublishAction { about, parents: Vec::new(), file: payload, steps: None };
    let tx = unsigned(node, key, number, Action::PublishModel(Box::new(publish)));
    let answer = node.submit_all(vec![tx], Source::Client).pop();
    match answer {
        Some(Err(error)) => Err(BlobError::NotPermitted(error.to_string())),
        _ => Ok(()),
    }
}

/// An action of a size to choose.
fn quota(organisation: String) -> Action {
    Action::Propose(AdminAction::SetQuota { organisation, trainers: 1 })
}

fn body(node: &Node, sender: PublicKey, number: u64, action: Action) -> TxBody {
    let now_ms = now_us() / 1_000;
    TxBody {
        chain: node.chain,
        sender,
        nonce: number,
        valid_from: TimeMs(now_ms.saturating_sub(10_000)),
        valid_until: TimeMs(now_ms + VALID_MS),
        action,
    }
}

fn unsigned(node: &Node, sender: PublicKey, number: u64, action: Action) -> SignedTx {
    SignedTx::new(body(node, sender, number, action), UNSIGNED)
}
