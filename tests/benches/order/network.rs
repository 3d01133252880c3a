//! Four nodes of the bench, each a process, and what they saw together.

use super::protocol::{Run, Seen, Setup};
use crate::lab::{Lab, VALIDATORS};
use color_eyre::eyre::{Result, WrapErr, ensure, eyre};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};
use twinfold_testnet::folder::Folder;

pub struct Nodes {
    nodes: Vec<Node>,
    folder: Folder,
}

struct Node {
    child: Child,
    /// Closed first: a node ends when its parent is gone.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Senders of each node: a member may have 2,000 transactions waiting.
const SENDERS: usize = 8;

impl Nodes {
    pub fn start(lab: &mut Lab, executes: bool) -> Result<Self> {
        let (network, admins) = lab.formed(SENDERS * VALIDATORS)?;
        let mut nodes = Vec::with_capacity(VALIDATORS);
        for (node, senders) in network.nodes().iter().zip(admins.chunks(SENDERS)) {
            let dir = network.folder().path().join(&node.name);
            let senders = senders.iter().map(|key| *key.seed()).collect();
            let setup = Setup { config: dir.join("config.toml"), executes, senders };
            nodes.push(Node::start(&setup, &dir.join("log"))?);
        }
        for node in &mut nodes {
            node.hear::<()>().wrap_err("a node did not start; its log is in its folder")?;
        }
        Ok(Self { nodes, folder: network.folder().clone() })
    }

    /// Runs the same on all nodes at once.
    pub fn run(&mut self, run: &Run) -> Result<Vec<Seen>> {
        for node in &mut self.nodes {
            node.say(run)?;
        }
        for node in &mut self.nodes {
            node.hear::<()>()?;
        }
        for node in &mut self.nodes {
            node.say(&())?;
        }
        self.nodes.iter_mut().map(Node::hear).collect()
    }

    pub fn end(self) -> Result<()> {
        let folder = self.folder.clone();
        drop(self);
        folder.remove().wrap_err("cannot remove a network's folder")
    }
}

impl Node {
    fn start(setup: &Setup, log: &Path) -> Result<Self> {
        let log = File::create(log).wrap_err("cannot make a node's log")?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(super::NODE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .wrap_err("cannot start a node")?;
        let no_pipe = || eyre!("a node without pipes");
        let input = child.stdin.take().ok_or_else(no_pipe)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
        let mut node = Self { child, input, output };
        node.say(setup)?;
        Ok(node)
    }

    fn say<T: Serialize>(&mut self, value: &T) -> Result<()> {
        writeln!(self.input, "{}", serde_json::to_string(value)?)?;
        Ok(self.input.flush()?)
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "a node of the bench has ended");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is to be said of a process that has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
