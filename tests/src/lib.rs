//! What several test targets share.

pub mod forge;

#[path = "../golden/samples.rs"]
pub mod samples;

#[path = "../golden/sealed_samples.rs"]
pub mod sealed_samples;
