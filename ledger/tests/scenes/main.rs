//! Scenes of the ledger: what each action does and refuses, the life of rounds,
//! proofs, crashes and damaged folders.

mod asynchronous;
mod blocks;
mod crash;
mod damage;
mod golden;
mod joining;
mod kit;
mod members;
mod models;
mod proofs;
mod retention;
mod rounds;
mod tasks;
