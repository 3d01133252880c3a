//! Old versions of models stand as differences to their parents: a task of a thousand rounds has a
//! thousand models, most of which are read once in years, by whoever verifies. Done beside everything
//! else and long after a version was new, so that no round waits for it; every sixteenth version stays
//! whole, so that reading one never reads many.

use crate::{blobs::BlobError, node::Node};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use twinfold_types::{
    model::{ModelRecord, ModelSource},
    state_key::Prefix,
};

const LOOK: Duration = Duration::from_secs(10 * 60);
/// After the start there is other work.
const FIRST: Duration = Duration::from_secs(60);
/// A version is new for so long.
const NEW: Duration = Duration::from_secs(3_600);
/// Versions between two that stay whole.
const WHOLE_EVERY: u64 = 16;
const PAGE: usize = 64;

/// Runs for the life of the node.
pub async fn shrink(node: Arc<Node>) {
    tokio::time::sleep(FIRST).await;
    loop {
        let looking = node.clone();
        let looked = tokio::task::spawn_blocking(move || look(&looking)).await;
        match looked {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "models stand as differences now"),
            Ok(Err(error)) => tracing::warn!(%error, "models cannot be made smaller now"),
            Err(_) => return,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many were made smaller.
fn look(node: &Node) -> Result<usize, BlobError> {
    let (mut count, mut beyond) = (0, None::<Vec<u8>>);
    loop {
        let prefix = Prefix::Model.scan();
        let rows = node.reader.scan::<ModelRecord>(&prefix, beyond.as_deref(), PAGE)?;
        let Some((last, _)) = rows.last() else { return Ok(count) };
        beyond = Some(last.clone());
        for (_, record) in rows {
            count += usize::from(shrink_one(node, &record)?);
        }
    }
}

fn shrink_one(node: &Node, record: &ModelRecord) -> Result<bool, BlobError> {
    let since = node.models.whole_since(&record.digest);
    if !may_shrink(record) || !since.is_some_and(|since| is_old(since, SystemTime::now())) {
        return Ok(false);
    }
    let Some(parent) = record.parents.first() else { return Ok(false) };
    match node.reader.model(parent)? {
        // A merge of one model is that model.
        Some(parent) if parent.digest != record.digest => {
            node.models.shrink(&record.digest, &parent.digest)
        }
        _ => Ok(false),
    }
}

/// Folded here, and not one that others are read from.
fn may_shrink(record: &ModelRecord) -> bool {
    let folded = matches!(record.source, ModelSource::Round { .. } | ModelSource::Merge { .. });
    folded && !record.version.is_multiple_of(WHOLE_EVERY)
}

fn is_old(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|age| age >= NEW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Digest, Height, TimeMs, model::Level};

    fn record(version: u64, source: ModelSource) -> ModelRecord {
        ModelRecord {
            task: None,
            level: Level::Global,
            version,
            digest: Digest([1; 32]),
            tensors: Digest::ZERO,
            parents: vec![],
            source,
            blob: None,
            height: Height(1),
            time: TimeMs(1),
        }
    }

    #[test]
    fn folded_versions_shrink_and_every_sixteenth_stays() {
        let merge = || ModelSource::Merge { number: 1, weights: vec![], saturations: 0 };
        let shrunk: Vec<u64> = (0..34).filter(|at| !may_shrink(&record(*at, merge()))).collect();
        assert_eq!(shrunk, [0, 16, 32]);
        let hour = Duration::from_secs(3_600);
        let now = SystemTime::UNIX_EPOCH + 10 * hour;
        assert!(
            is_old(now - hour, now) && !is_old(now - hour / 2, now) && !is_old(now + hour, now)
        );
    }
}
