//! `twinfold train` as a process of its own, which a scene may kill.

use super::Lab;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// A trainer that does not outlive its scene.
pub struct Trainer(Child);

impl Lab {
    /// The program itself, not a wrapper: it is this process that dies.
    pub fn trainer(&self, name: &str, task: &str, data: &Path, more: &[&str]) -> Trainer {
        let child = Command::new(&self.network.programs().cli)
            .env("TWINFOLD_DIR", self.people())
            .args(["--node", &self.network.urls().join(",")])
            .args(["train", "--task", task, "--key", name, "--data"])
            .arg(data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        Trainer(child.expect("the program starts"))
    }
}

impl Trainer {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it ends by itself.
    pub fn succeeds(mut self) {
        assert!(self.0.wait().expect("it ends by itself").success());
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.kill();
    }
}
