//! `twinfold task clusters`: who is in which cluster, in a task that forms them.

use super::{Context, member::name_of};
use crate::{
    error::{CliError, Result},
    render::table,
};
use twinfold_types::task::forming::Formed;

pub fn list(context: &Context, task: &str) -> Result<()> {
    let client = context.client()?;
    let Some(by) = client.task(task)?.spec.forming else {
        return Err(CliError::failed(
            format!("trainers of task {task:?} choose their clusters"),
            "the ledger forms them where the task is created with `--form`",
        ));
    };
    let mut formed = client.formed(task)?;
    formed.sort_by_key(|one| (one.cluster, one.trainer));
    let members = client.members()?;
    context.output.show(&formed, || {
        let row = |one: &Formed| {
            let labels: Vec<_> = one.profile.labels.iter().map(u32::to_string).collect();
            [
                one.cluster.to_string(),
                name_of(&members, &one.trainer),
                one.profile.examples.to_string(),
                format!("{} ms", one.profile.latency_ms),
                labels.join(" "),
            ]
        };
        let header = ["cluster", "trainer", "examples", "latency", "labels"];
        format!(
            "formed by {by}, from what trainers say\n{}",
            table(&header, formed.iter().map(row))
        )
    })
}
