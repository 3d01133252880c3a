//! A Twinfold node: agreement, execution, payloads, folding and the HTTP API around
//! the pure crates. The binary is `twinfold-node`.

pub mod api;
pub mod args;
pub mod assembler;
pub mod blobs;
pub mod clock;
pub mod config;
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
pub mod journal;
pub mod keys;
pub mod metrics;
pub mod network;
pub mod node;
pub mod pool;
pub mod proposals;
pub mod router;
pub mod spread;
pub mod start;
pub mod verified;

pub use node::Node;
