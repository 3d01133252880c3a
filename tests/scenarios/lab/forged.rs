//! A past for the network: a chain made directly by the ledger, from which its nodes start.

use super::Lab;
use std::time::Duration;
use twinfold_node::keys::NodeKeys;
use twinfold_tests::forge::Forge;
use twinfold_types::{TimeMs, genesis::Genesis};

impl Lab {
    /// Begins the chain so long ago. None of the nodes may have started.
    pub fn forge(&self, ago: Duration) -> Forge {
        let now = twinfold_cli::client::now();
        let start = TimeMs(now.0 - ago.as_millis() as u64);
        self.change_genesis(&[0, 1, 2, 3], |genesis| genesis.time = start);
        let genesis = self.genesis();
        let keys = |index| NodeKeys::read(&self.folder_of(index).join("keys"), None);
        let keys = (0..4).map(|index| keys(index).expect("plain keys").consensus).collect();
        Forge::new(&self.folder().join("forged"), &genesis, keys)
    }

    /// The shared file.
    pub fn genesis(&self) -> Genesis {
        let text = std::fs::read_to_string(self.network.genesis()).expect("the genesis file");
        serde_json::from_str(&text).expect("the genesis file")
    }

    /// All four validators start from what was forged.
    pub fn give(&self, forge: Forge) {
        let data: Vec<_> = (0..4).map(|index| self.folder_of(index).join("data")).collect();
        forge.give_to(&data);
    }

    /// Changes a node's configuration, as its operator would.
    pub fn configure(&self, dir: &std::path::Path, changes: &[(&str, &str)]) {
        let path = dir.join("config.toml");
        let mut text = std::fs::read_to_string(&path).expect("the configuration");
        for (old, new) in changes {
            assert!(text.contains(old), "{old:?} is not in the configuration");
            text = text.replacen(old, new, 1);
        }
        std::fs::write(&path, text).expect("the configuration");
    }
}
