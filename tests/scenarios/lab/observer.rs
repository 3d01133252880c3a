//! A node that comes later: an auditor's, or one of who wants to be a validator.

use super::{Lab, cli, members};
use std::{path::PathBuf, process::Command};
use twinfold_cli::client::Client;
use twinfold_testnet::ports;
use twinfold_types::{
    Action,
    genesis::GenesisValidator,
    member::{AdminAction, Member, Role},
};

pub struct Observer {
    pub name: String,
    pub dir: PathBuf,
    pub url: String,
    /// Its public entry.
    pub entry: GenesisValidator,
}

impl Observer {
    pub fn member(&self) -> Member {
        Member {
            key: self.entry.key,
            peer: Some(self.entry.peer.clone()),
            ..members::member(&self.name, "inspectorate", Role::Auditor)
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Lab {
    /// Makes the folder, lets an admin register the member, gives it the genesis file.
    pub fn admit_observer(&self) -> Observer {
        self.admit("observer")
    }

    /// The same for an auditor of another name.
    pub fn admit(&self, name: &str) -> Observer {
        let observer = self.make_node(name, "inspectorate");
        self.done("ann", Action::Propose(AdminAction::AddMember(observer.member())));
        observer
    }

    /// Makes the folder of a node that no member has yet, and gives it the genesis file.
    pub fn make_node(&self, name: &str, organisation: &str) -> Observer {
        let ports = ports::free(3).expect("free ports");
        let dir = self.folder().join(name);
        self.node_program(
            "init --dir {} --name {} --organisation {} --plain-keys \
             --http 127.0.0.1:{} --address /ip4/127.0.0.1/tcp/{} --payload-address /ip4/127.0.0.1/tcp/{}",
            &[&dir.display(), &name, &organisation, &ports[0], &ports[1], &ports[2]],
        )
        .ok();
        let entry = std::fs::read_to_string(dir.join("validator.json")).expect("its public entry");
        let entry = serde_json::from_str(&entry).expect("its public entry");
        std::fs::copy(self.network.genesis(), dir.join("genesis.json")).expect("its copy");
        Observer { name: name.into(), dir, url: format!("http://127.0.0.1:{}", ports[0]), entry }
    }

    /// Fetches a checkpoint, as another member's operator would, and configures the node to
    /// begin from it; the file.
    pub fn trust_checkpoint(&self, observer: &Observer) -> PathBuf {
        let file = observer.dir.join("checkpoint.json");
        let genesis = self.network.genesis().display().to_string();
        let said =
            self.node_program("checkpoint --node {} --genesis {}", &[&self.url(1), &genesis]);
        assert_eq!(said.code, Some(0), "{said:#?}");
        assert!(said.err.contains("fingerprint"), "{said:#?}");
        std::fs::write(&file, &said.out).expect("the file");
        let join = "[join]\ncheckpoint = \"checkpoint.json\"\n\n[retention]";
        self.configure(&observer.dir, &[("[retention]", join)]);
        file
    }

    pub fn start_observer(&self, observer: &Observer) -> Client {
        let mut command = Command::new(&self.network.programs().node);
        command.arg("start").arg("--config").arg(observer.dir.join("config.toml"));
        let log = observer.dir.join("log");
        self.network.processes().start(&observer.name, &mut command, &log).expect("it starts");
        self.client_at(&observer.url)
    }

    /// The node's program on a folder that it is expected to refuse.
    pub fn refuses_to_start(&self, dir: &std::path::Path) -> cli::Said {
        self.node_program("start --config {}", &[&dir.join("config.toml").display()])
    }
}
