//! What several test targets share.

pub mod forge;

#[path = "../golden/samples.rs"]
pub mod samples;
