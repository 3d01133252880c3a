//! A Twinfold node: agreement, execution, payloads, folding and the HTTP API around
//! the pure crates. The binary is `twinfold-node`.

pub mod accuser;
pub mod answers;
pub mod api;
pub mod args;
pub mod ask;
pub mod assembler;
pub mod audit;
pub mod blobs;
pub mod checkpoint;
pub mod clock;
pub mod completer;
pub mod config;
pub mod declare;
pub mod diagnosis;
pub mod diverge;
pub mod doctor;
pub mod driver;
pub mod executor;
pub mod explorer;
pub mod folder;
pub mod folding;
pub mod genesis_file;
pub mod id_map;
pub mod init;
pub mod join;
pub mod journal;
pub mod keys;
pub mod metrics;
pub mod network;
pub mod node;
pub mod parts;
pub mod pool;
pub mod proposals;
pub mod pruning;
pub mod recover;
pub mod rotation;
pub mod router;
pub mod scrub;
pub mod seat_keys;
pub mod spread;
pub mod stake_rules;
pub mod start;
pub mod verified;

pub use node::Node;
