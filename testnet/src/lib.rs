//! A network of real processes on one machine: the demonstration, and what
//! scenarios are played on.
//!
//! Nothing here is simulated. The launcher runs the programs `twinfold-node` and
//! `twinfold` that stand beside it, as an operator and a trainer would, and looks
//! at the network through its HTTP API only. Whatever way it ends (finished,
//! failed, interrupted, panicked), it leaves no process, port or temporary file
//! behind, unless told to keep the network.

pub mod args;
pub mod cleanup;
pub mod data;
pub mod faults;
pub mod folder;
pub mod learning;
pub mod network;
pub mod ports;
pub mod processes;
pub mod programs;
pub mod report;
pub mod run;
pub mod table;
pub mod trainers;
pub mod watch;
