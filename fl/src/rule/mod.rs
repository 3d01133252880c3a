//! Aggregation rules, one a file, each with its paper.

pub mod mean;
