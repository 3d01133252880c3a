//! What is read from nodes.

use super::{
    Client, ClientError,
    http::{Request, segment},
};
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use twinfold_types::{
    BlobId, ClusterId, Digest, Epoch, Height, PublicKey, RoundNumber, TxId,
    api::{
        BlockSummary, BlockView, ContributionView, EpochView, Level, LineageView, ModelView, Page,
        PrivacyView, RoundView, StakeView, StatusView, StorageView, TaskView, TxStatus,
        ValidatorView,
    },
    codec,
    keeping::Hold,
    limits,
    member::{Member, Proposal},
    model::{self, ModelId, model_digest},
    proof::Bundle,
    round::RoundKey,
    stake::StakeParams,
    task::{
        evaluation::Evaluation,
        forming::Formed,
        masks::{DealtShares, Masking},
        selection::Drawing,
    },
    trust::TrustedCheckpoint,
};

/// Pages of a listing that are read before a client gives up.
const PAGES_MAX: usize = 1_000;

/// How long a proof may need to become certified, and between two looks.
const CERTIFIED_WAIT: Duration = Duration::from_secs(2);
const CERTIFIED_PAUSE: Duration = Duration::from_millis(50);

impl Client {
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        path: String,
        expected: &'static str,
    ) -> Result<T, ClientError> {
        self.http.fetch(&Request::get(path, expected), |_, bytes| {
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        })
    }

    /// All rows of a listing in pages.
    pub(super) fn listing<T: DeserializeOwned>(
        &self,
        path: &str,
        expected: &'static str,
    ) -> Result<Vec<T>, ClientError> {
        let (mut rows, mut after) = (vec![], None::<String>);
        for _ in 0..PAGES_MAX {
            let query = after.map(|after| format!("&after={}", segment(&after)));
            let path =
                format!("{path}?limit={}{}", limits::PAGE_ROWS_MAX, query.unwrap_or_default());
            let page: Page<T> = self.json(path, expected)?;
            rows.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(rows)
    }

    pub fn status(&self) -> Result<StatusView, ClientError> {
        self.json("/v1/status".into(), "the node's status")
    }

    /// The newest stable checkpoint as a file to join from; whoever holds the genesis file
    /// verifies it.
    pub fn checkpoint(&self) -> Result<TrustedCheckpoint, ClientError> {
        self.json("/v1/checkpoint".into(), "a checkpoint")
    }

    pub fn validators(&self) -> Result<Vec<ValidatorView>, ClientError> {
        self.json("/v1/validators".into(), "a list of validators")
    }

    /// Epochs from this one on, oldest first; the running one is the last.
    pub fn epochs(&self, from: Epoch, limit: usize) -> Result<Vec<EpochView>, ClientError> {
        self.json(format!("/v1/epochs?from={from}&limit={limit}"), "a list of epochs")
    }

    pub fn stake(&self, member: &PublicKey) -> Result<StakeView, ClientError> {
        self.json(format!("/v1/stake/{member}"), "a member's stake")
    }

    /// Rules of stake and election in force.
    pub fn stake_params(&self) -> Result<StakeParams, ClientError> {
        self.json("/v1/stake-params".into(), "the rules of stake")
    }

    /// Newest first, below `before` where given.
    pub fn blocks(
        &self,
        before: Option<Height>,
        limit: usize,
    ) -> Result<Vec<BlockSummary>, ClientError> {
        let before = before.map(|height| format!("&before={height}")).unwrap_or_default();
        self.json(format!("/v1/blocks?limit={limit}{before}"), "a list of blocks")
    }

    pub fn block(&self, height: Height) -> Result<BlockView, ClientError> {
        self.json(format!("/v1/blocks/{height}"), "a block")
    }

    pub fn tx(&self, id: &TxId) -> Result<TxStatus, ClientError> {
        self.json(format!("/v1/txs/{id}"), "a transaction's status")
    }

    /// Waits at the node for a level, at most `timeout`; the answer says how far it came.
    pub fn tx_at(
        &self,
        id: &TxId,
        level: Level,
        timeout: Duration,
    ) -> Result<TxStatus, ClientError> {
        let ms = timeout.as_millis();
        let path = format!("/v1/txs/{id}?wait={}&timeout_ms={ms}", level_name(level));
        let mut request = Request::get(path, "a transaction's status");
        request.timeout = timeout + Duration::from_secs(10);
        self.http.fetch(&request, |_, bytes| {
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        })
    }

    pub fn members(&self) -> Result<Vec<Member>, ClientError> {
        self.listing("/v1/members", "a list of members")
    }

    /// Legal holds that stand.
    pub fn holds(&self) -> Result<Vec<Hold>, ClientError> {
        self.listing("/v1/holds", "a list of holds")
    }

    /// Who has how many bytes of payloads on its account.
    pub fn storage(&self) -> Result<Vec<StorageView>, ClientError> {
        self.listing("/v1/storage", "a list of accounts")
    }

    pub fn proposals(&self) -> Result<Vec<Proposal>, ClientError> {
        self.listing("/v1/proposals", "a list of proposals")
    }

    pub fn tasks(&self) -> Result<Vec<TaskView>, ClientError> {
        self.listing("/v1/tasks", "a list of tasks")
    }

    /// By identity or name.
    pub fn task(&self, task: &str) -> Result<TaskView, ClientError> {
        self.json(format!("/v1/tasks/{}", segment(task)), "a task")
    }

    /// What was reported of a task's global versions, oldest first.
    pub fn evaluations(&self, task: &str) -> Result<Vec<Evaluation>, ClientError> {
        let path = format!("/v1/tasks/{}/evaluations", segment(task));
        self.listing(&path, "a list of measured versions")
    }

    /// Who was chosen for a round, and why.
    pub fn drawing(
        &self,
        task: &str,
        cluster: ClusterId,
        round: RoundNumber,
    ) -> Result<Drawing, ClientError> {
        let task = segment(task);
        let path = format!("/v1/tasks/{task}/drawing?cluster={cluster}&round={round}");
        self.json(path, "a drawing")
    }

    /// Who takes part in a masked round, by this node's word; none before anyone has joined.
    pub fn masking(&self, key: &RoundKey) -> Result<Option<Masking>, ClientError> {
        let RoundKey { task, cluster, round } = key;
        let path = format!("/v1/tasks/{task}/masking?cluster={cluster}&round={round}");
        match self.json(path, "a masked round") {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    /// What each dealer of a masked round gave to a member.
    pub fn dealt_shares(
        &self,
        key: &RoundKey,
        member: u32,
    ) -> Result<Vec<DealtShares>, ClientError> {
        let RoundKey { task, cluster, round } = key;
        let query = format!("cluster={cluster}&round={round}&member={member}");
        self.json(format!("/v1/tasks/{task}/shares?{query}"), "a member's shares")
    }

    /// Proof of who takes part in a masked round, and of a member's deal where one is named.
    pub fn masking_proof(
        &self,
        key: &RoundKey,
        dealer: Option<u32>,
    ) -> Result<Bundle, ClientError> {
        let RoundKey { task, cluster, round } = key;
        let dealer = dealer.map(|dealer| format!("&dealer={dealer}")).unwrap_or_default();
        self.bundle(format!("/v1/proofs/masking/{task}?cluster={cluster}&round={round}{dealer}"))
    }

    /// What each trainer has spent of its privacy budget in a task.
    pub fn privacy(&self, task: &str) -> Result<Vec<PrivacyView>, ClientError> {
        self.listing(&format!("/v1/tasks/{}/privacy", segment(task)), "a list of trainers")
    }

    /// Trainers of a task that forms its clusters.
    pub fn formed(&self, task: &str) -> Result<Vec<Formed>, ClientError> {
        self.listing(&format!("/v1/tasks/{}/trainers", segment(task)), "a list of trainers")
    }

    /// The cluster that a trainer is in, where it is in one.
    pub fn formed_trainer(
        &self,
        task: &str,
        trainer: &PublicKey,
    ) -> Result<Option<Formed>, ClientError> {
        let path = format!("/v1/tasks/{}/trainers/{trainer}", segment(task));
        match self.json(path, "a trainer") {
            Err(error) if error.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    }

    /// What each trainer has contributed to a task.
    pub fn contributions(&self, task: &str) -> Result<Vec<ContributionView>, ClientError> {
        let path = format!("/v1/tasks/{}/contributions", segment(task));
        self.listing(&path, "a list of contributions")
    }

    /// Newest first, below `before` where given.
    pub fn rounds(
        &self,
        task: &str,
        cluster: ClusterId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<RoundView>, ClientError> {
        let before = before.map(|round| format!("&before={round}")).unwrap_or_default();
        let task = segment(task);
        let path = format!("/v1/tasks/{task}/rounds?cluster={cluster}&limit={limit}{before}");
        self.json(path, "a list of rounds")
    }

    /// One round of a cluster.
    pub fn round(
        &self,
        task: &str,
        cluster: ClusterId,
        round: u64,
    ) -> Result<Option<RoundView>, ClientError> {
        let rounds = self.rounds(task, cluster, round.checked_add(1), 1)?;
        Ok(rounds.into_iter().find(|view| view.round.key.round.0 == round))
    }

    /// Newest first; `level` is `global` or a cluster's number.
    pub fn models(
        &self,
        task: Option<&str>,
        level: Option<model::Level>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ModelView>, ClientError> {
        let task = task.map(|task| format!("&task={}", segment(task))).unwrap_or_default();
        let level = match level {
            None => String::new(),
            Some(model::Level::Global) => "&level=global".into(),
            Some(model::Level::Cluster(cluster)) => format!("&level={cluster}"),
            Some(model::Level::Region(region)) => format!("&level=region-{region}"),
        };
        let before = before.map(|version| format!("&before={version}")).unwrap_or_default();
        self.json(format!("/v1/models?limit={limit}{task}{level}{before}"), "a list of models")
    }

    /// The record is held against the identity asked for.
    pub fn model(&self, id: &ModelId) -> Result<ModelView, ClientError> {
        let request = Request::get(format!("/v1/models/{id}"), "a model's record");
        self.http.fetch(&request, |_, bytes| {
            let view: ModelView =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            if view.record.id() != *id {
                return Err(format!("the record's identity is {}", view.record.id()));
            }
            Ok(view)
        })
    }

    pub fn lineage(&self, id: &ModelId) -> Result<LineageView, ClientError> {
        self.json(format!("/v1/models/{id}/lineage"), "a lineage")
    }

    /// A model's canonical form, held against its digest.
    pub fn model_content(
        &self,
        id: &ModelId,
        digest: &Digest,
        bytes: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let mut request =
            self.get_content(format!("/v1/models/{id}/content"), "the model's content")?;
        request.limit = bytes;
        request.timeout = transfer_time(bytes);
        self.http.fetch(&request, |_, found| {
            if found.len() as u64 != bytes {
                return Err(format!("{} bytes, the model has {bytes}", found.len()));
            }
            match model_digest(&found) {
                found_digest if found_digest == *digest => Ok(found),
                other => Err(format!("its digest is {other}, the record says {digest}")),
            }
        })
    }

    /// What a model is more than another one of its task, at most so many bytes; whoever has the other holds the
    /// result against the model's digest.
    pub fn model_change(
        &self,
        id: &ModelId,
        from: &ModelId,
        limit: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let path = format!("/v1/models/{id}/change?from={from}");
        let mut request = self.get_content(path, "a model's change")?;
        request.limit = limit;
        request.timeout = transfer_time(limit);
        self.http.fetch(&request, |_, bytes| Ok(bytes))
    }

    /// A payload, held against its identity.
    pub fn blob(&self, id: &BlobId) -> Result<Vec<u8>, ClientError> {
        let layout = id.layout().map_err(|error| ClientError::settings("payload", error))?;
        let mut request = self.get_content(format!("/v1/blobs/{}", id.digest()), "the payload")?;
        request.limit = id.length;
        request.timeout = transfer_time(id.length);
        self.http.fetch(&request, |_, bytes| {
            if BlobId::of(&bytes, layout.coding()) != Some(*id) {
                return Err(format!("{} bytes that do not match its identity", bytes.len()));
            }
            Ok(bytes)
        })
    }

    /// Proof of a transaction and its receipt.
    pub fn tx_proof(&self, id: &TxId) -> Result<Bundle, ClientError> {
        self.bundle(format!("/v1/proofs/tx/{id}"))
    }

    /// Proof of a model's record.
    pub fn model_proof(&self, id: &ModelId) -> Result<Bundle, ClientError> {
        self.bundle(format!("/v1/proofs/model/{id}"))
    }

    /// A bundle is decoded here and verified by whoever holds the genesis file. What was executed
    /// just now is certified in a moment: that is waited for.
    pub(super) fn bundle(&self, path: String) -> Result<Bundle, ClientError> {
        let mut request = Request::get(path, "a proof");
        request.limit = limits::MESSAGE_BYTES_MAX as u64;
        let started = Instant::now();
        loop {
            let found = self.http.fetch(&request, |_, bytes| {
                codec::decode(&bytes, limits::MESSAGE_BYTES_MAX).map_err(|error| error.to_string())
            });
            match found {
                Err(error) if error.is_not_certified() && started.elapsed() < CERTIFIED_WAIT => {
                    std::thread::sleep(CERTIFIED_PAUSE);
                }
                found => return found,
            }
        }
    }
}

pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Unknown => "unknown",
        Level::Admitted => "admitted",
        Level::Committed => "committed",
        Level::Executed => "executed",
        Level::Certified => "certified",
    }
}

/// A minute, and a second for every 256 kB: slow links are used too.
pub(super) fn transfer_time(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / (256 << 10))
}
