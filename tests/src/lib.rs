//! What several test targets share.

#[path = "../golden/samples.rs"]
pub mod samples;
