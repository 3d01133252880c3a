//! Scenes of the ledger: what each action does and refuses, the life of rounds,
//! proofs, crashes and damaged folders.

mod asynchronous;
mod blocks;
mod crash;
mod damage;
mod golden;
mod kit;
mod members;
mod models;
mod proofs;
mod rounds;
mod tasks;
