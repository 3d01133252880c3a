//! Aggregation rules, a file each.

pub mod bulyan;
pub mod coordinate;
pub mod krum;
pub mod mean;
mod rows;
