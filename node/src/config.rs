//! The node's configuration: TOML, where a wrong key or value is named with its
//! line. Relative paths are relative to the file's folder.

use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use twinfold_types::limits;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Genesis file that all operators share.
    pub genesis: PathBuf,
    /// Folder of the ledger, the journal and the payloads.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    pub keys: Keys,
    #[serde(default)]
    pub http: Http,
    pub network: Network,
    /// Where a new node begins, when not at genesis.
    pub join: Option<Join>,
    #[serde(default)]
    pub retention: Retention,
    #[serde(default)]
    pub scrub: Scrub,
    #[serde(default)]
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub dir: PathBuf,
    /// File with the passphrase; otherwise `TWINFOLD_PASSPHRASE` or a prompt.
    pub passphrase_file: Option<PathBuf>,
    /// A new consensus key every so many epochs; 0 for never.
    #[serde(default = "default_rotation")]
    pub rotate_epochs: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub listen: SocketAddr,
    /// PEM files; both or none.
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// Requests that one client address may make a second, on average.
    pub requests_per_second: u32,
    /// Who may read payloads and models here.
    pub content: Content,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Whoever signs the request with a member's key.
    #[default]
    Members,
    /// Whoever reaches this address.
    Public,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Multiaddresses to listen on.
    pub listen: String,
    pub payload_listen: String,
    /// Where members' nodes are dialled, when not where genesis or the chain says; and whom to
    /// ask when those that genesis names are gone.
    #[serde(default)]
    pub peers: Vec<PeerAddress>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerAddress {
    pub peer: String,
    pub address: String,
    pub payload_address: String,
}

/// Beginning from a checkpoint instead of from genesis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// File that `twinfold-node checkpoint` wrote, or one that admins state.
    pub checkpoint: PathBuf,
    /// Only one that as many of genesis' admins state as a proposal needs.
    #[serde(default)]
    pub stated: bool,
    /// Also one whose signers may have nothing to lose any more.
    #[serde(default)]
    pub allow_old: bool,
}

/// How long old blocks stay. Without a word of the operator's nothing goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    pub archive: bool,
    /// Kept below the newest stable checkpoint, and by age; whatever either covers stays.
    pub blocks: u64,
    pub days: u64,
}

/// How stored bytes are read again, to find what the disk lost while others still have it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrub {
    /// 0: never.
    pub bytes_per_second: u64,
    /// From the end of one pass to the next.
    pub pause_seconds: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
    /// Folder of what the database writes about itself; not among the data.
    pub dir: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7780)),
            tls_certificate: None,
            tls_key: None,
            requests_per_second: 1_000,
            content: Content::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { archive: true, blocks: 100_000, days: 30 }
    }
}

impl Retention {
    /// None where everything stays.
    pub fn limits(&self) -> Option<twinfold_ledger::Retention> {
        let age_ms = self.days.saturating_mul(24 * 3_600 * 1_000);
        let limits = twinfold_ledger::Retention { heights: self.blocks, age_ms };
        (!self.archive).then_some(limits)
    }
}

impl Default for Scrub {
    fn default() -> Self {
        Self { bytes_per_second: 4_000_000, pause_seconds: 24 * 3_600 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info,libp2p_swarm=warn".into(),
            format: LogFormat::Human,
            dir: "database-log".into(),
        }
    }
}

fn default_rotation() -> u64 {
    30
}

fn default_data() -> PathBuf {
    "data".into()
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("the configuration {}: {error}", path.display())]
    Parse { path: PathBuf, error: Box<toml::de::Error> },
    #[error(
        "the configuration {}: {found} entries of network.peers; at most {max} are taken: members \
         are also found by genesis and by what validators declare",
        path.display(), max = limits::SEATS_MAX
    )]
    Peers { path: PathBuf, found: usize },
    #[error("the configuration {}: http.tls_certificate and http.tls_key go together", .0.display())]
    Tls(PathBuf),
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.into(), error })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.into(), error: Box::new(error) })?;
        let found = config.network.peers.len();
        if found > limits::SEATS_MAX {
            return Err(ConfigError::Peers { path: path.into(), found });
        }
        if config.http.tls_certificate.is_some() != config.http.tls_key.is_some() {
            return Err(ConfigError::Tls(path.into()));
        }
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.genesis, &mut self.data, &mut self.keys.dir, &mut self.log.dir] {
            *path = folder.join(&*path);
        }
        if let Some(join) = &mut self.join {
            join.checkpoint = folder.join(&join.checkpoint);
        }
        let optional = [
            &mut self.keys.passphrase_file,
            &mut self.http.tls_certificate,
            &mut self.http.tls_key,
        ];
        for path in optional.into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    /// The file that `init` writes.
    pub fn template(http: SocketAddr, listen: &str, payload: &str, passphrase: &str) -> String {
        format!(
            r#"# Configuration of twinfold-node. Paths are relative to this file.

# The genesis file that all operators share; compare `genesis check` with theirs.
genesis = "genesis.json"
# Ledger, journal of votes, payloads. Never restore a validator's from a copy.
data = "data"

[keys]
dir = "keys"
{passphrase}
# A validator's consensus key is drawn anew every so many epochs, the old one erased; 0: never.
rotate_epochs = 30

[http]
# The API and the start page. Anything but loopback should have TLS.
listen = "{http}"
# tls_certificate = "certificate.pem"
# tls_key = "key.pem"
requests_per_second = 1000
# Who may read payloads and models here: "members", who sign their requests, or "public".
content = "members"

[network]
# Votes and blocks, and payloads on a connection of their own.
listen = "{listen}"
payload_listen = "{payload}"
# Where a member's node is dialled when not where genesis says. One that came after genesis is
# dialled, and asked by a node that joins, if it stands here:
# [[network.peers]]
# peer = "12D3Koo…"
# address = "/ip4/10.0.0.7/tcp/7781"
# payload_address = "/ip4/10.0.0.7/tcp/7782"

# A new node may begin from a checkpoint that its operator trusts, instead of from genesis. With
# stated = true only one that the admins have signed (`twinfold checkpoint`) will do:
# [join]
# checkpoint = "checkpoint.json"
# stated = true

[retention]
# true: every block stays, for auditors and for nodes that start from genesis. false: a block goes
# once it is further back than `blocks` and older than `days`, never one that a task's retention covers.
archive = true
blocks = 100000
days = 30

[scrub]
# Payloads, models and blocks are read again this fast, to find what the disk has lost while others
# still have it; 0: never. The pause is from the end of one pass to the next.
bytes_per_second = 4000000
pause_seconds = 86400

[log]
# error, warn, info, debug, trace; or by module: "info,twinfold_node::driver=debug"
filter = "info,libp2p_swarm=warn"
# human or json
format = "human"
# What the database writes about itself.
dir = "database-log"
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> String {
        let http = SocketAddr::from(([127, 0, 0, 1], 1));
        Config::template(http, "/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/tcp/3", "")
    }

    #[test]
    fn the_template_parses() {
        let config: Config = toml::from_str(&template()).unwrap();
        assert_eq!(config.http.listen.port(), 1);
    }

    #[test]
    fn nothing_goes_unless_the_operator_says_so() {
        assert_eq!(Retention::default().limits(), None);
        let text = template().replace("archive = true", "archive = false");
        let config: Config = toml::from_str(&text).unwrap();
        let limits = config.retention.limits().unwrap();
        assert_eq!((limits.heights, limits.age_ms), (100_000, 30 * 86_400_000));
    }

    #[test]
    fn a_typo_is_named_with_its_line() {
        let text = template().replace("requests_per_second", "requests_per_secnd");
        let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
        assert!(error.contains("requests_per_secnd") && error.contains("line"), "{error}");
    }
}
