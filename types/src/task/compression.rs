//! What a trainer does to a delta before it sends it. The arithmetic is in `twinfold-fl`.

use super::{Mode, TaskSpec};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Compression {
    /// Bits of a sent value: 1 (its sign), 2 (and zero), 4, 8, 16 or 32.
    pub bits: u8,
    pub kept: Kept,
    /// A value between two steps goes up or down by chance, so that it is right on average (QSGD,
    /// Alistarh et al. 2017), instead of to the nearest.
    pub stochastic: bool,
}

/// Which values are sent; what is not sent stays with the trainer for the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    All,
    /// So many of a million, the largest by magnitude.
    Top {
        ppm: u32,
    },
    /// So many of a million of each tensor, at places drawn for everyone alike.
    Random {
        ppm: u32,
    },
    /// Those of at least so many thousandths of the root mean square.
    Above {
        milli: u32,
    },
}

const MILLION: u32 = 1_000_000;
/// A threshold of a thousand times the root mean square keeps nothing of most updates.
const MILLI_MAX: u32 = 1_000_000;

impl Compression {
    /// All values, of so many bits, to the nearest.
    pub const fn dense(bits: u8) -> Self {
        Self { bits, kept: Kept::All, stochastic: false }
    }

    /// The largest, so many of a million.
    pub const fn top(ppm: u32, bits: u8) -> Self {
        Self { bits, kept: Kept::Top { ppm }, stochastic: false }
    }

    pub fn top_ppm(self) -> Option<u32> {
        match self.kept {
            Kept::Top { ppm } => Some(ppm),
            _ => None,
        }
    }

    pub fn random_ppm(self) -> Option<u32> {
        match self.kept {
            Kept::Random { ppm } => Some(ppm),
            _ => None,
        }
    }

    /// Whether each trainer sends other places than the others, by the values it has.
    pub fn chooses_by_value(self) -> bool {
        matches!(self.kept, Kept::Top { .. } | Kept::Above { .. })
    }

    fn own_fault(self) -> Option<String> {
        let bits = self.bits;
        if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 32) {
            return Some(format!("{bits} bits; 1, 2, 4, 8, 16 or 32 are allowed"));
        }
        let kept = match self.kept {
            Kept::All => true,
            Kept::Top { ppm } | Kept::Random { ppm } => (1..=MILLION).contains(&ppm),
            Kept::Above { milli } => (1..=MILLI_MAX).contains(&milli),
        };
        if !kept {
            return Some("more than nothing is kept and at most everything".into());
        }
        (bits == 1 && self.stochastic).then(|| "a sign is not rounded: leave out stochastic".into())
    }
}

/// Why the compression does not go with the rest of the task.
pub(super) fn fault(spec: &TaskSpec) -> Option<String> {
    let one_base = spec.mode == Mode::Sync && spec.late.is_empty();
    if spec.compression.random_ppm().is_some() && !one_base {
        return Some(
            "places drawn for everyone are drawn from the model that updates are against, so they must have one base: take synchronous rounds and no late updates, or topk".into(),
        );
    }
    spec.compression.own_fault()
}

/// Why the way down does not go with the rest of the task.
pub(super) fn down_fault(spec: &TaskSpec) -> Option<String> {
    let down = spec.down?;
    let forms = matches!(down.kept, Kept::All | Kept::Top { .. })
        && (2..=16).contains(&down.bits)
        && !down.stochastic;
    if !forms {
        return Some(
            "what comes down is q2 to q16, or topk with as many bits, to the nearest".into(),
        );
    }
    if spec.clusters > 1 {
        return Some("what comes down of several clusters is their merge, which is another model: take one cluster".into());
    }
    if spec.mode != Mode::Sync {
        return Some("a compressed way down goes with synchronous rounds".into());
    }
    down.own_fault()
}

/// As it is read: `none`, `q8`, `topk:0.01:4,stochastic`, `randk:0.1:8`, `above:2:8`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |ppm: u32| f64::from(ppm) / f64::from(MILLION);
        match (self.kept, self.bits) {
            (Kept::All, 32) => f.write_str("none")?,
            (Kept::All, bits) => write!(f, "q{bits}")?,
            (Kept::Top { ppm }, bits) => write!(f, "topk:{}:{bits}", share(ppm))?,
            (Kept::Random { ppm }, bits) => write!(f, "randk:{}:{bits}", share(ppm))?,
            (Kept::Above { milli }, bits) => write!(f, "above:{}:{bits}", f64::from(milli) / 1e3)?,
        }
        f.write_str(if self.stochastic { ",stochastic" } else { "" })
    }
}

impl FromStr for Compression {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || {
            format!(
                "expected none, q1, q2, q4, q8, q16, topk:F[:BITS] or randk:F[:BITS] with the share F of all values, 0 < F ≤ 1, or above:T[:BITS] with T times their root mean square, each also with \",stochastic\"; got {text:?}"
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
        let kept = |form: &str, amount: &str| match form {
            "topk" => share(amount).map(|ppm| Kept::Top { ppm }),
            "randk" => share(amount).map(|ppm| Kept::Random { ppm }),
            "above" => {
                let milli = (amount.parse::<f64>().ok()? * 1e3).round();
                let fits = (1.0..=f64::from(MILLI_MAX)).contains(&milli);
                fits.then_some(Kept::Above { milli: milli as u32 })
            }
            _ => None,
        };
        let sparse = |kept: Option<Kept>, bits: Option<u8>| {
            Some(Self { bits: bits?, kept: kept?, stochastic: false })
        };
        let read = match form.split(':').collect::<Vec<_>>()[..] {
            ["none"] => Some(Self::dense(32)),
            [form, amount] => sparse(kept(form, amount), Some(8)),
            [form, amount, bits] => sparse(kept(form, amount), bits.parse().ok()),
            [form] => form.strip_prefix('q').and_then(|bits| bits.parse().ok()).map(Self::dense),
            _ => None,
        };
        let read = read.map(|read| Self { stochastic, ..read }).ok_or_else(fault)?;
        match read.own_fault() {
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
            "randk:0.05:16",
            "above:2.5:4,stochastic",
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
            "randk:0",
            "above:0",
            "above:NaN",
            "best:0.1",
            "q1,stochastic",
            "q8,",
        ] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }
}
