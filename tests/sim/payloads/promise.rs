//! What must hold of payloads, at every step and at the end.

use super::{content::Cut, site::Site, world::Mistake};
use crate::ledger::Ledger;
use twinfold_types::{
    BlobDigest, Epoch,
    blob::{Condemned, Decoder, FragmentList, Reencoding},
    state_key::{self, Prefix},
};

/// What a reader gets that asks every site.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Content(Vec<u8>),
    /// It was cut by a liar.
    Lie,
    TooFew,
}

/// Distinct fragments that sites serve, from a few on.
pub fn fragments(
    sites: &[Site],
    digest: &BlobDigest,
) -> (std::collections::BTreeMap<u16, Vec<u8>>, Option<FragmentList>) {
    let (mut found, mut list) = (std::collections::BTreeMap::new(), None);
    for (fragment, bytes, fragments) in sites.iter().filter_map(|site| site.serves(digest)) {
        found.insert(fragment, bytes);
        list = Some(fragments);
    }
    (found, list)
}

/// As many as it takes, each as it was cut.
pub fn fragments_are_there(sites: &[Site], cut: &Cut) -> Result<(), String> {
    let (found, _) = fragments(sites, &cut.id.digest());
    if let Some(other) = found.iter().find(|(at, piece)| cut.fragment(**at).0 != &piece[..]) {
        return Err(format!("fragment {} is another", other.0));
    }
    match found.len() >= usize::from(cut.id.k) {
        true => Ok(()),
        false => Err(format!("{} fragments", found.len())),
    }
}

/// Decodes, and codes again, as a node does.
pub fn read(sites: &[Site], cut: &Cut, first: usize, mistake: Option<Mistake>) -> Read {
    let (found, list) = fragments(sites, &cut.id.digest());
    let k = usize::from(cut.id.k);
    let list = match list {
        Some(list) if found.len() >= k => list,
        _ => return Read::TooFew,
    };
    let pieces: Vec<(u16, &[u8])> =
        found.iter().map(|(at, piece)| (*at, &piece[..])).cycle().skip(first).take(k).collect();
    let layout = cut.id.layout().expect("it was cut");
    let mut decoder = Decoder::new(layout);
    let parts = decoder.content(0..layout.stripes(), &pieces).expect("k pieces");
    let content = parts.concat();
    let mut again = Reencoding::new(cut.id, list).expect("its own list");
    again.push(&content).expect("its own length");
    match again.finish() {
        Err(_) if mistake != Some(Mistake::NotCodedAgain) => Read::Lie,
        _ => Read::Content(content),
    }
}

/// A quorum has said that it holds the payload: while the ledger keeps it, or may still be told
/// to, it is there.
pub fn is_promised(newest: &Ledger, digest: &BlobDigest, certified: Epoch) -> bool {
    super::site::reference(newest, digest).is_some() || certified.0 + 1 >= newest.running().epoch.0
}

pub fn is_condemned(ledger: &Ledger, digest: &BlobDigest) -> bool {
    ledger.get::<Condemned>(&state_key::condemned(digest)).is_some()
}

/// Only what was cut by a liar is condemned.
pub fn condemns_lies_alone(
    newest: &Ledger,
    is_lie: impl Fn(&BlobDigest) -> bool,
) -> Result<u64, String> {
    let rows = newest.rows_of(Prefix::Condemned);
    for (key, _) in &rows {
        let digest = twinfold_types::Digest(key[1..].try_into().expect("a digest"));
        if !is_lie(&digest) {
            return Err(format!("an honest payload is condemned: {digest}"));
        }
    }
    Ok(rows.len() as u64)
}

/// After days without faults: what is kept is there, and nothing else.
pub fn is_tidy(site: &Site, is_lie: impl Fn(&BlobDigest) -> bool) -> Result<(), String> {
    let kept: Vec<BlobDigest> =
        site.references().iter().map(|reference| reference.blob.digest()).collect();
    for folder in ["pending", "released", "named"] {
        let left = site.files(folder);
        let known = |digest: &&BlobDigest| folder == "named" && kept.contains(*digest);
        if let Some(left) = left.iter().find(|digest| !known(digest)) {
            return Err(format!("site {} keeps {left} in {folder} for nothing", site.index));
        }
    }
    for reference in site.references() {
        let digest = reference.blob.digest();
        if !is_lie(&digest) && !site.is_complete(&reference.blob) {
            return Err(format!("site {} has no part of {digest}", site.index));
        }
    }
    Ok(())
}
