//! How long payloads are kept, for whom, and how many: holds and accounts of storage.

use crate::{BlobDigest, Epoch, Height, PublicKey, TaskId, TimeMs, limits};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a hold keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HoldSubject {
    /// The updates of all of a task's rounds.
    Task(TaskId),
    /// One payload; a sealed one cannot be purged meanwhile.
    Payload(BlobDigest),
}

/// A legal hold: while it stands, no retention that ends and no purge takes the subject away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    pub subject: HoldSubject,
    /// For people: a case's number, an authority's letter.
    pub reason: String,
    pub height: Height,
    pub time: TimeMs,
}

/// Who has payloads on its account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StorageOwner {
    Member(PublicKey),
    Organisation(String),
}

impl StorageOwner {
    /// What an account may have where the admins did not say; `None`: no limit of its own.
    pub fn usual_bytes(&self) -> Option<u64> {
        match self {
            Self::Member(_) => None,
            Self::Organisation(_) => Some(limits::ORGANISATION_STORED_BYTES_DEFAULT),
        }
    }
}

impl fmt::Display for HoldSubject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => write!(out, "task:{task}"),
            Self::Payload(blob) => write!(out, "payload:{blob}"),
        }
    }
}

impl FromStr for HoldSubject {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("task", id)) => Ok(Self::Task(TaskId(id.parse()?))),
            Some(("payload", digest)) => Ok(Self::Payload(digest.parse()?)),
            _ => Err(format!("expected task:ID or payload:DIGEST, got {text:?}")),
        }
    }
}

impl fmt::Display for StorageOwner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(key) => write!(out, "member:{key}"),
            Self::Organisation(name) => write!(out, "organisation:{name}"),
        }
    }
}

impl FromStr for StorageOwner {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("member", key)) => Ok(Self::Member(key.parse()?)),
            Some(("organisation", name)) => Ok(Self::Organisation(name.into())),
            _ => Err(format!("expected member:KEY or organisation:NAME, got {text:?}")),
        }
    }
}

/// A seat that changed hands, whose new member does not yet say that it holds the seat's part of
/// every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    pub by: PublicKey,
    /// The first that it sits in.
    pub epoch: Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn subjects_and_accounts_are_read_as_they_are_written() {
        for subject in
            [HoldSubject::Task(TaskId(Digest([1; 32]))), HoldSubject::Payload(Digest([2; 32]))]
        {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        let owners =
            [StorageOwner::Member(PublicKey([3; 32])), StorageOwner::Organisation("a:b".into())];
        for owner in owners {
            assert_eq!(owner.to_string().parse(), Ok(owner));
        }
        for wrong in ["", "task", "task:7", "member:", "somebody:x"] {
            assert!(wrong.parse::<HoldSubject>().is_err(), "{wrong}");
            assert!(wrong.parse::<StorageOwner>().is_err(), "{wrong}");
        }
    }
}
