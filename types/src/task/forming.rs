//! Clusters that the ledger forms of the trainers who come, by what they say of themselves, and forms anew with
//! each merge after somebody came or left.

use super::TaskSpec;
use crate::{ClusterId, PublicKey, TaskId, limits};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What clusters are formed by. All have as many trainers, or one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Forming {
    /// As many examples in each.
    Size,
    /// Trainers that are as far from the validators together, so that the far ones keep no others waiting.
    Latency,
    /// In each the labels as they are in all together, so that clusters do not drift apart (after Mhaisen et
    /// al., *Optimal User-Edge Assignment in Hierarchical Federated Learning*, IEEE TNSE 2022).
    Labels,
}

/// What a trainer says of itself: its own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Profile {
    pub examples: u32,
    /// Until a validator answers, in milliseconds.
    pub latency_ms: u32,
    /// Examples of each label.
    pub labels: Vec<u32>,
}

/// A trainer joins a task that forms its clusters, or says what has become of its profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileAction {
    pub task: TaskId,
    pub profile: Profile,
}

/// A trainer and the cluster that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Formed {
    pub trainer: PublicKey,
    pub cluster: ClusterId,
    pub profile: Profile,
}

impl Profile {
    pub fn is_bounded(&self) -> bool {
        self.examples > 0 && self.labels.len() <= limits::PROFILE_LABELS_MAX
    }

    fn label(&self, at: usize) -> u64 {
        self.labels.get(at).copied().unwrap_or(0).into()
    }
}

impl Forming {
    /// A cluster for each trainer, in their order.
    pub fn form(self, clusters: u16, trainers: &[Formed]) -> Vec<ClusterId> {
        let mut order: Vec<usize> = (0..trainers.len()).collect();
        let key = |at: &usize| trainers[*at].trainer;
        let profile = |at: usize| &trainers[at].profile;
        let mut places = vec![ClusterId(0); trainers.len()];
        match self {
            Forming::Latency => {
                order.sort_by_key(|at| (profile(*at).latency_ms, key(at)));
                for (rank, at) in order.iter().enumerate() {
                    places[*at] = ClusterId((rank * usize::from(clusters) / trainers.len()) as u16);
                }
            }
            Forming::Size | Forming::Labels => {
                order.sort_by_key(|at| (std::cmp::Reverse(profile(*at).examples), key(at)));
                let mut made = Made::new(clusters, trainers);
                for at in order {
                    places[at] = made.place(self, profile(at));
                }
            }
        }
        places
    }
}

/// Clusters in the making.
struct Made {
    /// Trainers that each may have.
    room: usize,
    all: Sums,
    clusters: Vec<Sums>,
}

/// Of the trainers of a cluster.
#[derive(Clone, Default)]
struct Sums {
    trainers: usize,
    examples: u64,
    labels: Vec<u64>,
}

/// One, of a label's share.
const SHARE_ONE: u64 = 1 << 20;

impl Sums {
    fn add(&mut self, profile: &Profile) {
        self.trainers += 1;
        self.examples += u64::from(profile.examples);
        for (at, sum) in self.labels.iter_mut().enumerate() {
            *sum += profile.label(at);
        }
    }

    /// Of each label, in 1/2^20.
    fn shares(&self) -> Vec<u64> {
        let all = self.labels.iter().sum::<u64>().max(1);
        self.labels.iter().map(|label| label * SHARE_ONE / all).collect()
    }
}

impl Made {
    fn new(clusters: u16, trainers: &[Formed]) -> Self {
        let labels = trainers.iter().map(|one| one.profile.labels.len()).max().unwrap_or(0);
        let none = Sums { labels: vec![0; labels], ..Sums::default() };
        let mut all = none.clone();
        trainers.iter().for_each(|one| all.add(&one.profile));
        let room = trainers.len().div_ceil(usize::from(clusters).max(1));
        Self { room, all, clusters: vec![none; clusters.into()] }
    }

    /// The best cluster with room for a trainer; of equal ones the first.
    fn place(&mut self, by: Forming, profile: &Profile) -> ClusterId {
        let wanted = self.all.shares();
        let cost = |sums: &Sums| {
            let mut with = sums.clone();
            with.add(profile);
            let apart: u64 =
                with.shares().iter().zip(&wanted).map(|(one, all)| one.abs_diff(*all)).sum();
            match by {
                Forming::Labels => (apart, with.trainers as u64),
                _ => (with.examples, with.trainers as u64),
            }
        };
        let open = self.clusters.iter().enumerate().filter(|(_, sums)| sums.trainers < self.room);
        let best = open.min_by_key(|(at, sums)| (cost(sums), *at)).map_or(0, |(at, _)| at);
        self.clusters[best].add(profile);
        ClusterId(best as u16)
    }
}

/// Why forming does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    spec.forming?;
    if spec.clusters < 2 {
        return Some("clusters are formed where there are two or more".into());
    }
    spec.selection.is_some().then(|| {
        "trainers are chosen among those of a cluster, and formed clusters change: take no selection".into()
    })
}

impl fmt::Display for Forming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Forming::Size => "size",
            Forming::Latency => "latency",
            Forming::Labels => "labels",
        })
    }
}

impl FromStr for Forming {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "size" => Ok(Forming::Size),
            "latency" => Ok(Forming::Latency),
            "labels" => Ok(Forming::Labels),
            _ => Err(format!("expected size, latency or labels, got {text:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainers(profiles: &[(u32, u32, &[u32])]) -> Vec<Formed> {
        let one = |(at, (examples, latency_ms, labels)): (u8, &(u32, u32, &[u32]))| Formed {
            trainer: PublicKey([at; 32]),
            cluster: ClusterId(0),
            profile: Profile {
                examples: *examples,
                latency_ms: *latency_ms,
                labels: labels.to_vec(),
            },
        };
        (0..).zip(profiles).map(one).collect()
    }

    fn form(by: Forming, clusters: u16, trainers: &[Formed]) -> Vec<u16> {
        by.form(clusters, trainers).into_iter().map(|cluster| cluster.0).collect()
    }

    #[test]
    fn by_size_each_has_as_many_examples() {
        let trainers = trainers(&[(9, 0, &[]), (1, 0, &[]), (2, 0, &[]), (8, 0, &[])]);
        assert_eq!(form(Forming::Size, 2, &trainers), [0, 0, 1, 1]);
    }

    #[test]
    fn by_latency_the_far_are_together() {
        let trainers =
            trainers(&[(1, 90, &[]), (1, 5, &[]), (1, 80, &[]), (1, 7, &[]), (1, 6, &[])]);
        assert_eq!(form(Forming::Latency, 2, &trainers), [1, 0, 1, 0, 0]);
    }

    #[test]
    fn by_labels_each_has_all_of_them() {
        let (a, b): (&[u32], &[u32]) = (&[10, 0], &[0, 10]);
        let alike = trainers(&[(10, 0, a), (10, 0, a), (10, 0, b), (10, 0, b)]);
        let places = form(Forming::Labels, 2, &alike);
        assert!(places[0] != places[1] && places[2] != places[3], "{places:?}");
        // One that says nothing of labels has a place too.
        let silent = trainers(&[(10, 0, a), (10, 0, b), (10, 0, &[])]);
        assert_eq!(form(Forming::Labels, 3, &silent).len(), 3);
    }

    #[test]
    fn no_cluster_has_two_more_than_another_may() {
        let many: Vec<_> =
            (0..23).map(|at| (at * 7 % 11 + 1, at * 5 % 13, [].as_slice())).collect();
        let trainers = trainers(&many);
        for by in [Forming::Size, Forming::Latency, Forming::Labels] {
            let places = form(by, 4, &trainers);
            let sizes = [0, 1, 2, 3].map(|of| places.iter().filter(|place| **place == of).count());
            assert!(sizes.iter().all(|size| *size <= 6), "{by}: {sizes:?}");
        }
        assert!(form(Forming::Size, 4, &[]).is_empty());
    }
}
