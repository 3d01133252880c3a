//! How a data set's version is named: `NAME@VERSION`, or `twinfold://dataset/NAME@VERSION` where a
//! file might be meant as well. Without a version the newest is meant.

use std::{fmt, str::FromStr};
use twinfold_types::dataset::is_name;

pub const SCHEME: &str = "twinfold://dataset/";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetLink {
    pub name: String,
    pub version: Option<u64>,
}

impl FromStr for DatasetLink {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("expected NAME or NAME@VERSION, such as digits@2, got {text:?}");
        let inner = text.strip_prefix(SCHEME).unwrap_or(text);
        let (name, version) = match inner.split_once('@') {
            None => (inner, None),
            Some((name, version)) => (name, Some(version.parse().map_err(|_| fault())?)),
        };
        match is_name(name) && version != Some(0) {
            true => Ok(Self { name: name.into(), version }),
            false => Err(fault()),
        }
    }
}

impl fmt::Display for DatasetLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            None => write!(f, "{SCHEME}{}", self.name),
            Some(version) => write!(f, "{SCHEME}{}@{version}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_version_or_the_newest() {
        let link = |text: &str| text.parse::<DatasetLink>();
        let digits = |version| Ok(DatasetLink { name: "digits".into(), version });
        assert_eq!(link("digits"), digits(None));
        assert_eq!(link("digits@2"), digits(Some(2)));
        assert_eq!(link("twinfold://dataset/digits@2"), digits(Some(2)));
        assert_eq!(link("digits@2").unwrap().to_string(), "twinfold://dataset/digits@2");
        for text in ["", "@2", "digits@", "digits@0", "digits@new", "a/b@1", "http://x/digits"] {
            assert!(link(text).unwrap_err().contains("digits@2"), "{text}");
        }
    }
}
