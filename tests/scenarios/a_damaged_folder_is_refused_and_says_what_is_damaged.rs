//! Flipped bytes in what a node wrote: it refuses to start on it and says which file;
//! the others go on.

use crate::lab::{
    Lab,
    files::{copy_folder, ending_with, flip},
    members,
};
use std::{fs, path::Path};

#[test]
fn a_damaged_folder_is_refused_and_says_what_is_damaged() {
    let mut lab = Lab::start();
    for number in 0..20 {
        lab.done("ann", members::set_quota(number));
    }
    assert!(lab.stop(3).success(), "SIGTERM is a good end");
    let dir = lab.folder_of(3);
    let (data, kept) = (dir.join("data"), dir.join("kept"));
    copy_folder(&data, &kept);
    let with_damage = |damage: &dyn Fn(&Path), words: &[&str]| {
        fs::remove_dir_all(&data).unwrap();
        copy_folder(&kept, &data);
        damage(&data);
        lab.refuses_to_start(&dir).refused(1, words);
    };
    let ledger = data.join("ledger").display().to_string();
    let refusal = [ledger.as_str(), "damaged"];
    with_damage(&|data| flip_throughout(data, ".log"), &refusal);
    with_damage(&|data| flip_throughout(data, "CURRENT"), &refusal);
    with_damage(&|data| flip_manifest(data), &refusal);
    with_damage(&|data| fs::remove_file(data.join("ledger/CURRENT")).unwrap(), &refusal);
    with_damage(&|data| flip(&data.join("journal"), 90), &["journal", "damaged at byte 64"]);
    with_damage(
        &|data| fs::remove_file(data.join("journal")).unwrap(),
        &["journal", "is not there", "two things at once"],
    );
    with_damage(&|data| flip(&data.join("journal"), 3), &["journal", "damaged at byte 0"]);
    with_damage(&|data| flip(&data.join("journal"), 20), &["journal", "damaged at byte 0"]);

    // Opened once more, the log's rows stand in tables; those are damaged next.
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&kept, &data);
    lab.restart(3);
    assert!(lab.stop(3).success());
    fs::remove_dir_all(&kept).unwrap();
    copy_folder(&data, &kept);
    let with_damage = |damage: &dyn Fn(&Path), words: &[&str]| {
        fs::remove_dir_all(&data).unwrap();
        copy_folder(&kept, &data);
        damage(&data);
        lab.refuses_to_start(&dir).refused(1, words);
    };
    with_damage(&|data| flip_throughout(data, ".sst"), &refusal);
    with_damage(&|data| remove_one(data, ".sst"), &refusal);

    // The whole folder is as good as before.
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&kept, &data);
    lab.restart(3);
    lab.works();
    lab.same_root();
}

/// Every 64th byte, so that whatever is read of the file is damaged.
fn flip_throughout(data: &Path, end: &str) {
    let paths = ending_with(&data.join("ledger"), end);
    assert!(!paths.is_empty(), "no file ends with {end}");
    for path in paths {
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().skip(1).step_by(64).for_each(|byte| *byte ^= 0xff);
        fs::write(&path, bytes).unwrap();
    }
}

fn flip_manifest(data: &Path) {
    let current = fs::read_to_string(data.join("ledger/CURRENT")).unwrap();
    let manifest = data.join("ledger").join(current.trim());
    let middle = fs::metadata(&manifest).unwrap().len() as usize / 2;
    flip(&manifest, middle);
}

fn remove_one(data: &Path, end: &str) {
    fs::remove_file(&ending_with(&data.join("ledger"), end)[0]).unwrap();
}
