//! What is done whichever way the launcher ends. A signal is handled on a thread of
//! its own, so that it is heard while the main one computes or waits.

use crate::{folder::Folder, processes::Processes};
use color_eyre::eyre::{Result, WrapErr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};

/// Kills the processes and removes the folder when dropped, unless told otherwise.
pub struct Cleanup(Arc<Mutex<Duty>>);

struct Duty {
    processes: Processes,
    folder: Option<Folder>,
}

impl Cleanup {
    pub fn new(processes: Processes, folder: Folder) -> Self {
        Self(Arc::new(Mutex::new(Duty { processes, folder: Some(folder) })))
    }

    /// From now on an interrupt or a request to end cleans up and exits.
    pub fn on_signals(&self) -> Result<()> {
        let duty = self.0.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .wrap_err("cannot listen for signals")?;
        std::thread::spawn(move || {
            let code = runtime.block_on(first_signal());
            carry_out(&duty);
            std::process::exit(code);
        });
        Ok(())
    }

    /// Only the processes are ended; the folder stays for whoever wants to look.
    pub fn keep_folder(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).folder = None;
    }

    /// The network is to outlive us.
    pub fn release(&self) {
        self.keep_folder();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).processes.leave_running();
    }

    pub fn run(&self) {
        carry_out(&self.0);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.run();
    }
}

/// A second caller waits for the first and finds nothing left to do.
fn carry_out(duty: &Mutex<Duty>) {
    let mut duty = duty.lock().unwrap_or_else(PoisonError::into_inner);
    duty.processes.close();
    if let Some(folder) = duty.folder.take()
        && let Err(error) = folder.remove()
    {
        eprintln!("could not remove {}: {error}", folder.path().display());
    }
}

/// Waits for a signal to end; the exit code that a shell expects for it.
async fn first_signal() -> i32 {
    let listen = |kind| signal(kind);
    let streams = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = streams else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{path::Path, process::Command};

    #[test]
    fn a_panic_leaves_neither_process_nor_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(Some(&outer.path().join("network"))).unwrap();
        let processes = Processes::default();
        let mut sleep = Command::new("sleep");
        let log = folder.path().join("log");
        let id = processes.start("one", sleep.arg("600"), &log).unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _cleanup = Cleanup::new(processes.clone(), folder.clone());
            panic!("planned");
        }));
        assert!(caught.is_err() && !folder.path().exists());
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
