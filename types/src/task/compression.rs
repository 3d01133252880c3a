//! What a trainer does to a delta before it sends it. The arithmetic is in `twinfold-fl`.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Compression {
    /// Bits of a sent value: 1 (its sign), 2 (and zero), 4, 8, 16 or 32.
    pub bits: u8,
    /// Values kept of a million, the largest by magnitude; `None` sends all.
    pub top_ppm: Option<u32>,
    /// A value between two steps goes up or down by chance, so that it is right on average (QSGD,
    /// Alistarh et al. 2017), instead of to the nearest.
    pub stochastic: bool,
}

const MILLION: u32 = 1_000_000;

impl Compression {
    /// All values, of so many bits, to the nearest.
    pub const fn dense(bits: u8) -> Self {
        Self { bits, top_ppm: None, stochastic: false }
    }

    /// The largest, so many of a million.
    pub const fn top(ppm: u32, bits: u8) -> Self {
        Self { bits, top_ppm: Some(ppm), stochastic: false }
    }

    pub(super) fn fault(self) -> Option<String> {
        let bits = self.bits;
        if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 32) {
            return Some(format!("{bits} bits; 1, 2, 4, 8, 16 or 32 are allowed"));
        }
        if self.top_ppm.is_some_and(|ppm| ppm == 0 || ppm > MILLION) {
            return Some("top-k keeps more than nothing and at most everything".into());
        }
        (bits == 1 && self.stochastic).then(|| "a sign is not rounded: leave out stochastic".into())
    }
}

/// As it is read: `none`, `q8`, `topk:0.01:4,stochastic`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.top_ppm, self.bits) {
            (None, 32) => f.write_str("none")?,
            (None, bits) => write!(f, "q{bits}")?,
            (Some(ppm), bits) => write!(f, "topk:{}:{bits}", f64::from(ppm) / f64::from(MILLION))?,
        }
        f.write_str(if self.stochastic { ",stochastic" } else { "" })
    }
}

impl FromStr for Compression {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected none, q1, q2, q4, q8, q16, or topk:F[:BITS] with the share F of all values, 0 < F ≤ 1, each also with \",stochastic\"; got {text:?}"
            )
        };
        let (form, stochastic) = match text.strip_suffix(",stochastic") {
            Some(form) => (form, true),
            None => (text, false),
        };
        let share = |share: &str| {
            let ppm = (share.parse::<f64>().ok()? * f64::from(MILLION)).round();
            (1.0..=f64::from(MILLION)).contains(&ppm).then_some(ppm as u32)
        };
        let read = match form.split(':').collect::<Vec<_>>()[..] {
            ["none"] => Some(Self::dense(32)),
            ["topk", kept] => share(kept).map(|ppm| Self::top(ppm, 8)),
            ["topk", kept, bits] => {
                share(kept).zip(bits.parse().ok()).map(|(ppm, bits)| Self::top(ppm, bits))
            }
            [form] => form.strip_prefix('q').and_then(|bits| bits.parse().ok()).map(Self::dense),
            _ => None,
        };
        let read = read.map(|read| Self { stochastic, ..read }).ok_or_else(fault)?;
        match read.fault() {
            None => Ok(read),
            Some(reason) => Err(format!("{reason}; {}", fault())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_read_as_they_are_written() {
        for text in [
            "none",
            "q1",
            "q2,stochastic",
            "q4",
            "q8",
            "q16",
            "topk:0.007:4,stochastic",
            "topk:1:1",
        ] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        assert_eq!("topk:0.01".parse(), Ok(Compression::top(10_000, 8)));
        assert_eq!("q32".parse::<Compression>().unwrap().to_string(), "none");
        for wrong in [
            "",
            "q",
            "q3",
            "q64",
            "q256",
            "topk",
            "topk:0",
            "topk:2",
            "topk:0.1:5",
            "topk:x",
            "q1,stochastic",
            "q8,",
        ] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }
}
