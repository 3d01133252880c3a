//! Reads, slowly and again and again, what nobody may ask for in years: fragments of payloads,
//! models, blocks with what belongs to them. A fragment that is rotten or missing is made anew from
//! the others', a model is fetched again; what is wrong in the ledger only `twinfold-node repair`
//! can put right, so it is told.

use crate::{blobs::BlobError, config::Scrub, node::Node};
use std::{sync::Arc, time::Duration};
use twinfold_ledger::LedgerError;
use twinfold_types::{Digest, Height, blob::BlobReference, model::ModelRecord, state_key::Prefix};

/// After the start there is other work.
const FIRST: Duration = Duration::from_secs(60);
const PAGE: usize = 64;

/// Runs for the life of the node.
pub async fn scrub(node: Arc<Node>, config: Scrub) {
    if config.bytes_per_second == 0 {
        return;
    }
    let pause = Duration::from_secs(config.pause_seconds);
    tokio::time::sleep(FIRST.min(pause)).await;
    let scrubber = Scrubber { node, bytes_per_second: config.bytes_per_second };
    loop {
        if let Err(error) = scrubber.pass().await {
            tracing::error!(%error, "the ledger cannot be scrubbed: stop the node and run `twinfold-node audit`");
            scrubber.node.metrics.scrub_found.inc();
        }
        tokio::time::sleep(pause).await;
    }
}

struct Scrubber {
    node: Arc<Node>,
    bytes_per_second: u64,
}

impl Scrubber {
    async fn pass(&self) -> Result<(), LedgerError> {
        self.payloads().await?;
        self.models().await?;
        self.blocks().await
    }

    /// Not faster than the operator allows.
    async fn read(&self, bytes: u64) {
        self.node.metrics.scrubbed_bytes.inc_by(bytes);
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }

    fn found(&self, what: &str, digest: &Digest) {
        self.node.metrics.scrub_found.inc();
        tracing::warn!(%digest, "{what} is damaged or missing here: having it anew");
    }

    fn restored(&self, result: Result<(), BlobError>, digest: &Digest) {
        match result {
            Ok(()) => drop(self.node.metrics.scrub_restored.inc()),
            Err(error) => tracing::warn!(%digest, %error, "not restored yet"),
        }
    }

    /// This seat's fragment of whatever the ledger names.
    async fn payloads(&self) -> Result<(), LedgerError> {
        let mut beyond: Option<Vec<u8>> = None;
        loop {
            let prefix = Prefix::BlobReference.scan();
            let rows = self.node.reader.scan::<BlobReference>(&prefix, beyond.as_deref(), PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            beyond = Some(last.clone());
            for (_, reference) in rows {
                self.payload(&reference).await;
            }
        }
    }

    async fn payload(&self, reference: &BlobReference) {
        let (blobs, digest) = (self.node.blobs.clone(), reference.blob.digest());
        let intact = tokio::task::spawn_blocking(move || blobs.is_intact(&digest)).await;
        let fragment = reference.blob.length / u64::from(reference.blob.k.max(1));
        let intact = matches!(intact, Ok(true));
        if self.node.seat().is_some() {
            if !intact {
                self.found("a payload's fragment", &digest);
            }
            // Also where an intact one is another seat's, which this node's member had before.
            let made = self.node.exchange.ensure(&reference.blob, reference.by).await;
            if !intact || made.is_err() {
                self.restored(made, &digest);
            }
        }
        self.read(fragment).await;
    }

    /// A model that is here and not what it is called after is removed by whoever reads it.
    async fn models(&self) -> Result<(), LedgerError> {
        let mut beyond: Option<Vec<u8>> = None;
        loop {
            let prefix = Prefix::Model.scan();
            let rows = self.node.reader.scan::<ModelRecord>(&prefix, beyond.as_deref(), PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            beyond = Some(last.clone());
            for digest in rows.into_iter().map(|(_, record)| record.digest) {
                let models = self.node.models.clone();
                if !models.has(&digest) {
                    continue;
                }
                let content = tokio::task::spawn_blocking(move || models.read(&digest)).await;
                if let Ok(Ok(Some(content))) = &content {
                    self.read(content.len() as u64).await;
                } else {
                    self.found("a model", &digest);
                    let fetched = self.node.exchange.model(&digest).await;
                    self.restored(fetched.map(drop), &digest);
                }
            }
        }
    }

    /// Blocks, their certificates and receipts, read with the database's checksums, and each block
    /// by what its height's checkpoint says.
    async fn blocks(&self) -> Result<(), LedgerError> {
        let reader = &self.node.reader;
        let mut height = reader.first_block();
        while height <= reader.head().height {
            let block = reader.block(height)?;
            let said = reader.checkpoint(height)?.map(|checkpoint| checkpoint.block);
            reader.certificate(height)?;
            reader.receipts(height)?;
            // Retention may have dropped it meanwhile.
            if let (Some(block), Some(said)) = (&block, said)
                && block.digest() != said
            {
                return Err(LedgerError::Unknown(format!("the block of height {height}")));
            }
            let bytes = block.map_or(0, |block| twinfold_types::codec::encoded_bytes(&block));
            self.read(bytes as u64).await;
            height = Height(height.0 + 1);
        }
        Ok(())
    }
}
