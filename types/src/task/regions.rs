//! Three levels: clusters are grouped in regions. A region's clusters merge into the region's model, often;
//! regions merge into the global one, seldom. Each level has a period of its own, and a region waits for no
//! other but at the end of a global one. Hierarchical federated learning: Liu, Zhang, Song and Letaief,
//! *Client-Edge-Cloud Hierarchical Federated Learning*, ICC 2020.

use super::{Mode, TaskSpec};
use crate::{Digest, RegionId, TaskId, model::ModelId};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Which clusters a task's regions have, and when these merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Regions {
    /// Clusters of each: the first has the first so many, and so on.
    pub sizes: Vec<u16>,
    /// Merges of a region between two of all regions.
    pub merge_every: u32,
}

/// What a region is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RegionStage {
    /// Its clusters run their rounds.
    Rounds,
    /// Its merge waits for a result.
    MergeDue,
    /// It has had its merges, and waits for the other regions.
    Waiting,
}

/// A region of a task as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Region {
    pub task: TaskId,
    pub region: RegionId,
    /// What its clusters began from last: its own merge, or the global one.
    pub model: ModelId,
    pub model_digest: Digest,
    /// Merges of its own so far.
    pub merges: u64,
    /// Periods ended since the last global merge, those in which nothing was folded included.
    pub periods: u32,
    /// Weight merged since the last global merge, at most `merge_weight_max` for each of its clusters.
    pub weight: u64,
    pub stage: RegionStage,
}

impl Regions {
    pub fn ids(&self) -> impl Iterator<Item = RegionId> + use<> {
        (0..self.sizes.len() as u16).map(RegionId)
    }

    /// The clusters of a region; none where there is no such region.
    pub fn clusters(&self, region: RegionId) -> Range<u16> {
        let at = usize::from(region.0);
        let before: u16 = self.sizes.iter().take(at).fold(0, |sum, size| sum.saturating_add(*size));
        let own = self.sizes.get(at).copied().unwrap_or(0);
        before..before.saturating_add(own)
    }
}

/// Why a task's regions are refused, if they are.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let regions = spec.regions.as_ref()?;
    let clusters: u64 = regions.sizes.iter().copied().map(u64::from).sum();
    if clusters != u64::from(spec.clusters) || regions.sizes.contains(&0) {
        return Some(format!(
            "the regions have {clusters} clusters and the task {}: give each region at least one, and all of them a region",
            spec.clusters
        ));
    }
    if regions.sizes.len() < 2 {
        return Some("one region alone is the global level: leave regions out, or give two".into());
    }
    if regions.merge_every == 0 {
        return Some("regions merge into the global model every 1 or more of their merges".into());
    }
    if spec.mode != Mode::Sync {
        return Some(
            "regions wait for the rounds of their clusters: they need synchronous rounds".into(),
        );
    }
    if !spec.late.is_empty() {
        return Some(
            "regions take no late updates: the model before a merge differs from region to region"
                .into(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_in_the_regions_in_their_order() {
        let regions = Regions { sizes: vec![2, 1, 3], merge_every: 1 };
        let all: Vec<_> = regions.ids().map(|region| regions.clusters(region)).collect();
        assert_eq!(all, [0..2, 2..3, 3..6]);
        assert_eq!(regions.clusters(RegionId(9)).len(), 0);
    }
}
