//! Data sets: files with versions. A version's content is any file, cut at places that the
//! content itself determines; a *manifest* lists the chunks, and *packs*, which are payloads, hold
//! them. A version brings packs with the chunks that are new and names older packs for the rest, so
//! that what two versions share is stored once.
//!
//! The ledger sees manifest and packs as payloads that a quorum holds; whether they fit together
//! is found by whoever reads: every chunk has its hash in the manifest, and the whole content has
//! its own in the version's record.

pub mod manifest;

use crate::{
    AvailabilityCertificate, Digest, Height, PublicKey, TimeMs, TxId,
    blob::BlobId,
    limits,
    member::{Member, Role},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A data set's identity: the identity of the transaction that created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct DatasetId(pub Digest);

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who may append a version beside the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AppendRule {
    /// Nobody.
    Owner,
    /// Members whom the owner grants it.
    Listed,
    /// Every member with this role.
    Role(Role),
}

/// What its owner says of a data set when creating it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatasetSpec {
    pub name: String,
    pub description: String,
    /// An SPDX identifier, a URL, or what else states it; may be empty.
    pub licence: String,
    pub rule: AppendRule,
}

/// A data set as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dataset {
    pub id: DatasetId,
    pub owner: PublicKey,
    pub spec: DatasetSpec,
    pub created: TimeMs,
    /// Versions so far: the newest one's number.
    pub versions: u64,
    /// Members on the list.
    pub granted: u32,
    /// Versions whose content the owner gave up, from the newest on. Then none is appended any more.
    pub purged: u64,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Boolean,
    Integer,
    Real,
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    /// Of one row's value; empty for a single one.
    pub shape: Vec<u64>,
}

/// What whoever appends a version says of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Content {
    /// Bytes.
    pub length: u64,
    pub sha256: Digest,
    pub blake3: Digest,
    /// Such as `text/csv`.
    pub media_type: String,
    /// Where the form of the content is known.
    pub columns: Option<Vec<Column>>,
    pub rows: Option<u64>,
}

/// A version as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DatasetVersion {
    pub dataset: DatasetId,
    /// From 1 on.
    pub number: u64,
    /// The version that it was made from.
    pub parent: Option<u64>,
    /// Who appended it, and the signed transaction that says so.
    pub by: PublicKey,
    pub tx: TxId,
    pub height: Height,
    pub time: TimeMs,
    pub manifest: BlobId,
    /// Packs that came with it; the manifest names older ones too.
    pub packs: Vec<BlobId>,
    pub content: Content,
}

/// A new version: its payloads are named, not carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendAction {
    /// The data set's name: none is ever given to another.
    pub dataset: String,
    /// Any version there is; none for the first.
    pub parent: Option<u64>,
    pub manifest: AvailabilityCertificate,
    pub packs: Vec<AvailabilityCertificate>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatasetAction {
    Create(DatasetSpec),
    Append(Box<AppendAction>),
    /// The owner puts a member on the list of those who may append.
    Grant {
        dataset: String,
        member: PublicKey,
    },
    Revoke {
        dataset: String,
        member: PublicKey,
    },
    /// The owner, or an admin where the owner is no member any more, gives up the content of so many
    /// versions, the newest first: what came with them is used by no older one. Their records stay.
    Purge {
        dataset: String,
        versions: u32,
    },
}

impl Dataset {
    /// Whether a version's content was given up.
    pub fn is_purged(&self, version: u64) -> bool {
        version > self.versions.saturating_sub(self.purged)
    }

    /// Whether a member may append; `listed` is whether the owner granted it that.
    pub fn takes_from(&self, member: &Member, listed: bool) -> bool {
        let by_rule = match self.spec.rule {
            AppendRule::Owner => false,
            AppendRule::Listed => listed,
            AppendRule::Role(role) => member.has(role),
        };
        by_rule || member.key == self.owner
    }
}

/// Whether a name can stand in a link and be a file's: letters, digits, `.`, `_` and `-`, and the
/// first is a letter or digit.
pub fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= limits::NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(inner)
}

impl DatasetSpec {
    /// Why it is refused, if it is.
    pub fn fault(&self) -> Option<String> {
        if !is_name(&self.name) {
            return Some(
                "a data set's name takes 1 to 128 letters, digits, dots, hyphens and underscores, a letter \
                 or digit first"
                    .into(),
            );
        }
        let texts = [("description", &self.description), ("licence", &self.licence)];
        let long = |(_, text): &&(&str, &String)| text.len() > limits::DESCRIPTION_BYTES_MAX;
        texts.iter().find(long).map(|(what, _)| format!("the {what} is over 2,048 bytes"))
    }
}

impl Content {
    /// Why it is refused, if it is.
    pub fn fault(&self) -> Option<String> {
        if self.length > limits::DATASET_BYTES_MAX {
            return Some(format!(
                "the content has {} bytes; a version takes at most {}",
                self.length,
                limits::DATASET_BYTES_MAX
            ));
        }
        let media_type = &self.media_type;
        if media_type.is_empty() || media_type.len() > limits::NAME_BYTES_MAX {
            return Some("a media type takes 1 to 128 bytes".into());
        }
        self.columns.as_deref().and_then(columns_fault)
    }
}

fn columns_fault(columns: &[Column]) -> Option<String> {
    if columns.is_empty() || columns.len() > limits::DATASET_COLUMNS_MAX {
        return Some(format!(
            "{} columns; 1 to {} are recorded",
            columns.len(),
            limits::DATASET_COLUMNS_MAX
        ));
    }
    let mut names = std::collections::BTreeSet::new();
    for Column { name, shape, .. } in columns {
        if name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
            return Some("column names take 1 to 128 bytes".into());
        }
        if !names.insert(name) {
            return Some(format!("column {name:?} stands twice"));
        }
        if shape.len() > limits::TENSOR_DIMENSIONS_MAX {
            return Some(format!("column {name:?} has {} dimensions", shape.len()));
        }
    }
    None
}

impl AppendAction {
    /// Why it is refused whatever the state, if it is.
    pub fn fault(&self) -> Option<String> {
        if self.packs.len() > limits::DATASET_PACKS_NEW_MAX {
            return Some(format!(
                "{} new packs; a version brings at most {}",
                self.packs.len(),
                limits::DATASET_PACKS_NEW_MAX
            ));
        }
        let long =
            |pack: &&AvailabilityCertificate| pack.blob.length > limits::DATASET_PACK_BYTES_MAX;
        if let Some(pack) = self.packs.iter().find(long) {
            return Some(format!(
                "a pack of {} bytes; it takes at most {}",
                pack.blob.length,
                limits::DATASET_PACK_BYTES_MAX
            ));
        }
        if self.manifest.blob.length > limits::MANIFEST_BYTES_MAX as u64 {
            return Some(format!(
                "a manifest of {} bytes; it takes at most {}",
                self.manifest.blob.length,
                limits::MANIFEST_BYTES_MAX
            ));
        }
        self.content.fault()
    }
}

impl fmt::Display for AppendRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendRule::Owner => f.write_str("owner"),
            AppendRule::Listed => f.write_str("listed"),
            AppendRule::Role(role) => write!(f, "role:{}", role_name(*role)),
        }
    }
}

const ROLES: [Role; 3] = [Role::Admin, Role::Operator, Role::Trainer];

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Validator => "validator",
        Role::Trainer => "trainer",
        Role::Operator => "operator",
        Role::Auditor => "auditor",
    }
}

impl FromStr for AppendRule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let role = |text: &str| ROLES.into_iter().find(|role| role_name(*role) == text);
        match text {
            "owner" => Ok(Self::Owner),
            "listed" => Ok(Self::Listed),
            _ => text.strip_prefix("role:").and_then(role).map(Self::Role).ok_or_else(|| {
                format!(
                    "expected owner, listed, role:admin, role:operator or role:trainer, got {text:?}"
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(rule: AppendRule) -> Dataset {
        let spec = DatasetSpec {
            name: "digits".into(),
            description: String::new(),
            licence: String::new(),
            rule,
        };
        let (id, owner) = (DatasetId(Digest::ZERO), PublicKey([1; 32]));
        Dataset { id, owner, spec, created: TimeMs(0), versions: 0, granted: 0, purged: 0 }
    }

    #[test]
    fn the_rule_says_who_appends_and_the_owner_always_may() {
        let member = |byte: u8, role| Member {
            key: PublicKey([byte; 32]),
            name: "someone".into(),
            organisation: "somewhere".into(),
            roles: [role].into(),
            peer: None,
        };
        let (owner, other) = (member(1, Role::Operator), member(2, Role::Trainer));
        let role = AppendRule::Role(Role::Trainer);
        for (rule, listed, may) in [
            (AppendRule::Owner, true, false),
            (AppendRule::Listed, false, false),
            (AppendRule::Listed, true, true),
            (role, false, true),
            (AppendRule::Role(Role::Admin), true, false),
        ] {
            assert_eq!(dataset(rule).takes_from(&other, listed), may, "{rule}");
            assert!(dataset(rule).takes_from(&owner, false), "{rule}");
        }
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in ["owner", "listed", "role:admin", "role:operator", "role:trainer"] {
            assert_eq!(text.parse::<AppendRule>().unwrap().to_string(), text);
        }
        // Who has only such a role may not upload at all.
        for text in ["", "role:", "role:auditor", "role:validator", "everyone"] {
            assert!(text.parse::<AppendRule>().unwrap_err().contains("role:trainer"), "{text}");
        }
    }

    #[test]
    fn a_name_can_stand_in_a_link_and_leads_out_of_no_folder() {
        for name in ["digits", "a", "site-7_2026.v2", &"x".repeat(128)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "a@2", "a b", "é", "-x", &"x".repeat(129)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
