//! `twinfold-node doctor`: asks running nodes why the network stands still, and says it in words.

use crate::{args::Doctor, config::Config};
use color_eyre::eyre::{WrapErr, bail, ensure};
use std::{path::Path, sync::Arc, time::Duration};
use twinfold_types::api::DiagnosisView;
use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Fails when a node could not be asked, or found something.
pub fn run(args: &Doctor) -> color_eyre::Result<()> {
    let (nodes, certificate) = match &args.config {
        Some(path) => of_config(path)?,
        None => (args.node.clone(), None),
    };
    let agent = agent(args.ca.as_deref().or(certificate.as_deref()))?;
    let mut ill = 0;
    for node in &nodes {
        match ask(&agent, node) {
            Ok(view) => {
                ill += usize::from(!view.findings.is_empty());
                tell(node, &view, args.json)?;
            }
            Err(error) => {
                ill += 1;
                eprintln!(
                    "{node}\n  ✗ does not answer: {error:#}. Is it running, and is this its http.listen?"
                );
            }
        }
    }
    ensure!(ill == 0, "{ill} of {} nodes asked have findings or do not answer", nodes.len());
    Ok(())
}

fn of_config(path: &Path) -> color_eyre::Result<(Vec<String>, Option<std::path::PathBuf>)> {
    let config = Config::read(path)?;
    let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
    Ok((vec![format!("{scheme}://{}", config.http.listen)], config.http.tls_certificate))
}

pub fn agent(ca: Option<&Path>) -> color_eyre::Result<Agent> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = ca {
        let pem =
            std::fs::read(path).wrap_err_with(|| format!("cannot read {}", path.display()))?;
        let items = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let certificates: Vec<_> = items.collect();
        if certificates.is_empty() {
            bail!("{} holds no certificate (PEM is expected)", path.display());
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
    }
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .tls_config(tls.build());
    Ok(config.build().into())
}

fn ask(agent: &Agent, node: &str) -> color_eyre::Result<DiagnosisView> {
    let url = format!("{}/v1/diagnosis", node.trim_end_matches('/'));
    let mut answer = agent.get(url).call()?;
    let bytes = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    serde_json::from_slice(&bytes).wrap_err("the answer is no diagnosis")
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
