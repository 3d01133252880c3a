//! Each event in words.

use super::{masking::stage_text, validators::jail_text};
use crate::render::{amount, bytes, time};
use twinfold_types::{
    Event, PublicKey,
    evidence::Offence,
    round::RoundKey,
    task::pace::{Arrivals, Pace},
};

pub fn pace_text(pace: Pace) -> &'static str {
    match pace {
        Pace::All => "later rounds wait for all",
        Pace::Enough => "later rounds go on without the last",
    }
}

fn arrivals_text(arrivals: &Arrivals) -> String {
    let Arrivals { round, updates, enough_ms, last_ms, .. } = arrivals;
    let enough = enough_ms.map_or("never".into(), |ms| format!("after {ms} ms"));
    format!("of round {round} {updates} updates came, enough {enough}, the last after {last_ms} ms")
}

fn round(key: &RoundKey) -> String {
    format!("round {} of cluster {} of task {}", key.round, key.cluster, key.task.0.short())
}

/// An event in words; one arm each, so that a new event is not forgotten here.
pub fn describe(event: &Event) -> String {
    match event {
        Event::MemberAdded { key } => format!("member {} added", key.short()),
        Event::MemberRemoved { key } => format!("member {} removed", key.short()),
        Event::QuotaSet { organisation, trainers } => {
            format!("{organisation} may have {trainers} trainers")
        }
        Event::ThresholdSet { threshold } => format!("proposals need {threshold} signatures"),
        Event::ProposalOpened { id } => format!("proposal {} opened", id.0.short()),
        Event::ProposalSigned { id, by, signatures } => {
            format!("proposal {} signed by {} ({signatures} in all)", id.0.short(), by.short())
        }
        Event::ProposalPassed { id } => format!("proposal {} passed", id.0.short()),
        Event::ProposalFailed { id, code } => {
            format!("proposal {} failed: {}", id.0.short(), code.text())
        }
        Event::ProposalLapsed { id } => format!("proposal {} lapsed", id.0.short()),
        Event::TaskCreated { task } => format!("task {} created", task.0.short()),
        Event::TaskFinished { task } => format!("task {} finished", task.0.short()),
        Event::TaskClosed { task } => format!("task {} closed", task.0.short()),
        Event::RoundOpened { key } => format!("{} opened", round(key)),
        Event::RoundStarted { key, deadline } => {
            format!("{} started, until {}", round(key), time(*deadline))
        }
        Event::UpdateOrdered { key, index, trainer } => {
            format!("update {index} by {} ordered in {}", trainer.short(), round(key))
        }
        Event::RoundExtended { key, deadline, extensions } => {
            format!("{} extended ({extensions}) until {}", round(key), time(*deadline))
        }
        Event::RoundSealed { key, entries } => format!("{} sealed with {entries}", round(key)),
        Event::RoundVoid { key, reason } => format!("{} void: {reason:?}", round(key)),
        Event::RoundAggregated { key, model, folded, refused, .. } => {
            let model = model.0.short();
            format!("{} aggregated: model {model}, {folded} folded, {refused} refused", round(key))
        }
        Event::UpdatesReleased { key, updates, .. } => {
            format!("{updates} updates of {}: their retention is over", round(key))
        }
        Event::PayloadSuspected { blob, by } => {
            format!("{} found that payload {} was cut by a liar", by.short(), blob.short())
        }
        Event::PayloadCondemned { blob, by } => {
            format!("payload {}, named by {}, was cut by a liar", blob.short(), by.short())
        }
        Event::SeatTakenOver { seat, by } => {
            format!("seat {seat} is complete: {} holds its part of every payload", by.short())
        }
        Event::TakeoverLapsed { seat, by } => {
            format!("seat {seat}: {} did not say in time that it holds its part", by.short())
        }
        Event::HoldSet { subject } => format!("hold on {subject}"),
        Event::HoldReleased { subject } => format!("hold on {subject} released"),
        Event::StorageQuotaSet { owner, bytes: Some(most) } => {
            format!("{owner} may have {} of payloads", bytes(*most))
        }
        Event::StorageQuotaSet { owner, bytes: None } => {
            format!("{owner} may have as many bytes of payloads as is usual")
        }
        Event::WeightCapped { task, cluster } => {
            format!("weight of cluster {cluster} of task {} is at its cap", task.0.short())
        }
        Event::MergeDue { task, number } => {
            format!("merge {number} of task {} due", task.0.short())
        }
        Event::Merged { task, number, model, .. } => {
            format!("merge {number} of task {}: model {}", task.0.short(), model.0.short())
        }
        Event::ModelVersion { model, level, version, .. } => {
            format!(
                "model {} is version {version} of {}",
                model.0.short(),
                crate::model_text::level_text(*level)
            )
        }
        Event::ModelDeprecated { model, successor } => match successor {
            Some(successor) => {
                format!("model {} deprecated: use {}", model.0.short(), successor.0.short())
            }
            None => format!("model {} deprecated", model.0.short()),
        },
        Event::ModelMeasured { model, name, by } => {
            format!("{name} of model {} measured by {}", model.0.short(), by.short())
        }
        Event::VersionMeasured { task, version, by } => {
            format!("version {version} of task {} measured by {}", task.0.short(), by.short())
        }
        Event::VersionScored { task, version, score, reports, best, .. } => {
            let accuracy =
                score.accuracy().map(|share| format!(", accuracy {:.2} %", share * 100.0));
            format!(
                "version {version} of task {} scored by {reports} reports: loss {:.4}{}{}",
                task.0.short(),
                score.loss(),
                accuracy.unwrap_or_default(),
                if *best { ", the best so far" } else { "" }
            )
        }
        Event::TaskStopped { task, best } => {
            format!("task {} stopped: no gain any more; version {best} is the best", task.0.short())
        }
        Event::TrainerEnrolled { task, cluster, trainer } => {
            format!("{} enrolled in cluster {cluster} of task {}", trainer.short(), task.0.short())
        }
        Event::TrainerLeft { task, cluster, trainer, missed: 0 } => {
            format!("{} left cluster {cluster} of task {}", trainer.short(), task.0.short())
        }
        Event::TrainerLeft { task, trainer, missed, .. } => format!(
            "{} is not chosen for task {} any more: {missed} rounds waited for it in vain",
            trainer.short(),
            task.0.short()
        ),
        Event::TrainersChosen { key, chosen, enrolled } => format!(
            "{chosen} of {enrolled} chosen for round {} of cluster {}",
            key.round, key.cluster
        ),
        Event::PaceChosen { key, pace, arrivals } => {
            format!("{}: {}, as {}", round(key), pace_text(*pace), arrivals_text(arrivals))
        }
        Event::RecruitingSet { task, trainers: Some(trainers) } => {
            format!("task {} takes {trainers} trainers at most", task.0.short())
        }
        Event::RecruitingSet { task, trainers: None } => {
            format!("task {} takes whoever comes", task.0.short())
        }
        Event::RegionMergeDue { task, region, number } => {
            format!(
                "region {region} of task {} is to merge, for the {}th time",
                task.0.short(),
                number + 1
            )
        }
        Event::RegionMerged { region, number, model, .. } => {
            format!("merge {number} of region {region} is model {}", model.0.short())
        }
        Event::RegionWeightCapped { region, .. } => {
            format!("region {region} counts no more than the task allows in the next merge")
        }
        Event::ClustersFormed { task, by, trainers, moved } => format!(
            "clusters of task {} formed by {by} of {trainers} trainers, {moved} moved",
            task.0.short()
        ),
        Event::MaskStageBegun { key, stage, members } => format!(
            "round {} of cluster {}, masked: {} ({members})",
            key.round,
            key.cluster,
            stage_text(*stage)
        ),
        Event::FalseShare { key, dealer, by } => format!(
            "{} dealt {} a false share in round {} of cluster {}, and is barred",
            dealer.short(),
            by.short(),
            key.round,
            key.cluster
        ),
        Event::Contributed { key, trainer, contribution } => format!(
            "{} had {:.2} % of round {} of cluster {}, cosine {:.3}",
            trainer.short(),
            f64::from(contribution.share_ppm) / 1e4,
            key.round,
            key.cluster,
            f64::from(contribution.cosine_ppm) / 1e6
        ),
        Event::ModelPublished { model, name } => {
            format!("model {} published as {name}", model.0.short())
        }
        Event::StakeGranted { member, amount: some } => {
            format!("{} stake made for {}", amount(*some), member.short())
        }
        Event::StakeTransferred { from, to, amount: some } => {
            format!("{} gave {} stake to {}", from.short(), amount(*some), to.short())
        }
        Event::Delegated { delegator, validator, amount: some } => {
            format!("{} delegated {} to {}", delegator.short(), amount(*some), validator.short())
        }
        Event::Undelegated { delegator, validator, amount: some } => {
            format!("{} takes {} back from {}", delegator.short(), amount(*some), validator.short())
        }
        Event::StakeFreed { delegator, validator, amount: some } => format!(
            "{} of {}, taken back from {}, is free",
            amount(*some),
            delegator.short(),
            validator.short()
        ),
        Event::CandidateDeclared { validator, ready: true } => {
            format!("validator {} is ready for a seat", validator.short())
        }
        Event::CandidateDeclared { validator, ready: false } => {
            format!("validator {} wants no seat", validator.short())
        }
        Event::Slashed { validator, epoch, offence, burnt } => format!(
            "validator {} slashed by {} for {} in epoch {epoch}",
            validator.short(),
            amount(*burnt),
            offence_text(*offence)
        ),
        Event::Jailed { validator, jail } => {
            format!("validator {} jailed, {}", validator.short(), jail_text(jail))
        }
        Event::LetOut { validator } => {
            format!("validator {} may be elected again", validator.short())
        }
        Event::Rewarded { validator, amount: some, commission } => format!(
            "validator {} rewarded with {}, of which it keeps {}",
            validator.short(),
            amount(*some),
            amount(*commission)
        ),
        Event::StakeParamsSet => "rules of stake changed".into(),
        Event::ProtocolSet { version } => {
            format!("version {version} of the rules from the next epoch on")
        }
        Event::EpochEnding { at } => format!("the admins end the epoch after height {at}"),
        Event::Recovered { epoch, statement } => {
            format!("epoch {epoch} began by the admins' recovery {statement}")
        }
        Event::DatasetCreated { name, .. } => format!("data set {name} created"),
        Event::DatasetAppended { name, version, by, .. } => {
            format!("version {version} of data set {name} appended by {}", by.short())
        }
        Event::DatasetGranted { dataset, member } => {
            format!("{} may append to data set {}", member.short(), dataset.0.short())
        }
        Event::DatasetRevoked { dataset, member } => {
            format!("{} may not append to data set {} any more", member.short(), dataset.0.short())
        }
        Event::DatasetPurged { dataset, first, last } => {
            format!("versions {first} to {last} of data set {} purged", dataset.0.short())
        }
        Event::EpochEnded { epoch, joined, left } => {
            format!("epoch {epoch} ended; joined: {}; left: {}", keys(joined), keys(left))
        }
        Event::EncryptionKeySet { member } => {
            format!("member {} has a new encryption key", member.short())
        }
        Event::SealedRegistered { blob, owner } => {
            format!("sealed payload {} registered by {}", blob.short(), owner.short())
        }
        Event::SealedGranted { blob, members } => {
            format!("sealed payload {} can be read by {}", blob.short(), keys(members))
        }
        Event::SealedRevoked { blob, members } => {
            format!("sealed payload {} is no longer given to {}", blob.short(), keys(members))
        }
        Event::SealedDestroyed { blob, wraps } => {
            format!("sealed payload {} purged; {wraps} could read it", blob.short())
        }
    }
}

/// What a validator was found guilty of.
fn offence_text(offence: Offence) -> &'static str {
    match offence {
        Offence::Equivocation => "signing two things of which only one can be",
        Offence::WrongResult => "signing a wrong fold result",
    }
}

fn keys(keys: &[PublicKey]) -> String {
    match keys {
        [] => "nobody".into(),
        keys => keys.iter().map(PublicKey::short).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Epoch, Height, Stake, stake::Jail};

    #[test]
    fn events_of_stake_and_epochs_are_sentences() {
        let (validator, some) = (PublicKey([7; 32]), Stake(2_500));
        let said = [
            (Event::StakeGranted { member: validator, amount: some }, "2_500 stake made"),
            (Event::CandidateDeclared { validator, ready: false }, "wants no seat"),
            (
                Event::Slashed {
                    validator,
                    epoch: Epoch(3),
                    offence: Offence::Equivocation,
                    burnt: some,
                },
                "slashed by 2_500 for signing two things",
            ),
            (Event::Jailed { validator, jail: Jail::Expelled }, "jailed, expelled"),
            (Event::EpochEnding { at: Height(9) }, "after height 9"),
            (
                Event::EpochEnded { epoch: Epoch(3), joined: vec![validator], left: vec![] },
                "joined: 07070707; left: nobody",
            ),
        ];
        for (event, words) in said {
            let text = describe(&event);
            assert!(text.contains(words), "{text}");
        }
    }
}
