//! What the ledger keeps of measured models, of contributions, and of those chosen.

use crate::samples::{digest, fold_result, key, metrics, pacing, profile, round_key};
use twinfold_types::{
    ClusterId, Code, Event, Height, RegionId, RoundNumber, TaskId, TxId,
    model::ModelId,
    round::ContributionTotal,
    state_key::{self, StateKey},
    task::{
        Forming,
        evaluation::{Best, Evaluation, Progress, Report},
        forming::Formed,
        regions::{Region, RegionStage},
        selection::{Candidate, Drawing, Enrolled, Reason},
    },
};

fn task() -> TaskId {
    TaskId(digest(5))
}

fn best() -> Best {
    Best { version: 6, model: ModelId(digest(11)), score: metrics() }
}

pub fn progress() -> Progress {
    Progress { best: Some(best()), scored: Some(9), mark: Some(metrics()), without_gain: 1 }
}

pub fn evaluation() -> Evaluation {
    let (tx, height) = (TxId(digest(4)), Height(8));
    let report = Report { by: key(1), examples: 90, metrics: metrics(), tx, height };
    let (version, model) = (6, ModelId(digest(11)));
    Evaluation { version, model, reports: vec![report], score: Some(metrics()) }
}

pub fn total() -> ContributionTotal {
    ContributionTotal {
        updates: 3,
        weight: 270,
        share_ppm: -5,
        cosine_ppm: 2_500_000,
        metrics: metrics(),
    }
}

pub fn enrolled() -> Enrolled {
    Enrolled {
        trainer: key(1),
        since: Height(3),
        chosen: 7,
        delivered: 5,
        missed: 1,
        newest: Some((RoundNumber(6), true)),
        examples: 90,
        metrics: metrics(),
    }
}

pub fn drawing() -> Drawing {
    let candidate = |seed, reason| Candidate { trainer: key(seed), figure: 45_000, reason };
    let candidates = vec![
        candidate(1, Reason::Figure),
        candidate(2, Reason::Chance),
        candidate(3, Reason::NotChosen),
    ];
    Drawing { closed: Height(8), seed: digest(6), candidates }
}

pub fn region() -> Region {
    Region {
        task: task(),
        region: RegionId(1),
        model: ModelId(digest(7)),
        model_digest: digest(8),
        merges: 5,
        periods: 2,
        weight: 90,
        stage: RegionStage::MergeDue,
    }
}

pub fn formed() -> Formed {
    Formed { trainer: key(1), cluster: ClusterId(1), profile: profile() }
}

pub fn events() -> Vec<(&'static str, Event)> {
    let (task, version, model) = (task(), 6, ModelId(digest(11)));
    let failed = |code| Event::ProposalFailed { id: TxId(digest(8)), code };
    vec![
        ("version measured", Event::VersionMeasured { task, version, by: key(1) }),
        (
            "version scored",
            Event::VersionScored { task, version, model, score: metrics(), reports: 2, best: true },
        ),
        ("task stopped", Event::TaskStopped { task, best: 6 }),
        (
            "contributed",
            Event::Contributed {
                key: round_key(),
                trainer: key(1),
                contribution: fold_result().contributions[0],
            },
        ),
        (
            "trainer enrolled",
            Event::TrainerEnrolled { task, cluster: ClusterId(1), trainer: key(1) },
        ),
        (
            "trainer left",
            Event::TrainerLeft { task, cluster: ClusterId(1), trainer: key(1), missed: 3 },
        ),
        ("trainers chosen", Event::TrainersChosen { key: round_key(), chosen: 4, enrolled: 9 }),
        (
            "pace chosen",
            Event::PaceChosen {
                key: round_key(),
                pace: pacing().pace,
                arrivals: pacing().before.expect("a round before"),
            },
        ),
        ("region merge due", Event::RegionMergeDue { task, region: RegionId(1), number: 2 }),
        (
            "region merged",
            Event::RegionMerged { task, region: RegionId(1), number: 2, model, saturations: 5 },
        ),
        ("region weight capped", Event::RegionWeightCapped { task, region: RegionId(1) }),
        (
            "clusters formed",
            Event::ClustersFormed { task, by: Forming::Labels, trainers: 9, moved: 4 },
        ),
        ("profile invalid", failed(Code::ProfileInvalid)),
        ("recruiting set", Event::RecruitingSet { task, trainers: Some(9) }),
        ("recruiting closed", failed(Code::RecruitingClosed)),
        ("not chosen", failed(Code::NotChosen)),
        ("evaluation unused", failed(Code::EvaluationUnused)),
        ("evaluation invalid", failed(Code::EvaluationInvalid)),
    ]
}

pub fn keys() -> Vec<(&'static str, StateKey)> {
    vec![
        ("evaluation", state_key::evaluation(&task(), 6)),
        ("contribution", state_key::contribution(&task(), &key(1))),
        ("global version", state_key::global_version(&task(), 6)),
        ("enrolled", state_key::enrolled(&task(), ClusterId(1), &key(1))),
        ("enrolled count", state_key::enrolled_count(&task(), ClusterId(1))),
        ("draw due", state_key::draw_due(Height(8), &round_key())),
        ("drawing", state_key::drawing(&round_key())),
        ("formerly enrolled", state_key::formerly_enrolled(&task(), &key(1))),
        ("formed", state_key::formed(&task(), &key(1))),
        ("region", state_key::region(&task(), RegionId(1))),
    ]
}
