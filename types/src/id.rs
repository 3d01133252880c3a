//! Every number has a type of its own, so that a view is never taken for a
//! height. Arithmetic is checked: overflow of a counter is a bug and panics.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The following number. Panics on overflow.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect(concat!(stringify!($name), " overflows")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Position of a block in the chain; genesis is height 0 and has no block.
    Height(u64)
);
number!(
    /// One leader's turn within an epoch.
    View(u64)
);
number!(
    /// A term of one committee.
    Epoch(u64)
);
number!(
    /// Index of a seat in the committee of an epoch.
    SeatIndex(u16)
);
number!(
    /// Index of a cluster of trainers within a task.
    ClusterId(u16)
);
number!(
    /// Index of a region of clusters within a task.
    RegionId(u16)
);
number!(
    /// Number of a cluster's round within a task, from 0.
    RoundNumber(u64)
);
number!(
    /// Milliseconds since the Unix epoch, in block time.
    TimeMs(u64)
);

impl Height {
    /// The height before, or `None` at genesis.
    pub fn prev(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl TimeMs {
    /// Adds a duration, saturating at the end of time.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl SeatIndex {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A task's identity: the identity of the transaction that created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct TaskId(pub Digest);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
