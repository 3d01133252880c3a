//! `twinfold task privacy`: what each trainer's updates have revealed, and what is left.

use super::{Context, member::name_of};
use crate::{
    error::{CliError, Result},
    render::table,
};
use serde::Serialize;
use twinfold_types::{
    PublicKey,
    api::PrivacyView,
    task::{Noise, TaskSpec, noise::RHO_ONE},
};

#[derive(Debug, Serialize)]
struct SpentView {
    trainer: PublicKey,
    rho: f64,
    /// At the task's δ.
    epsilon: f64,
    rounds_left: u64,
}

#[derive(Debug, Serialize)]
struct TaskPrivacyView {
    delta: f64,
    epsilon_of_a_round: f64,
    epsilon_budget: f64,
    trainers: Vec<SpentView>,
}

pub fn list(context: &Context, task: &str) -> Result<()> {
    let client = context.client()?;
    let found = client.task(task)?;
    let Some(noise) = found.spec.noise() else {
        return Err(CliError::failed(
            format!("task {task:?} asks for no noise: nothing bounds what its models reveal"),
            "noise is asked for where the task is created, with `--mask --noise Z --epsilon E`",
        ));
    };
    let cost = found.spec.round_cost();
    let spent = |row: PrivacyView| SpentView {
        trainer: row.trainer,
        rho: row.spent as f64 / RHO_ONE as f64,
        epsilon: noise.epsilon(row.spent),
        rounds_left: noise.budget.saturating_sub(row.spent) / cost,
    };
    let view = TaskPrivacyView {
        delta: noise.delta(),
        epsilon_of_a_round: noise.epsilon(cost),
        epsilon_budget: noise.epsilon(noise.budget),
        trainers: client.privacy(task)?.into_iter().map(spent).collect(),
    };
    let members = client.members()?;
    context.output.show(&view, || {
        let row = |row: &SpentView| {
            [
                name_of(&members, &row.trainer),
                format!("{:.3}", row.epsilon),
                format!("{:.6}", row.rho),
                row.rounds_left.to_string(),
            ]
        };
        let rows = table(&["trainer", "ε", "ρ", "rounds left"], view.trainers.iter().map(row));
        format!("{}; as trainers declare it\n{rows}", noise_text(&found.spec, &noise))
    })
}

/// What a round and a task may reveal.
pub fn noise_text(spec: &TaskSpec, noise: &Noise) -> String {
    let cost = spec.round_cost();
    format!(
        "a round costs ε = {:.3}, a trainer may spend {:.3} ({} rounds), at δ = {:.1e}",
        noise.epsilon(cost),
        noise.epsilon(noise.budget),
        noise.budget / cost.max(1),
        noise.delta()
    )
}
