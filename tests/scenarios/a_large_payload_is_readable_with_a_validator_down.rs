//! A file of several megabytes is cut into four fragments of which two suffice. With one
//! validator down and another's fragment rotten it still comes back whole, to every node that is
//! asked; a download that broke off goes on.

use crate::lab::{Lab, files};
use std::path::{Path, PathBuf};
use twinfold_types::{BlobDigest, api::HoldersView};

const BYTES: usize = 5 * (1 << 20) + 17;

#[test]
fn a_large_payload_is_readable_with_a_validator_down() {
    let mut lab = Lab::start();
    let (file, content) = (lab.folder().join("payload"), noise());
    std::fs::write(&file, &content).unwrap();
    let stored = lab.twinfold("--json --key ann blob put {}", &[&file.display()]).ok().json();
    let blob: twinfold_types::BlobId = serde_json::from_value(stored["blob"].clone()).unwrap();
    let digest = blob.digest();
    assert_eq!((blob.n, blob.k, blob.length), (4, 2, BYTES as u64));
    all_hold_it(&lab, &digest);
    for index in 0..4 {
        let bytes = std::fs::metadata(fragment(&lab, index, &digest)).unwrap().len() as usize;
        assert!(bytes > BYTES / 2 && bytes < BYTES / 2 + BYTES / 100, "{bytes} bytes");
    }

    is_cut_by_the_client(&lab, &file, &digest);
    lab.kill(2);
    // In the middle of the bytes: it shows only when that part is read.
    files::flip(&fragment(&lab, 0, &digest), BYTES / 4);
    for index in [0, 1, 3] {
        let copy = lab.folder().join(format!("copy-{index}"));
        let said = lab
            .twinfold("--node {} blob get {} -o {}", &[&lab.url(index), &digest, &copy.display()]);
        assert!(said.ok().out.contains(&format!("{BYTES} bytes")));
        assert!(std::fs::read(&copy).unwrap() == content, "from node {index}");
    }
    assert!(lab.log(0).contains("a stored fragment is damaged"), "{}", lab.log(0));

    resumes(&lab, &digest, &content);
    goes_directly_to_those_that_are_up(&lab, &file);
    lab.twinfold("blob get {} -o {}", &[&"00".repeat(32), &lab.folder().join("none").display()])
        .refused(1, &["no node has"]);
}

/// The same identity, and receipts of all for what is there already; without the other validators'
/// addresses the client cannot send them anything.
fn is_cut_by_the_client(lab: &Lab, file: &Path, digest: &BlobDigest) {
    let said =
        lab.twinfold("--json --key ann blob put {} --direct", &[&file.display()]).ok().json();
    let blob: twinfold_types::BlobId = serde_json::from_value(said["blob"].clone()).unwrap();
    assert_eq!(blob.digest(), *digest);
    assert_eq!(said["receipts"].as_array().map(Vec::len), Some(4));
    lab.twinfold("--node {} --key ann blob put {} --direct", &[&lab.url(0), &file.display()])
        .refused(2, &["of the 4 validators 1", "3 are needed"]);
    lab.twinfold("--key stranger blob put {} --direct", &[&file.display()])
        .refused(3, &["no member"]);
}

fn goes_directly_to_those_that_are_up(lab: &Lab, file: &Path) {
    let other: Vec<u8> = noise().into_iter().rev().collect();
    std::fs::write(file, &other).unwrap();
    let said =
        lab.twinfold("--json --key ann blob put {} --direct", &[&file.display()]).ok().json();
    assert_eq!(said["receipts"].as_array().map(Vec::len), Some(3));
    let blob: twinfold_types::BlobId = serde_json::from_value(said["blob"].clone()).unwrap();
    let copy = lab.folder().join("directly");
    lab.twinfold("blob get {} -o {}", &[&blob.digest(), &copy.display()]).ok();
    assert!(std::fs::read(&copy).unwrap() == other);
}

/// Every seat answers for a fragment of its own in the end, the slow ones too.
fn all_hold_it(lab: &Lab, digest: &BlobDigest) {
    let stat = || -> HoldersView {
        let said = lab.twinfold("--json blob stat {}", &[digest]).ok();
        serde_json::from_value(said.json()).unwrap()
    };
    let view = crate::lab::until("all four hold a fragment", || {
        Some(stat()).filter(|view| view.holders.len() == 4)
    });
    let mut fragments: Vec<u16> = view.holders.iter().map(|holder| holder.fragment).collect();
    fragments.sort();
    assert_eq!(fragments, [0, 1, 2, 3]);
    let said = lab.twinfold("blob stat {}", &[digest]).ok();
    assert!(said.out.contains("4 fragments, any 2 suffice"), "{}", said.out);
}

/// What is there already is not fetched again; what is there and false is found at the end.
fn resumes(lab: &Lab, digest: &BlobDigest, content: &[u8]) {
    let copy = lab.folder().join("resumed");
    let part = lab.folder().join(format!("resumed.{:.8}.part", digest.to_string()));
    std::fs::write(&part, &content[..3_000_000]).unwrap();
    lab.twinfold("blob get {} -o {}", &[digest, &copy.display()]).ok();
    assert!(std::fs::read(&copy).unwrap() == content);
    assert!(!part.exists());

    let false_copy = lab.folder().join("false");
    let part = lab.folder().join(format!("false.{:.8}.part", digest.to_string()));
    std::fs::write(&part, vec![1; 3_000_000]).unwrap();
    lab.twinfold("blob get {} -o {}", &[digest, &false_copy.display()]).ok();
    assert!(std::fs::read(&false_copy).unwrap() == content, "had anew as a whole");
}

fn fragment(lab: &Lab, index: usize, digest: &BlobDigest) -> PathBuf {
    let blobs = lab.folder_of(index).join("data").join("blobs");
    let name = digest.to_string();
    let places = ["pending", "named"].map(|folder| Path::new(&blobs).join(folder).join(&name));
    places.into_iter().find(|path| path.exists()).expect("the fragment's file")
}

fn noise() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(BYTES).collect()
}
