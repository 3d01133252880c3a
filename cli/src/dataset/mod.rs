//! Data sets on this side of the network: a file cut into chunks and packs (`cut`), stored as a
//! version (`store`), fetched and verified (`fetch`); what is known of a file (`schema`), and the
//! card that tells others (`card`).

pub mod card;
mod cut;
mod fetch;
mod link;
mod prove;
mod schema;
mod schema_npz;
mod schema_parquet;
mod store;

#[cfg(test)]
mod tests;

pub use fetch::{cached, fetch, newest, readable};
pub use link::{DatasetLink, SCHEME};
pub use prove::prove;
pub use store::{Appended, Appending, append};
