//! A data set of a gibibyte that grows by a hundredth, in its middle: what is sent and stored for it.

use super::{LARGE_BYTES, payload, setup, stored_bytes};
use crate::{
    lab::{Lab, Running},
    report::{Line, Report},
};
use color_eyre::eyre::Result;
use std::{path::Path, time::Instant};
use twinfold_cli::dataset::{Appending, append};
use twinfold_types::{
    Action,
    api::Level,
    dataset::{AppendRule, DatasetAction, DatasetSpec},
};

const NAME: &str = "bench";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub fn run(report: &mut Report, lab: &mut Lab) -> Result<()> {
    let running = lab.network(&setup())?;
    let client = running.client_at(0)?;
    let spec = DatasetSpec {
        name: NAME.into(),
        description: String::new(),
        licence: "CC0-1.0".into(),
        rule: AppendRule::Owner,
    };
    let create = Action::Dataset(DatasetAction::Create(spec));
    client.submit(running.admin()?, create, Level::Executed, PATIENCE)?;
    let file = payload(&running, LARGE_BYTES, 11)?;
    let first = version(report, &running, &file, "a data set of 1 GiB")?;
    let mut content = std::fs::read(&file)?;
    let (middle, more) = (content.len() / 2, content.len() / 100);
    let grown: Vec<u8> = content[..more].iter().map(|byte| byte ^ 0x5a).collect();
    content.splice(middle..middle, grown);
    std::fs::write(&file, content)?;
    let second = version(report, &running, &file, "1 % put into its middle")?;
    let work = "1 % put into its middle";
    let line = |metric: &str, value: f64| Line::new("blob", work, metric, value * 100.0, "%");
    report.line(line("sent, of the first", second.sent / first.sent).reaching(2.0, false))?;
    report.line(line("stored, of the first", second.stored / first.stored).reaching(2.0, false))?;
    running.end()
}

struct Cost {
    sent: f64,
    stored: f64,
}

/// Appends the file as the newest version.
fn version(report: &mut Report, running: &Running, file: &Path, work: &str) -> Result<Cost> {
    let client = running.client_at(0)?;
    let dataset = client.dataset(NAME)?.dataset;
    let newest = client.dataset_versions(NAME, None, 1)?.into_iter().next();
    let folder = running.folder().join("appending");
    std::fs::create_dir_all(&folder)?;
    let (stored, started) = (stored_bytes(running)?, Instant::now());
    let appending = Appending {
        dataset: &dataset,
        parent: newest.as_ref(),
        file,
        media_type: Some("application/octet-stream".into()),
        folder: &folder,
        timeout: PATIENCE,
    };
    append(&client, running.admin()?, &appending, &|_, _| {})?;
    let seconds = started.elapsed().as_secs_f64();
    // The last fragments may still be on their way.
    std::thread::sleep(std::time::Duration::from_secs(5));
    report.line(Line::new("blob", work, "appended, until executed", seconds, "s"))?;
    let stored = (stored_bytes(running)? - stored) as f64;
    Ok(Cost { sent: client.bytes_sent() as f64, stored })
}
