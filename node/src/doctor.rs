//! `twinfold-node doctor`: asks running nodes why the network stands still, and says it in words.

use crate::{args::Doctor, ask, config::Config};
use color_eyre::eyre::ensure;
use twinfold_types::api::DiagnosisView;

/// Fails when a node could not be asked, or found something.
pub fn run(args: &Doctor) -> color_eyre::Result<()> {
    let (nodes, certificate) = match &args.config {
        Some(path) => {
            let (node, certificate) = ask::of_config(&Config::read(path)?);
            (vec![node], certificate)
        }
        None => (args.node.clone(), None),
    };
    let agent = ask::agent(args.ca.as_deref().or(certificate.as_deref()))?;
    let mut ill = 0;
    for node in &nodes {
        match ask::get::<DiagnosisView>(&agent, node, "/v1/diagnosis") {
            Ok(view) => {
                ill += usize::from(!view.findings.is_empty());
                tell(node, &view, args.json)?;
            }
            Err(error) => {
                ill += 1;
                eprintln!("{node}\n  ✗ {error:#}");
            }
        }
    }
    ensure!(ill == 0, "{ill} of {} nodes asked have findings or do not answer", nodes.len());
    Ok(())
}

fn tell(node: &str, view: &DiagnosisView, json: bool) -> color_eyre::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, view)?;
        writeln!(out)?;
        return Ok(());
    }
    let DiagnosisView { committed, executed, stable, leader, .. } = view;
    writeln!(out, "{node}\n  {}; leader {leader}", view.doing)?;
    writeln!(out, "  committed {committed}, executed {executed}, stable checkpoint {stable}")?;
    match view.findings.is_empty() {
        true => writeln!(out, "  ✓ nothing is wrong")?,
        false => view.findings.iter().try_for_each(|found| writeln!(out, "  ✗ {found}"))?,
    }
    Ok(())
}
