//! The settings of `twinfold task create`, as flags.

use super::evaluate::EvaluationArgs;
use crate::{
    error::{CliError, Result},
    task::{Architecture, ModeChoice, NoiseOptions, TaskOptions, first_model},
    tensor_file::{ImportSettings, ImportedModel, import},
};
use clap::Args;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use twinfold_types::{
    Digest, limits,
    model::{ModelId, TensorPolicy},
    task::{
        AggregationRule, Compression, Forming, LocalWork, Real, Regions, Schedule, Selection,
        ServerOptimiser, Switch,
    },
    text::parse_duration,
};

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[arg(long)]
    pub name: String,
    #[arg(long, default_value = "")]
    pub description: String,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Groups of trainers with a model each, merged every so often; 1, or as many as the regions have
    #[arg(long)]
    pub clusters: Option<u16>,
    /// Have the ledger form the clusters of the trainers who come, anew with each merge after somebody came
    /// or left: by size (as many examples in each), latency (the far ones together) or labels (all of them in
    /// each), by trainers' own word [default: trainers choose theirs]
    #[arg(long, value_name = "RULE")]
    pub form: Option<Forming>,
    /// Updates that a cluster's round needs
    #[arg(long, default_value_t = 1)]
    pub participants_min: u32,
    /// Updates that a cluster's round takes; then it closes before its deadline
    #[arg(long, default_value_t = 16)]
    pub participants_max: u32,
    /// Most examples that one update counts for
    #[arg(long, default_value_t = 1 << 17)]
    pub weight_max: u32,
    /// Most examples that one cluster counts for in a merge [default: as many as fit]
    #[arg(long)]
    pub merge_weight_max: Option<u32>,
    /// Norm that trainers clip a delta to
    #[arg(long, default_value_t = 16.0)]
    pub clip: f64,
    /// Norm over which an update is refused [default: 8 × clip, room for error feedback]
    #[arg(long)]
    pub norm_bound: Option<f64>,
    /// sync; async:K with a buffer of K updates (FedBuff); or fedasync:A, which mixes each update's own
    /// model in by A, less the staler it is
    #[arg(long, default_value = "sync")]
    pub mode: ModeChoice,
    /// Versions that an asynchronous update may be behind
    #[arg(long, default_value_t = 20)]
    pub staleness_max: u32,
    /// What trainers send: none (32-bit steps), q16, q8, q4, q2 (−1, 0 and 1) or q1 (signs); or
    /// topk:F[:BITS], the share F of all values, the largest, with 8 bits each unless said otherwise;
    /// randk:F[:BITS], that share of each tensor, drawn alike for everyone, which goes with every rule; or
    /// above:T[:BITS], those of at least T times their root mean square.
    /// With ",stochastic" a value is rounded by chance, right on average
    /// [default: q8; q16 with --mask]
    #[arg(long, value_name = "FORM")]
    pub compress: Option<Compression>,
    /// Compress what comes down too: q2 to q16, or topk:F[:BITS]. The model moves by that, and what is left
    /// out comes with later rounds; a trainer fetches only the change. For one cluster
    #[arg(long, value_name = "FORM")]
    pub down: Option<Compression>,
    /// Cut an update whose norm is over so many times the median of its round to that [default: off]
    #[arg(long, value_name = "TIMES")]
    pub clip_to_median: Option<f64>,
    /// Do not count an update whose cosine with the sum of the round's others is below this, −1 to 1
    /// [default: off]
    #[arg(long, value_name = "COSINE", allow_hyphen_values = true)]
    pub cosine_min: Option<f64>,
    /// How a round's updates become a change of the model: mean (by examples); qfedavg:Q:L (by losses
    /// to the power of Q, which is 0, 0.5, 1, 2 or 3; L is 1 / learning rate); or, where some trainers
    /// may lie, each update counting alike and none compressed by topk: median, trimmed:B (without the
    /// share B at each end of every value), geometric-median (nearest to all together), krum:F (the one
    /// nearest to most others, F liars borne), multi-krum:F:M (the mean of the M best), bulyan:F (both,
    /// for 4 F + 3 updates and more)
    #[arg(long, default_value = "mean", value_name = "RULE")]
    pub rule: AggregationRule,
    /// What a cluster does with that change: none (adds it), or an optimiser that remembers: fedavgm,
    /// fedadagrad, fedadam or fedyogi, with settings such as fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.001
    /// (these are its defaults; `correct` adds bias correction)
    #[arg(long, default_value = "none", value_name = "OPTIMISER")]
    pub server: ServerOptimiser,
    /// Group the clusters in regions, the first of the first so many clusters, and so on: 2,2 for two of two.
    /// Clusters then merge into their region, regions into the global model; --clusters need not be said
    #[arg(long, value_name = "SIZES", value_delimiter = ',')]
    pub regions: Vec<u16>,
    /// Merges of a region between two of all regions
    #[arg(long, default_value_t = 1, requires = "regions", value_name = "N")]
    pub region_merge_every: u32,
    /// Cluster rounds between two merges
    #[arg(long, default_value_t = 1)]
    pub merge_every: u32,
    /// How clusters' models become the global one: mean (by weight), median or trimmed:B, which bear
    /// clusters of liars
    #[arg(long, default_value = "mean", value_name = "RULE")]
    pub merge_rule: AggregationRule,
    /// Cluster rounds in all; 0 for no end
    #[arg(long, default_value_t = 0)]
    pub rounds: u64,
    /// Let f+1 validators fold a round, others only when these are late: half of the work with 4
    /// validators, down to a third with many
    #[arg(long)]
    pub assigned: bool,
    /// Choose so many of the enrolled trainers for each round: random:K by lot; availability:K[:SHARE]
    /// those who delivered most of what they were chosen for; utility:K[:SHARE] those with the most loss
    /// × examples, by their own word; the last two with SHARE of the places (0.1) by lot. With K above
    /// --participants-max a round closes with the first of them [default: whoever comes]
    #[arg(long, value_name = "RULE")]
    pub select: Option<Selection>,
    /// Carry an update that comes after its round was sealed into a later one, so many rounds at most,
    /// counting the less the older it is [default: such an update is refused]
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    pub late: u32,
    /// With --late: close rounds with the least number of participants while waiting for all takes over
    /// RATIO times as long, and with all again when that no longer does; each after ROUNDS (3) in a row
    /// [default: always wait]
    #[arg(long, value_name = "RATIO[:ROUNDS]", requires = "late")]
    pub switch: Option<Switch>,
    /// Mask updates (secure aggregation): validators and all others read their sum alone. Needs 8 to 128
    /// participants, the rule mean, and trainers that stay for the whole round; give --compress q8, q16 or
    /// randk:F:BITS. See docs/privacy.md for what it protects and what not
    #[arg(long)]
    pub mask: bool,
    /// With --mask: greatest change of a value that one update sends; what is more waits for the next
    #[arg(long, value_name = "VALUE", default_value_t = 1.0, requires = "mask")]
    pub mask_range: f64,
    /// With --mask: have each trainer add noise, so that the sum of the fewest participants has Z times
    /// --clip of it (differential privacy); every update then counts 1
    #[arg(long, value_name = "Z", requires = "mask", requires = "epsilon", value_parser = parse_positive)]
    pub noise: Option<f64>,
    /// With --noise: ε that a trainer may spend in the task; then it takes no further part
    #[arg(long, requires = "noise", value_parser = parse_positive)]
    pub epsilon: Option<f64>,
    /// With --noise: δ at which ε is told
    #[arg(long, default_value_t = 1e-5, requires = "noise", value_parser = parse_delta)]
    pub delta: f64,
    /// Have trainers keep control variates (SCAFFOLD), against drifting apart where their data differ:
    /// every update is twice as long. For tasks in which all trainers take part in every round, by the
    /// mean; see docs/aggregation.md
    #[arg(long)]
    pub scaffold: bool,
    #[command(flatten)]
    pub evaluation: EvaluationArgs,
    /// Keep what each update had in the change that its round came to: its norm, its cosine with it and
    /// its share of it. See `twinfold task contributions`
    #[arg(long)]
    pub contributions: bool,
    /// Time from a round's start to its deadline
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub deadline: Duration,
    /// Times that a round with too few updates is extended before it is void [default: 3; 0 with --mask]
    #[arg(long)]
    pub extensions: Option<u32>,
    /// How long payloads stay after their round
    #[arg(long, default_value = "30d", value_parser = parse_duration)]
    pub retention: Duration,
    /// Passes over a trainer's data in a round [default: 1]
    #[arg(long, conflicts_with = "steps")]
    pub epochs: Option<u32>,
    /// Batches in a round, instead of passes
    #[arg(long)]
    pub steps: Option<u32>,
    #[arg(long, default_value_t = 32)]
    pub batch: u32,
    #[arg(long, default_value_t = 0.1)]
    pub learning_rate: f64,
    /// Multiply the learning rate by FACTOR after every ROUNDS: ROUNDS:FACTOR
    #[arg(long, value_name = "ROUNDS:FACTOR", value_parser = parse_schedule)]
    pub schedule: Option<Schedule>,
    /// μ of FedProx; 0 is plain SGD
    #[arg(long, default_value_t = 0.0)]
    pub proximal: f64,
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Digest of the training code that is expected
    #[arg(long)]
    pub code: Option<Digest>,
}

#[derive(Debug, Args)]
pub struct ModelArgs {
    /// First model: one that is on the ledger, by its identity (`twinfold model list`)
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["model", "architecture", "scale"])]
    pub from: Option<Digest>,
    /// First model: a safetensors file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["architecture", "from"])]
    pub model: Option<PathBuf>,
    /// First model: softmax, or mlp:H with H hidden units, drawn from --seed
    #[arg(long, conflicts_with = "model", requires = "features", requires = "classes")]
    pub architecture: Option<Architecture>,
    /// Features of an example
    #[arg(long)]
    pub features: Option<usize>,
    #[arg(long)]
    pub classes: Option<usize>,
    /// S of the scale 2^−S, for all tensors or NAME=S for one; may be repeated
    #[arg(long, value_name = "[NAME=]S", value_parser = parse_scale)]
    pub scale: Vec<(Option<String>, u8)>,
    /// A tensor's policy, NAME=train or NAME=frozen; may be repeated
    #[arg(long, value_name = "NAME=POLICY", value_parser = parse_policy)]
    pub policy: Vec<(String, TensorPolicy)>,
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a positive number, got {text:?}"))
}

fn parse_delta(text: &str) -> Result<f64, String> {
    let delta = text.parse().ok().filter(|delta| (1e-30..1.0).contains(delta));
    delta.ok_or_else(|| format!("expected a probability such as 1e-5, below 1, got {text:?}"))
}

fn parse_schedule(text: &str) -> Result<Schedule, String> {
    let fault = || format!("expected ROUNDS:FACTOR such as 10:0.5, got {text:?}");
    let (rounds, factor) = text.split_once(':').ok_or_else(fault)?;
    let rounds = rounds.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(fault)?;
    let factor: f64 = factor.parse().map_err(|_| fault())?;
    if !(factor.is_finite() && factor > 0.0) {
        return Err(fault());
    }
    Ok(Schedule::Step { rounds, factor: Real::new(factor) })
}

pub fn parse_scale(text: &str) -> Result<(Option<String>, u8), String> {
    let (name, scale) = match text.rsplit_once('=') {
        Some((name, scale)) => (Some(name.to_string()), scale),
        None => (None, text),
    };
    match scale.parse() {
        Ok(scale) if scale <= limits::SCALE_MAX => Ok((name, scale)),
        _ => Err(format!("expected a scale from 0 to {}, got {scale:?}", limits::SCALE_MAX)),
    }
}

fn parse_policy(text: &str) -> Result<(String, TensorPolicy), String> {
    let (name, policy) = text.rsplit_once('=').unwrap_or((text, ""));
    let policy = match policy {
        "train" => TensorPolicy::Train,
        "frozen" => TensorPolicy::Frozen,
        "local" => TensorPolicy::Local,
        "buffer" => TensorPolicy::Buffer,
        _ => return Err(format!("expected NAME=train or NAME=frozen, got {text:?}")),
    };
    Ok((name.into(), policy))
}

/// Scales and policies from the command line.
pub fn import_settings(
    scales: &[(Option<String>, u8)],
    policies: &[(String, TensorPolicy)],
) -> ImportSettings {
    let mut settings = ImportSettings::default();
    for (name, scale) in scales {
        match name {
            Some(name) => _ = settings.scales.insert(name.clone(), *scale),
            None => settings.scale = *scale,
        }
    }
    settings.policies = policies.iter().cloned().collect::<BTreeMap<_, _>>();
    settings
}

impl ModelArgs {
    pub fn settings(&self) -> ImportSettings {
        import_settings(&self.scale, &self.policy)
    }

    /// Without `from`, from a file or an architecture.
    pub fn load(&self, seed: u64) -> Result<ImportedModel> {
        let settings = self.settings();
        match (&self.model, &self.architecture) {
            (Some(path), _) => Ok(import(path, &settings)?),
            (None, Some(architecture)) => {
                let (features, classes) = (self.features.unwrap_or(0), self.classes.unwrap_or(0));
                first_model(*architecture, features, classes, seed, &settings)
            }
            (None, None) => {
                Err(CliError::usage("no first model", "give --model or --architecture"))
            }
        }
    }
}

impl CreateArgs {
    fn regions(&self) -> Option<Regions> {
        let (sizes, merge_every) = (self.regions.clone(), self.region_merge_every);
        (!sizes.is_empty()).then_some(Regions { sizes, merge_every })
    }

    /// As many as the regions have, where that is not said.
    fn clusters(&self) -> u16 {
        match self.clusters {
            Some(clusters) => clusters,
            None if self.regions.is_empty() => 1,
            None => self.regions.iter().fold(0, |sum, size| sum.saturating_add(*size)),
        }
    }

    /// The first model as the task has it.
    pub fn prepared(&self, model: ImportedModel) -> Result<ImportedModel> {
        if !self.scaffold {
            return Ok(model);
        }
        let plain = self.rule == AggregationRule::Mean
            && self.mode == ModeChoice::Sync
            && self.server.is_none()
            && self.select.is_none();
        if !plain || self.model.from.is_some() {
            return Err(CliError::usage(
                "--scaffold goes with synchronous rounds that all take part in, the rule mean, no server optimiser and a first model that is none of the ledger's",
                "see `twinfold task create --help`",
            ));
        }
        model.with_controls()
    }

    pub fn options(&self) -> TaskOptions {
        TaskOptions {
            name: self.name.clone(),
            start: self.model.from.map(ModelId),
            description: self.description.clone(),
            clusters: self.clusters(),
            forming: self.form,
            participants_min: self.participants_min,
            participants_max: self.participants_max,
            weight_max: self.weight_max,
            merge_weight_max: self.merge_weight_max,
            clip: self.clip,
            norm_bound: self.norm_bound,
            mode: self.mode,
            staleness_max: self.staleness_max,
            compress: self.compress.unwrap_or(Compression::dense(if self.mask { 16 } else { 8 })),
            down: self.down,
            regions: self.regions(),
            clip_to_median: self.clip_to_median,
            cosine_min: self.cosine_min,
            rule: self.rule,
            server: self.server,
            merge_every: self.merge_every,
            merge_rule: self.merge_rule,
            rounds: self.rounds,
            assigned: self.assigned,
            selection: self.select,
            late: self.late,
            switch: self.switch,
            mask_range: self.mask.then_some(self.mask_range),
            noise: self.noise.zip(self.epsilon).map(|(multiplier, epsilon)| NoiseOptions {
                multiplier,
                epsilon,
                delta: self.delta,
            }),
            // Members named by name are looked up first.
            evaluation: None,
            contributions: self.contributions,
            deadline: self.deadline,
            extensions: self.extensions.unwrap_or(if self.mask { 0 } else { 3 }),
            retention: self.retention,
            work: match (self.steps, self.epochs) {
                (Some(steps), _) => LocalWork::Steps(steps),
                (None, epochs) => LocalWork::Epochs(epochs.unwrap_or(1)),
            },
            batch: self.batch,
            learning_rate: self.learning_rate,
            schedule: self.schedule.unwrap_or(Schedule::Constant),
            proximal: self.proximal,
            seed: self.seed,
            code: self.code,
        }
    }
}
