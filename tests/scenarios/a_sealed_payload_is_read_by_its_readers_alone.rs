//! Ann seals a file for ben. Ben reads it, cyd does not, and a validator that dumps its whole
//! folder finds neither a word of it nor its key. Cyd is granted it, revoked, and after the purge
//! nobody is given it any more.

use crate::lab::{Lab, files, members::public};
use std::path::{Path, PathBuf};
use twinfold_cli::keystore::{Keystore, PassphraseSource};
use twinfold_types::{
    BlobDigest,
    api::SealedView,
    sealed::{SealedWrap, WrapPlace},
};

/// Stands in every piece of the content that a validator could hold.
const CANARY: &[u8] = b"patient 4711 has a fever of 39.2";
/// The same in a payload that is not sealed: what a dump must find.
const OPEN_CANARY: &[u8] = b"everyone may know of patient 0815";
const BYTES: usize = 700_000;

#[test]
fn a_sealed_payload_is_read_by_its_readers_alone() {
    let lab = Lab::start();
    // Encryption keys are proved under a checkpoint, and a chain that has ordered nothing has none.
    lab.works();
    let (secret, open) = (lab.folder().join("secret"), lab.folder().join("open"));
    std::fs::write(&secret, full_of(CANARY)).unwrap();
    std::fs::write(&open, full_of(OPEN_CANARY)).unwrap();

    needs_encryption_keys(&lab, &secret);
    let put = "--json --key ann blob put {} --seal-for ben";
    let stored = lab.twinfold(put, &[&secret.display()]).ok().json();
    let digest: BlobDigest = stored["digest"].as_str().unwrap().parse().unwrap();
    lab.twinfold("--key ann blob put {}", &[&open.display()]).ok();

    reads(&lab, "ben", &digest);
    reads(&lab, "ann", &digest);
    reads_not(&lab, "cyd", &digest, &["sealed", "not for cyd", "ann of board"]);
    let said = lab.twinfold("blob stat {}", &[&digest]).ok();
    assert!(said.out.contains(&public("ann").to_string()), "{}", said.out);

    finds_nothing(&lab, &digest);
    goes_on_and_refuses_what_is_false(&lab, &digest);
    is_granted_revoked_and_rotated(&lab, &digest);

    lab.twinfold("--key cyd blob purge {}", &[&digest]).refused(3, &["does not own"]);
    lab.twinfold("--key ann blob purge {}", &[&digest]).ok();
    for name in ["ann", "ben", "cyd"] {
        reads_not(&lab, name, &digest, &["was purged"]);
    }
    // What a kill between the two steps leaves is done by the same command.
    lab.twinfold("--key ann blob purge {}", &[&digest]).ok();
    let said = lab.twinfold("--key ann blob grant {} --to ben", &[&digest]);
    said.refused(1, &["no key of the sealed payload"]);
    finds_nothing_of(&lab, CANARY);
}

fn needs_encryption_keys(lab: &Lab, secret: &Path) {
    let put = || lab.twinfold("--key ann blob put {} --seal-for ben", &[&secret.display()]);
    put().refused(1, &["key encryption new"]);
    lab.twinfold("--key ann key encryption new", &[]).ok();
    put().refused(1, &["ben", "has no encryption key", "key encryption publish"]);
    for name in ["ben", "cyd"] {
        lab.twinfold("key encryption new {}", &[&name]).ok();
        lab.twinfold("key encryption publish {}", &[&name]).ok();
    }
}

fn get(lab: &Lab, who: &str, digest: &BlobDigest) -> (crate::lab::cli::Said, PathBuf) {
    let copy = lab.folder().join(format!("copy-of-{who}"));
    let _ = std::fs::remove_file(&copy);
    let said = lab.twinfold("--key {} blob get {} -o {}", &[&who, digest, &copy.display()]);
    (said, copy)
}

fn reads(lab: &Lab, who: &str, digest: &BlobDigest) {
    let (said, copy) = get(lab, who, digest);
    said.ok();
    assert!(std::fs::read(&copy).unwrap() == full_of(CANARY), "what {who} read");
    assert!(!beside(&copy, ".sealed").exists());
}

fn reads_not(lab: &Lab, who: &str, digest: &BlobDigest, words: &[&str]) {
    let (said, copy) = get(lab, who, digest);
    said.refused(1, words);
    assert!(!copy.exists() && !beside(&copy, ".opening").exists());
}

/// Every byte of every validator, its log and journal too. That the dump is worth something is
/// seen by what it must find: the payload that is open, and the commitment, which is public.
fn finds_nothing(lab: &Lab, digest: &BlobDigest) {
    let view = lab.client().sealed(digest).unwrap().unwrap();
    let key = content_key(lab, digest);
    // Those that hold parity hold nothing to be read of it.
    let sees = |index: usize| !found_in(&lab.folder_of(index), OPEN_CANARY).is_empty();
    assert!((0..4).any(sees), "no dump sees the payload that is open");
    for index in 0..4 {
        let folder = lab.folder_of(index);
        let finds = |what: &[u8]| found_in(&folder, what);
        assert!(!finds(&view.record.commitment.0).is_empty(), "node {index}: sees no state");
        assert_eq!(finds(CANARY), Vec::<PathBuf>::new(), "node {index}");
        assert_eq!(finds(&key), Vec::<PathBuf>::new(), "node {index}");
        assert_eq!(finds(hex::encode(key).as_bytes()), Vec::<PathBuf>::new(), "node {index}");
        let plain = blake3::hash(&full_of(CANARY));
        assert_eq!(finds(plain.as_bytes()), Vec::<PathBuf>::new(), "node {index}: its digest");
    }
}

fn finds_nothing_of(lab: &Lab, what: &[u8]) {
    for index in 0..4 {
        assert_eq!(found_in(&lab.folder_of(index), what), Vec::<PathBuf>::new(), "node {index}");
    }
}

/// As ann's own copy has it.
fn content_key(lab: &Lab, digest: &BlobDigest) -> [u8; 32] {
    let keystore = Keystore::in_dir(&lab.people(), PassphraseSource::default());
    let copy = keystore.own_copy(digest).unwrap().expect("ann's own copy");
    let secret = keystore.open_encryption("ann", &copy.wrap.to).unwrap();
    let place = WrapPlace { chain: &copy.chain, blob: digest };
    *copy.wrap.open(place, &secret).unwrap().bytes()
}

/// Sealed bytes that a killed command left are used if they are the payload, and fetched anew if
/// they are not.
fn goes_on_and_refuses_what_is_false(lab: &Lab, digest: &BlobDigest) {
    let raw = lab.folder().join("raw");
    lab.twinfold("--key cyd blob get {} -o {} --raw", &[digest, &raw.display()])
        .refused(1, &["sealed, and not for"]);
    lab.twinfold("--key ann blob get {} -o {} --raw", &[digest, &raw.display()]).ok();
    let sealed = std::fs::read(&raw).unwrap();
    assert!(!holds(&sealed, CANARY) && sealed.starts_with(b"TFS1"));
    let left = beside(&lab.folder().join("copy-of-ben"), ".sealed");
    std::fs::copy(&raw, &left).unwrap();
    reads(lab, "ben", digest);
    std::fs::copy(&raw, &left).unwrap();
    files::flip(&left, BYTES / 2);
    std::fs::write(beside(&lab.folder().join("copy-of-ben"), ".opening"), "half").unwrap();
    reads(lab, "ben", digest);
}

fn is_granted_revoked_and_rotated(lab: &Lab, digest: &BlobDigest) {
    let said = lab.twinfold("--key ben blob grant {} --to cyd", &[digest]);
    said.refused(1, &["no key of the sealed payload", "for ben"]);
    lab.twinfold("--key ann blob grant {} --to cyd", &[digest]).ok();
    reads(lab, "cyd", digest);
    lab.twinfold("--key ann blob revoke {} --from cyd", &[digest]).ok();
    reads_not(lab, "cyd", digest, &["not for cyd"]);

    // Ben's old secret opens until it is destroyed; then he is granted anew.
    lab.twinfold("key encryption new ben --rotate", &[]).ok();
    lab.twinfold("key encryption destroy-old ben --yes", &[]).refused(1, &["publish ben"]);
    lab.twinfold("key encryption publish ben", &[]).ok();
    reads(lab, "ben", digest);
    lab.twinfold("key encryption destroy-old ben --yes", &[]).ok();
    reads_not(lab, "ben", digest, &["no secret", "was destroyed"]);
    lab.twinfold("--key ann blob grant {} --to ben", &[digest]).ok();
    reads(lab, "ben", digest);
    let view: SealedView = lab.client().sealed(digest).unwrap().unwrap();
    let members: Vec<_> = view.wraps.iter().map(|wrap: &SealedWrap| wrap.member).collect();
    assert_eq!(members, [public("ben")]);
}

fn full_of(words: &[u8]) -> Vec<u8> {
    words.iter().copied().cycle().take(BYTES).collect()
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// The files below a folder that hold these bytes.
fn found_in(folder: &Path, what: &[u8]) -> Vec<PathBuf> {
    let (mut found, mut folders) = (vec![], vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).is_ok_and(|bytes| holds(&bytes, what)) {
                // A file that goes while it is looked at is none of the dump.
                found.push(path);
            }
        }
    }
    found
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
