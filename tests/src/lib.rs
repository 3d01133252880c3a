//! What several test targets share.

pub mod forge;

#[path = "../golden/samples.rs"]
pub mod samples;

#[path = "../golden/mask_samples.rs"]
pub mod mask_samples;

#[path = "../golden/sealed_samples.rs"]
pub mod sealed_samples;
