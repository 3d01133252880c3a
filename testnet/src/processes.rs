//! The processes that the launcher started. Whoever ends first, none is left: they
//! are killed and waited for when the registry is closed, which happens on a
//! signal, on an error and on a panic alike. Once closed it starts nothing more,
//! so that a signal and a start cannot miss each other.

use color_eyre::eyre::{Result, WrapErr, bail};
use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Clone, Default)]
pub struct Processes(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    closed: bool,
    running: Vec<Running>,
}

struct Running {
    name: String,
    child: Child,
}

/// What became of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Running,
    Ended(ExitStatus),
    /// Never started, or already removed.
    Unknown,
}

impl Processes {
    /// Starts a command in a process group of its own (a Ctrl-C on the terminal is the
    /// launcher's to handle), with its output in a log file.
    pub fn start(&self, name: &str, command: &mut Command, log: &Path) -> Result<u32> {
        let output = log_file(log)?;
        let errors = output.try_clone()?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let mut registry = self.lock();
        if registry.closed {
            bail!("stopped while {name} was about to start");
        }
        registry.running.retain(|running| running.name != name);
        let child = command.spawn().wrap_err_with(|| format!("cannot start {name}"))?;
        let id = child.id();
        registry.running.push(Running { name: name.into(), child });
        Ok(id)
    }

    pub fn fate(&self, name: &str) -> Result<Fate> {
        let mut registry = self.lock();
        let Some(running) = registry.running.iter_mut().find(|running| running.name == name) else {
            return Ok(Fate::Unknown);
        };
        Ok(running.child.try_wait()?.map_or(Fate::Running, Fate::Ended))
    }

    /// Kills a process as a power cut would, and waits until it is gone.
    pub fn kill(&self, name: &str) -> Result<()> {
        let mut registry = self.lock();
        if let Some(at) = registry.running.iter().position(|running| running.name == name) {
            end(&mut registry.running.remove(at).child);
        }
        Ok(())
    }

    /// Kills everything and refuses every later start.
    pub fn close(&self) {
        let mut registry = self.lock();
        registry.closed = true;
        for running in &mut registry.running {
            let _ = running.child.kill();
        }
        for running in &mut registry.running {
            let _ = running.child.wait();
        }
        registry.running.clear();
    }

    /// Lets go of the processes: they outlive the launcher.
    pub fn leave_running(&self) {
        self.lock().running.clear();
    }

    /// Names and ids of what runs.
    pub fn ids(&self) -> Vec<(String, u32)> {
        let registry = self.lock();
        registry.running.iter().map(|running| (running.name.clone(), running.child.id())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // A panic elsewhere must not keep us from killing the children.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn log_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.create(true).append(true).open(path);
    file.wrap_err_with(|| format!("cannot write the log {}", path.display()))
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    #[test]
    fn a_closed_registry_leaves_nothing_running_and_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let processes = Processes::default();
        let id = processes.start("one", &mut sleeper(), &log).unwrap();
        assert_eq!(processes.fate("one").unwrap(), Fate::Running);
        processes.close();
        assert!(!Path::new(&format!("/proc/{id}")).exists());
        assert!(processes.start("two", &mut sleeper(), &log).is_err());
    }
}
