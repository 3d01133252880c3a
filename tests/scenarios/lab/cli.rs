//! The `twinfold` program as a person uses it.

use super::Lab;
use std::{
    path::Path,
    process::{Command, Output},
};

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub line: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Lab {
    /// Runs a command line: words between spaces, `{}` in turn replaced by the values.
    /// All nodes are tried; keys are those of the people, ann's where none is named.
    pub fn twinfold(&self, line: &str, values: &[&dyn std::fmt::Display]) -> Said {
        let mut command = self.command(line, values);
        run(&mut command)
    }

    pub fn command(&self, line: &str, values: &[&dyn std::fmt::Display]) -> Command {
        let mut command = bounded(&self.network.programs().cli);
        command
            .env("TWINFOLD_NODE", self.network.urls().join(","))
            .env("TWINFOLD_DIR", self.people())
            .env("TWINFOLD_GENESIS", self.network.genesis())
            .env("TWINFOLD_KEY", "ann")
            .args(words(line, values));
        command
    }

    /// Runs the node's program.
    pub fn node_program(&self, line: &str, values: &[&dyn std::fmt::Display]) -> Said {
        run(bounded(&self.network.programs().node).args(words(line, values)))
    }
}

/// The program, ended by force should it hang; nothing of our environment speaks to it.
pub fn bounded(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TWINFOLD_")) {
        command.env_remove(name);
    }
    command
}

fn words(line: &str, values: &[&dyn std::fmt::Display]) -> Vec<String> {
    let mut values = values.iter();
    let fill = |word: &str| {
        let mut word = word.to_string();
        while let Some(at) = word.find("{}") {
            let value = values.next().expect("a value for each {}").to_string();
            word.replace_range(at..at + 2, &value);
        }
        word
    };
    line.split_whitespace().map(fill).collect()
}

pub fn run(command: &mut Command) -> Said {
    let line: Vec<_> = command.get_args().skip(2).map(|word| word.to_string_lossy()).collect();
    let line = line.join(" ");
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { line, code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Said {
    /// It ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}: {self:#?}", self.line);
        self
    }

    /// It ended with this code, and named the cause in these words.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not named: {self:#?}");
        }
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }

    /// The document on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
