//! `twinfold task masking`: a masked round's members and how far it is.

use super::{Context, member::name_of};
use crate::{
    error::{CliError, Result},
    render::table,
    update::cluster_of,
    verify::prove_masking,
};
use clap::Args;
use twinfold_types::{
    ClusterId, RoundNumber,
    round::RoundKey,
    task::masks::{MaskStage, Masker, Masking},
};

#[derive(Debug, Args)]
pub struct MaskingArgs {
    /// Identity or name of the task
    pub task: String,
    #[arg(long, value_name = "C", default_value_t = 0)]
    pub cluster: u16,
    /// [default: the one that collects now]
    #[arg(long, value_name = "R")]
    pub round: Option<u64>,
}

pub fn show(context: &Context, args: &MaskingArgs) -> Result<()> {
    let client = context.client()?;
    let task = client.task(&args.task)?;
    if task.spec.masks.is_none() {
        return Err(CliError::failed(
            format!("the updates of task {:?} are not masked", task.spec.name),
            "a task masks them where it is created with `--mask`",
        ));
    }
    let cluster = cluster_of(&task, ClusterId(args.cluster))?;
    let round = args.round.map_or(cluster.round, RoundNumber);
    let key = RoundKey { task: task.id, cluster: cluster.cluster, round };
    if client.masking(&key)?.is_none() {
        return Err(CliError::failed(
            format!("nobody has joined round {round} yet"),
            "trainers join with `twinfold train`; earlier rounds: --round",
        ));
    }
    let masking = prove_masking(&client, &key, context.global.timeout)?;
    let members = client.members()?;
    context.output.show(&masking, || {
        let mark = |done: bool| String::from(if done { "yes" } else { "–" });
        let row = |one: &Masker| {
            [name_of(&members, &one.trainer), mark(one.dealt), mark(one.sent), mark(one.released)]
        };
        let rows = table(
            &["member", "dealt", "update in the list", "released"],
            masking.members.iter().map(row),
        );
        format!("{}\n{rows}", head(&masking))
    })
}

fn head(masking: &Masking) -> String {
    let Masking { round, stage, members, .. } = masking;
    format!(
        "round {} of cluster {}: {}; {} members, shares of {} unmask the sum (certified)",
        round.round,
        round.cluster,
        stage_text(*stage),
        members.len(),
        masking.threshold()
    )
}

/// A stage as it is told.
pub fn stage_text(stage: MaskStage) -> &'static str {
    match stage {
        MaskStage::Joining => "trainers join",
        MaskStage::Dealing => "members share their secrets",
        MaskStage::Updating => "members train and send masked updates",
        MaskStage::Releasing => "the list is final, members release shares",
        MaskStage::Unmasked => "the sum is unmasked",
    }
}
