//! Scenes of the ledger: what each action does and refuses, the life of rounds, stake and
//! epochs, proofs, crashes and damaged folders.

mod asynchronous;
mod audit;
mod blocks;
mod crash;
mod damage;
mod datasets;
mod election;
mod epochs;
mod evaluation;
mod forming;
mod golden;
mod joining;
mod keeping;
mod kit;
mod kit_stake;
mod masks;
mod members;
mod models;
mod pace;
mod proofs;
mod recovery;
mod regions;
mod retention;
mod rounds;
mod sealed;
mod selection;
mod slashing;
mod stake;
mod tasks;
