//! What is done to a round's updates before its rule sees them. The arithmetic is in `twinfold-fl`.

use super::{Mode, TaskSpec};
use serde::{Deserialize, Serialize};

/// Both are measured against the cluster's own updates of the round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Screen {
    /// An update's norm is cut to so many millionths of the median norm (Nguyen et al., *FLAME*,
    /// USENIX Security 2022).
    pub clip_ppm: Option<u32>,
    /// An update whose cosine with the sum of the others is below so many millionths does not count.
    pub cosine_ppm: Option<i32>,
}

const MILLION: i32 = 1_000_000;
const CLIP_PPM_MAX: u32 = 100_000_000;

impl Screen {
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the screen does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let Screen { clip_ppm, cosine_ppm } = spec.screen;
    if spec.screen.is_off() {
        return None;
    }
    if matches!(spec.mode, Mode::Async { .. }) {
        return Some(
            "updates of one round are compared, so they must have one base: take synchronous rounds".into(),
        );
    }
    if spec.participants_min < 3 {
        return Some("fewer than 3 updates have no median worth the name: raise the least number of participants".into());
    }
    if clip_ppm.is_some_and(|ppm| ppm == 0 || ppm > CLIP_PPM_MAX) {
        return Some("norms are cut to more than 0 and at most 100 times the median".into());
    }
    if cosine_ppm.is_some_and(|ppm| !(-MILLION..=MILLION).contains(&ppm)) {
        return Some("a cosine is −1 to 1".into());
    }
    (cosine_ppm.is_some() && spec.compression.chooses_by_value()).then(|| {
        "cosines need all values: of updates that send their largest ones few have a direction in common; use none, q8, q16 or randk".into()
    })
}
