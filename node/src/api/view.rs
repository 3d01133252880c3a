//! Answers put together from the ledger and the running node. The API serves them as
//! JSON, the explorer as pages.

use crate::{metrics::relayed_bytes, node::Node};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use twinfold_ledger::{LedgerError, Reader, TaskWithClusters};
use twinfold_types::{
    Action, Block, Height, TaskId,
    api::{
        BlockSummary, BlockView, ClusterView, LineageView, ModelView, PeerView, RoundView,
        StatusView, TaskView, TxView,
    },
    codec,
    dataset::DatasetAction,
    model::{ModelId, ModelRecord, ModelSource},
    round::{Entry, Metrics, Round, RoundKey, RoundState},
    sealed::SealedAction,
    stake::StakeAction,
    state_key,
    task::{Cluster, Task, TaskStatus, masks::MaskStep, selection::Draw},
};

/// Models of one lineage; from its last one the rest can be asked for.
pub const LINEAGE_MODELS_MAX: usize = 10_000;
/// Entries of rounds in one answer: each is about half a kilobyte of JSON.
pub const ENTRIES_MAX: usize = 50_000;

type Result<T> = std::result::Result<T, LedgerError>;

pub fn status(node: &Node) -> StatusView {
    let (agreement, head) = (*node.agreement.borrow(), node.reader.head());
    let (pool_txs, pool_bytes) = node.pool.size();
    let latency = node.pool.latency_ms();
    StatusView {
        chain: node.genesis.chain.clone(),
        genesis: node.chain,
        version: env!("CARGO_PKG_VERSION").into(),
        node: node.own,
        seat: node.seat(),
        epoch: node.reader.committee().epoch,
        view: agreement.view,
        leader: agreement.leader,
        committed: agreement.committed.max(head.height),
        height: head.height,
        time: head.time,
        state_root: head.state_root,
        first_block: node.reader.first_block(),
        checkpoint: node.reader.stable().map(|stable| stable.checkpoint),
        join: None,
        peers: peers(node),
        pool_txs: pool_txs as u64,
        pool_bytes: pool_bytes as u64,
        relayed_bytes: relayed_bytes(node),
        commit_ms_p50: latency.map(|(median, _)| median),
        commit_ms_p99: latency.map(|(_, p99)| p99),
        halted: node.halted.lock().clone(),
    }
}

fn peers(node: &Node) -> Vec<PeerView> {
    let connected = node.links.connected();
    let view = |peer: crate::network::Peer| PeerView {
        connected: connected.contains(&peer.member),
        height: node.metrics.committed_of(&peer.member),
        peer: peer.id.to_string(),
        name: peer.name,
    };
    node.peers.all().into_iter().map(view).collect()
}

pub fn block_summary(block: &Block) -> BlockSummary {
    BlockSummary {
        height: block.header.height,
        digest: block.digest(),
        time: block.header.time,
        txs: block.txs.len() as u32,
        bytes: codec::encode(block).len() as u64,
    }
}

/// Newest first, below `before` where given.
pub fn blocks(reader: &Reader, before: Option<Height>, rows: usize) -> Result<Vec<BlockSummary>> {
    let newest = reader.head().height;
    let mut next = match before {
        Some(before) => before.prev().map(|height| height.min(newest)),
        None => Some(newest),
    };
    let mut found = Vec::new();
    let first = reader.first_block();
    while let Some(height) = next.filter(|height| *height >= first && found.len() < rows) {
        let Some(block) = reader.block(height)? else { break };
        found.push(block_summary(&block));
        next = height.prev();
    }
    Ok(found)
}

pub fn block(reader: &Reader, height: Height) -> Result<Option<BlockView>> {
    if height < reader.first_block() {
        return Ok(None);
    }
    let Some(block) = reader.block(height)? else { return Ok(None) };
    let mut receipts: BTreeMap<u32, _> =
        reader.receipts(height)?.into_iter().map(|receipt| (receipt.index, receipt)).collect();
    let BlockSummary { digest, bytes, time, .. } = block_summary(&block);
    // The block's own receipt has index 0, those of transactions count from 1.
    let txs = (1..).zip(&block.txs).map(|(index, tx)| TxView {
        id: tx.id(),
        sender: tx.body.sender,
        action: action_name(&tx.body.action).into(),
        receipt: receipts.remove(&index),
    });
    let txs = txs.collect();
    let (parent, epoch) = (block.header.parent, block.header.epoch);
    let (receipt, checkpoint) = (receipts.remove(&0), reader.checkpoint(height)?);
    Ok(Some(BlockView { height, digest, parent, epoch, time, bytes, txs, receipt, checkpoint }))
}

pub fn action_name(action: &Action) -> &'static str {
    match action {
        Action::Propose(_) => "propose",
        Action::SignProposal(_) => "sign_proposal",
        Action::AddTrainer(_) => "add_trainer",
        Action::RemoveTrainer(_) => "remove_trainer",
        Action::CreateTask(_) => "create_task",
        Action::CloseTask(_) => "close_task",
        Action::Recruit(_) => "recruit",
        Action::Profile(_) => "profile",
        Action::Update(_) => "update",
        Action::Aggregate(_) => "aggregate",
        Action::PublishModel(_) => "publish_model",
        Action::Stake(StakeAction::Delegate { .. }) => "delegate",
        Action::Stake(StakeAction::Undelegate { .. }) => "undelegate",
        Action::Stake(StakeAction::Transfer { .. }) => "transfer_stake",
        Action::Stake(StakeAction::Declare(_)) => "declare",
        Action::Stake(StakeAction::Release) => "release",
        Action::Accuse(_) => "accuse",
        Action::Attest(_) => "attest",
        Action::SetEncryptionKey(_) => "set_encryption_key",
        Action::Sealed(SealedAction::Register(_)) => "register_sealed",
        Action::Sealed(SealedAction::Grant { .. }) => "grant_sealed",
        Action::Sealed(SealedAction::Revoke { .. }) => "revoke_sealed",
        Action::Sealed(SealedAction::Destroy(_)) => "destroy_sealed",
        Action::Dataset(DatasetAction::Create(_)) => "create_dataset",
        Action::Dataset(DatasetAction::Append(_)) => "append_dataset",
        Action::Dataset(DatasetAction::Grant { .. }) => "grant_dataset",
        Action::Dataset(DatasetAction::Revoke { .. }) => "revoke_dataset",
        Action::Dataset(DatasetAction::Purge { .. }) => "purge_dataset",
        Action::DeprecateModel(_) => "deprecate_model",
        Action::MeasureModel(_) => "measure_model",
        Action::Condemn(_) => "condemn",
        Action::TakeOver => "take_over",
        Action::Evaluate(_) => "evaluate",
        Action::Enrol(_) => "enrol",
        Action::Leave(_) => "leave",
        Action::Mask(action) => match action.step {
            MaskStep::Keys(_) => "mask_keys",
            MaskStep::Deal(_) => "mask_deal",
            MaskStep::Complain(_) => "mask_complain",
            MaskStep::Release(_) => "mask_release",
        },
    }
}

/// By identity, or else by name.
pub fn find_task(reader: &Reader, text: &str) -> Result<Option<Task>> {
    if let Ok(digest) = text.parse()
        && let Some(task) = reader.task(&TaskId(digest))?
    {
        return Ok(Some(task));
    }
    reader.task_by_name(text)
}

pub fn task(reader: &Reader, id: &TaskId) -> Result<Option<TaskView>> {
    let Some(TaskWithClusters { task, clusters, regions }) = reader.task_with_clusters(id)? else {
        return Ok(None);
    };
    let clusters = clusters.iter().map(|(cluster, round)| cluster_view(&task, cluster, round));
    Ok(Some(TaskView {
        id: task.id,
        owner: task.owner,
        status: task.status,
        created: task.created,
        global: task.global,
        global_version: task.global_version,
        merges: task.merges,
        progress: task.progress,
        trainers: task.trainers,
        trainers_max: task.trainers_max,
        clusters: clusters.collect(),
        regions,
        spec: task.spec,
    }))
}

fn cluster_view(task: &Task, cluster: &Cluster, round: &Option<Round>) -> ClusterView {
    let state = round.as_ref().map(|round| &round.state);
    let takes = matches!(state, Some(RoundState::Open | RoundState::Collecting { .. }));
    let deadline = match state {
        Some(RoundState::Collecting { deadline, .. }) => Some(*deadline),
        _ => None,
    };
    ClusterView {
        cluster: cluster.cluster,
        model: cluster.model,
        model_digest: cluster.model_digest,
        version: cluster.version,
        round: cluster.collecting,
        collecting: takes && task.status == TaskStatus::Open,
        entries: round.as_ref().map_or(0, |round| round.entries),
        deadline,
        draw: round.as_ref().map_or(Draw::Unused, |round| round.draw),
        pace: cluster.pacing.pace,
    }
}

fn round_key(cluster: &Cluster) -> RoundKey {
    RoundKey { task: cluster.task, cluster: cluster.cluster, round: cluster.collecting }
}

/// A cluster's rounds, newest first, below `before` where given. Fewer than `rows`
/// when their entries would make the answer too long.
pub fn rounds(
    reader: &Reader,
    cluster: &Cluster,
    before: Option<u64>,
    rows: usize,
) -> Result<Vec<RoundView>> {
    let mut key = round_key(cluster);
    let newest = key.round.0;
    let mut next = match before {
        Some(before) => before.checked_sub(1).map(|round| round.min(newest)),
        None => Some(newest),
    };
    let (mut found, mut entries) = (Vec::new(), 0);
    while let Some(number) = next.filter(|_| found.len() < rows) {
        key.round.0 = number;
        next = number.checked_sub(1);
        // The newest is not there yet while an earlier one is being folded.
        let Some((round, list)) = reader.round_with_entries(&key)? else { continue };
        entries += list.len();
        if entries > ENTRIES_MAX && !found.is_empty() {
            break;
        }
        found.push(round_view(round, list));
    }
    Ok(found)
}

fn round_view(round: Round, entries: Vec<Entry>) -> RoundView {
    let metrics = mean_metrics(&entries).map(|(_, metrics)| metrics);
    RoundView { round, entries, metrics }
}

/// Means of the trainers' own figures weighted by examples, and the examples.
pub fn mean_metrics(entries: &[Entry]) -> Option<(u64, Metrics)> {
    // Weights and figures have 32 bits each, lists at most 2^32 entries: u128 holds it.
    let mean = |of: &dyn Fn(&Metrics) -> Option<u32>| {
        let given = entries.iter().filter_map(|entry| Some((entry.weight, of(&entry.metrics)?)));
        let (sum, weight) = given.fold((0u128, 0u128), |(sum, total), (weight, value)| {
            (sum + u128::from(weight) * u128::from(value), total + u128::from(weight))
        });
        sum.checked_div(weight).map(|mean| mean as u32)
    };
    let loss = mean(&|metrics| Some(metrics.loss))?;
    let accuracy = mean(&|metrics| metrics.accuracy);
    let weight = entries.iter().map(|entry| u64::from(entry.weight)).sum();
    Some((weight, Metrics { loss, accuracy }))
}

pub fn model(reader: &Reader, id: ModelId, record: ModelRecord) -> Result<ModelView> {
    let name = match (&record.source, &record.task) {
        (ModelSource::Published { about, .. }, _) => about.name.clone(),
        (_, Some(task)) => reader.task(task)?.map(|task| task.spec.name).unwrap_or_default(),
        _ => String::new(),
    };
    let deprecation = reader.get(&state_key::deprecation(&id))?;
    Ok(ModelView { id, name, record, deprecation })
}

/// A model and everything it was made from. A model is younger than its parents, so
/// taking the youngest first puts each after those made from it.
pub fn lineage(reader: &Reader, id: ModelId) -> Result<Option<LineageView>> {
    let Some(record) = reader.model(&id)? else { return Ok(None) };
    let mut names: BTreeMap<TaskId, String> = BTreeMap::new();
    let (mut seen, mut waiting) = (BTreeSet::from([id]), BinaryHeap::from([(record.height, id)]));
    let mut records = BTreeMap::from([(id, record)]);
    let (mut models, mut rounds, mut entries) = (Vec::new(), Vec::new(), 0);
    while let Some((_, id)) = waiting.pop() {
        let Some(record) = records.remove(&id) else { continue };
        let round = source_round(reader, &record)?;
        entries += round.as_ref().map_or(0, |(round, _)| round.entries as usize);
        let full = models.len() == LINEAGE_MODELS_MAX || entries > ENTRIES_MAX;
        if full && !models.is_empty() {
            return Ok(Some(LineageView { models, rounds, complete: false }));
        }
        if let Some((round, list)) = round {
            rounds.push(round_view(round, list));
        }
        for parent in &record.parents {
            if seen.insert(*parent)
                && let Some(record) = reader.model(parent)?
            {
                waiting.push((record.height, *parent));
                records.insert(*parent, record);
            }
        }
        models.push(named(reader, &mut names, id, record)?);
    }
    Ok(Some(LineageView { models, rounds, complete: true }))
}

pub fn source_round(reader: &Reader, record: &ModelRecord) -> Result<Option<(Round, Vec<Entry>)>> {
    let (ModelSource::Round { cluster, round, .. }, Some(task)) = (&record.source, record.task)
    else {
        return Ok(None);
    };
    reader.round_with_entries(&RoundKey { task, cluster: *cluster, round: *round })
}

/// As [`model`], looking each task's name up once.
fn named(
    reader: &Reader,
    names: &mut BTreeMap<TaskId, String>,
    id: ModelId,
    record: ModelRecord,
) -> Result<ModelView> {
    if let Some(name) = record.task.and_then(|task| names.get(&task)) {
        // Only published models are deprecated, and those are of no task.
        return Ok(ModelView { id, name: name.clone(), record, deprecation: None });
    }
    let view = model(reader, id, record)?;
    if let Some(task) = view.record.task {
        names.insert(task, view.name.clone());
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{BlobId, Digest, PublicKey, TxId};

    fn entry(weight: u32, loss: f64, accuracy: Option<f64>) -> Entry {
        Entry {
            tx: TxId(Digest::ZERO),
            trainer: PublicKey([0; 32]),
            blob: BlobId::whole_copies(b"", 4),
            base_version: 0,
            weight,
            metrics: Metrics::from_reals(loss, accuracy),
            height: Height(1),
        }
    }

    #[test]
    fn figures_are_weighted_by_examples() {
        let entries = [entry(100, 1.0, Some(0.5)), entry(300, 2.0, Some(0.75))];
        let (weight, mean) = mean_metrics(&entries).unwrap();
        assert_eq!(weight, 400);
        assert_eq!(mean.loss(), 1.75);
        assert_eq!(mean.accuracy(), Some(0.6875));
    }

    #[test]
    fn who_gives_no_accuracy_does_not_pull_it_down() {
        let entries = [entry(100, 1.0, None), entry(100, 1.0, Some(0.5))];
        assert_eq!(mean_metrics(&entries).unwrap().1.accuracy(), Some(0.5));
        let (_, mean) = mean_metrics(&entries[..1]).unwrap();
        assert_eq!((mean.loss(), mean.accuracy()), (1.0, None));
    }

    #[test]
    fn an_empty_round_has_no_figures_and_the_largest_do_not_overflow() {
        assert_eq!(mean_metrics(&[]), None);
        let mut most = entry(u32::MAX, 0.0, None);
        most.metrics.loss = u32::MAX;
        let (_, mean) = mean_metrics(&vec![most; 1_024]).unwrap();
        assert_eq!(mean.loss, u32::MAX);
    }
}
