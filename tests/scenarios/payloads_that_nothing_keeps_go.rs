//! An update's payload goes when its task's retention and its lease are over, one that nobody named
//! when its lease is over; what is named or held stays. Seen through the folders of a real node,
//! whose files are made a day older.

use crate::lab::{Lab, PATIENCE, files, learn, members, until};
use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};
use twinfold_types::{BlobDigest, Digest, Epoch};

const EPOCH_MS: u64 = 2_000;
/// Enough for a kill to come in the middle.
const MORE: usize = 48;
const DAY: Duration = Duration::from_secs(25 * 3_600);

#[test]
fn payloads_that_nothing_keeps_go() {
    let mut lab = Lab::form(1);
    lab.short_epochs(EPOCH_MS);
    lab.start_all();
    let updates = run_round(&lab);
    let held = updates[0];
    lab.twinfold("--key ann proposal new hold --payload {} --reason case-7", &[&held]).ok();
    let file = lab.folder().join("forgotten");
    std::fs::write(&file, [9; 300_000]).unwrap();
    let forgotten = put(&lab, &file);
    let more: Vec<_> = (0..MORE).map(|at| put_bytes(&lab, at)).collect();
    let accounts = lab.twinfold("storage", &[]).ok();
    for word in ["clinic", "tess", "organisation", "17.6 TB"] {
        assert!(accounts.out.contains(word), "{word} is missing: {}", accounts.out);
    }
    let holds = lab.twinfold("holds", &[]).ok();
    assert!(holds.out.contains("case-7") && holds.out.contains(&held.to_string()), "{}", holds.out);

    lab.twinfold("--key olaf task close lesson", &[]).ok();
    until("the other update's retention is over", || {
        lab.done("ann", members::set_quota(1));
        let stat = lab.twinfold("blob stat {}", &[&updates[1]]).ok();
        stat.out.contains("by nothing").then_some(())
    });
    // A node looks when it starts, and then every ten minutes.
    lab.stop(0);
    lab.restart(0);
    until("it is released", || in_folder(&lab, &updates[1], "released"));
    let said = lab.twinfold("blob stat {}", &[&held]).ok();
    assert!(said.out.contains("for 1 reason") && said.out.contains("case-7"), "{}", said.out);

    // Their receipts' epochs must be past, and the files old.
    let now = lab.status(0).epoch;
    until("two epochs pass", || {
        lab.done("ann", members::set_quota(2));
        (lab.status(0).epoch >= Epoch(now.0 + 3)).then_some(())
    });
    lab.stop(0);
    make_older(&lab, 0);
    kill_while_it_collects(&mut lab, &more);
    lab.restart(0);
    until("what nothing keeps is gone", || {
        let gone = |digest| place(&lab, 0, digest).is_none();
        (gone(&updates[1]) && gone(&forgotten) && more.iter().all(gone)).then_some(())
    });
    assert_eq!(place(&lab, 0, &held).as_deref(), Some("named"));
    assert_eq!(place(&lab, 1, &forgotten).as_deref(), Some("pending"), "younger there");

    // The release of a hold, and what was uploaded again before it went.
    assert_eq!(put(&lab, &file), forgotten);
    assert_eq!(place(&lab, 0, &forgotten).as_deref(), Some("pending"));
    lab.twinfold("--key ann proposal new release-hold --payload {}", &[&held]).ok();
    lab.stop(0);
    lab.restart(0);
    until("what was held goes", || place(&lab, 0, &held).is_none().then_some(()));
    assert_eq!(place(&lab, 0, &forgotten).as_deref(), Some("pending"), "its lease runs anew");
    lab.stop(0);
    let config = lab.folder_of(0).join("config.toml");
    lab.node_program("audit --config {}", &[&config.display()]).ok();
}

/// Starts the node and kills it as soon as some of these are gone, twice, where so many are left.
fn kill_while_it_collects(lab: &mut Lab, forgotten: &[BlobDigest]) {
    let left = |lab: &Lab| forgotten.iter().filter(|at| place(lab, 0, at).is_some()).count();
    for _ in 0..2 {
        let before = left(lab);
        lab.restart(0);
        // Looked at without a pause: all of them are gone in a moment.
        let started = Instant::now();
        while before > 0 && left(lab) == before {
            assert!(started.elapsed() < PATIENCE, "it collects nothing");
        }
        lab.kill(0);
        let config = lab.folder_of(0).join("config.toml");
        lab.node_program("audit --config {}", &[&config.display()]).ok();
    }
}

/// One round of two updates; the digests of their payloads.
fn run_round(lab: &Lab) -> Vec<BlobDigest> {
    let mut options = learn::options("lesson", 2);
    // Long enough for the hold to come first.
    options.retention = Duration::from_secs(10);
    let course = lab.course(&options);
    for (trainer, change) in members::TRAINERS.into_iter().zip([0.25, 0.5]) {
        course.update(trainer, 0, change);
    }
    let round = course.ended(0, 0);
    round.entries.iter().map(|entry| entry.blob.digest()).collect()
}

fn put(lab: &Lab, file: &std::path::Path) -> BlobDigest {
    let said = lab.twinfold("--json --key ann blob put {}", &[&file.display()]).ok().json();
    let blob: twinfold_types::BlobId = serde_json::from_value(said["blob"].clone()).unwrap();
    blob.digest()
}

fn put_bytes(lab: &Lab, at: usize) -> BlobDigest {
    let file = lab.folder().join("another");
    std::fs::write(&file, vec![at as u8; 200_000 + at]).unwrap();
    put(lab, &file)
}

fn blobs(lab: &Lab, index: usize) -> PathBuf {
    lab.folder_of(index).join("data").join("blobs")
}

/// The folder of a node's store in which a payload's fragment lies.
fn place(lab: &Lab, index: usize, digest: &Digest) -> Option<String> {
    let lies = |folder: &&str| blobs(lab, index).join(folder).join(digest.to_string()).exists();
    ["named", "pending", "released"].into_iter().find(lies).map(Into::into)
}

fn in_folder(lab: &Lab, digest: &Digest, folder: &str) -> Option<()> {
    (place(lab, 0, digest).as_deref() == Some(folder)).then_some(())
}

fn make_older(lab: &Lab, index: usize) {
    for folder in ["named", "pending", "released"] {
        for path in files::ending_with(&blobs(lab, index).join(folder), "") {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - DAY).unwrap();
        }
    }
}
