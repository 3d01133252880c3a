//! Old versions of models stand as differences to their parents: a task of a thousand rounds has a
//! thousand models, most of which are read once in years, by whoever verifies. Done beside everything
//! else and long after a version was new, so that no round waits for it; after sixteen differences one stays
//! whole, so that reading one never reads many.

use crate::{blobs::BlobError, node::Node};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};
use twinfold_types::{
    Digest, Height,
    model::{ModelId, ModelRecord, ModelSource},
    state_key::Prefix,
};

const LOOK: Duration = Duration::from_secs(10 * 60);
/// After the start there is other work.
const FIRST: Duration = Duration::from_secs(60);
/// A version is new for so long.
const NEW: Duration = Duration::from_secs(3_600);
const PAGE: usize = 64;

/// Runs for the life of the node.
pub async fn shrink(node: Arc<Node>) {
    tokio::time::sleep(FIRST).await;
    let mut shrinker = Shrinker { node, stay: BTreeSet::new() };
    loop {
        let looking = tokio::task::spawn_blocking(move || {
            let looked = shrinker.look();
            (shrinker, looked)
        });
        let Ok((next, looked)) = looking.await else { return };
        shrinker = next;
        match looked {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "models stand as differences now"),
            Err(error) => tracing::warn!(%error, "models cannot be made smaller now"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Shrinker {
    node: Arc<Node>,
    /// Tried, and whole they stay: a difference saves nothing, or too many lead there.
    stay: BTreeSet<Digest>,
}

impl Shrinker {
    /// How many were made smaller: the oldest first, so that what a version rests on is settled when
    /// its own turn comes.
    fn look(&mut self) -> Result<usize, BlobError> {
        let mut due = self.due()?;
        due.sort();
        let mut count = 0;
        for (_, digest, parent) in due {
            let Some(parent) = self.node.reader.model(&parent)? else { continue };
            // A merge of one model is that model.
            let shrunk =
                parent.digest != digest && self.node.models.shrink(&digest, &parent.digest)?;
            count += usize::from(shrunk);
            if !shrunk {
                self.stay.insert(digest);
            }
        }
        Ok(count)
    }

    /// By height: whole models that are old enough, and what each was made from.
    fn due(&self) -> Result<Vec<(Height, Digest, ModelId)>, BlobError> {
        let (mut due, mut beyond, now) = (vec![], None::<Vec<u8>>, SystemTime::now());
        loop {
            let prefix = Prefix::Model.scan();
            let rows = self.node.reader.scan::<ModelRecord>(&prefix, beyond.as_deref(), PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(due) };
            beyond = Some(last.clone());
            for (_, record) in rows.iter().filter(|(_, record)| is_folded(record)) {
                let waits = !self.stay.contains(&record.digest);
                let since = self.node.models.whole_since(&record.digest).filter(|_| waits);
                if let (Some(since), Some(parent)) = (since, record.parents.first())
                    && is_old(since, now)
                {
                    due.push((record.height, record.digest, *parent));
                }
            }
        }
    }
}

fn is_folded(record: &ModelRecord) -> bool {
    matches!(record.source, ModelSource::Round { .. } | ModelSource::Merge { .. })
}

fn is_old(since: SystemTime, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|age| age >= NEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_old_after_an_hour_whatever_the_clock_did() {
        let hour = Duration::from_secs(3_600);
        let now = SystemTime::UNIX_EPOCH + 10 * hour;
        assert!(is_old(now - hour, now));
        assert!(!is_old(now - hour / 2, now) && !is_old(now + hour, now));
    }
}
