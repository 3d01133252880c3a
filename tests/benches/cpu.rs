//! CPU time of processes, from /proc: user and system, all threads, those that
//! ended included. The kernel counts in hundredths of a second.

use color_eyre::eyre::{Result, WrapErr, eyre};

const TICKS_PER_SECOND: f64 = 100.0;

pub fn of_process(id: u32) -> Result<f64> {
    let path = format!("/proc/{id}/stat");
    let text = std::fs::read_to_string(&path).wrap_err_with(|| format!("cannot read {path}"))?;
    // The name in parentheses may hold anything; user and system time are the
    // twelfth and thirteenth fields after it.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    let mut fields = fields.ok_or_else(|| eyre!("{path} has no process name"))?.skip(11);
    let mut ticks = || -> Result<f64> {
        let field = fields.next().ok_or_else(|| eyre!("{path} is too short"))?;
        Ok(field.parse()?)
    };
    Ok((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

pub fn of_this_process() -> Result<f64> {
    of_process(std::process::id())
}

pub fn of_all(ids: &[u32]) -> Result<f64> {
    ids.iter().map(|id| of_process(*id)).sum()
}
