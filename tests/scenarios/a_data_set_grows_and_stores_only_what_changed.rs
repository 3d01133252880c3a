//! A file on the ledger, appended to by another member once its owner lets it. A change of one
//! hundredth costs little more than that; old and new version come back to the byte with a validator
//! down, which makes its fragments when it is up again; and a task trains on a version by its link.

use crate::lab::{Lab, members::public, python::python, until};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};
use twinfold_types::{BlobId, dataset::DatasetVersion};

/// About 16 MB of CSV.
const ROWS: u64 = 600_000;
/// A hundredth of the rows, in one place.
const CHANGED: u64 = ROWS / 100;

#[test]
fn a_data_set_grows_and_stores_only_what_changed() {
    let mut lab = Lab::start();
    let (first, second) =
        (table(|_| false), table(|row| (200_000..200_000 + CHANGED).contains(&row)));
    let file = write(&lab, "first.csv", &first);
    let line =
        "--json --key olaf dataset create readings {} --licence CC0-1.0 --description hourly";
    let created = lab.twinfold(line, &[&file.display()]).ok().json();
    assert_eq!((&created["version"], &created["bytes_shared"]), (&1.into(), &0.into()));
    assert_eq!(created["content"]["rows"], ROWS);
    lab.twinfold("--key tess dataset create readings", &[])
        .refused(3, &["a data set has this name"]);

    appended_by_another_once_granted(&lab, &second);
    let third = [second.as_bytes(), b"600000,4,1.5\n"].concat();
    lab.kill(2);
    let pack = appended_with_a_validator_down(&lab, &third);
    for (version, content) in [(1, first.as_bytes()), (2, second.as_bytes()), (3, &third)] {
        for node in [0, 1, 3] {
            comes_back(&lab, node, version, content);
        }
    }
    resumes(&lab, second.as_bytes());
    lab.restart(2);
    let digest = pack.digest().to_string();
    let fragment = lab.folder_of(2).join("data/blobs/named").join(digest);
    until("the validator made the fragment that it missed", || fragment.exists().then_some(()));
    shows_where_everything_came_from(&lab);
    a_task_trains_on_it(&lab);
    is_purged_by_its_owner(&lab);
}

fn appended_by_another_once_granted(lab: &Lab, content: &str) {
    let file = write(lab, "second.csv", content);
    let append = "--json --key tess dataset append readings {}";
    lab.twinfold(append, &[&file.display()]).refused(3, &["does not let the sender append"]);
    let tess = public("tess");
    lab.twinfold("--key theo dataset grant readings {}", &[&tess]).refused(3, &["roles"]);
    lab.twinfold("--key olaf dataset grant readings {}", &[&tess]).ok();
    let appended = lab.twinfold(append, &[&file.display()]).ok().json();
    let number = |name: &str| appended[name].as_u64().expect(name);
    assert_eq!(number("version"), 2);
    let length = content.len() as u64;
    assert!(number("bytes_sent") < length / 30, "{} of {length}", number("bytes_sent"));
    assert!(number("bytes_shared") > length / 30 * 29, "{} of {length}", number("bytes_shared"));
    lab.twinfold(append, &[&file.display()]).refused(1, &["nothing to append"]);
    lab.twinfold("--key olaf dataset revoke readings {}", &[&tess]).ok();
    let other = write(lab, "other.csv", "a,b\n1,2\n");
    lab.twinfold(append, &[&other.display()]).refused(3, &["does not let the sender append"]);
    let left = std::fs::read_dir(lab.people().join("state")).unwrap().count();
    assert_eq!(left, 0, "nothing of an upload stays behind");
}

/// The pack that came with the version.
fn appended_with_a_validator_down(lab: &Lab, content: &[u8]) -> BlobId {
    let file = lab.folder().join("third.csv");
    std::fs::write(&file, content).unwrap();
    lab.twinfold("--key olaf dataset append readings {}", &[&file.display()]).ok();
    let version = lab.twinfold("--json dataset show readings@3", &[]).ok().json();
    let version: DatasetVersion = serde_json::from_value(version).unwrap();
    assert_eq!((version.parent, version.by), (Some(2), public("olaf")));
    let [pack] = version.packs[..] else { panic!("{version:?}") };
    pack
}

fn comes_back(lab: &Lab, node: usize, version: u64, content: &[u8]) {
    let copy = lab.folder().join("copy.csv");
    let line = "--node {} dataset get readings@{} -o {} --prove";
    lab.twinfold(line, &[&lab.url(node), &version, &copy.display()]).ok();
    assert!(std::fs::read(&copy).unwrap() == content, "version {version} from node {node}");
}

/// What a broken download left is taken up as far as it is right.
fn resumes(lab: &Lab, content: &[u8]) {
    let copy = lab.folder().join("resumed.csv");
    let part = lab.folder().join("resumed.csv.part");
    std::fs::write(&part, [&content[..5_000_000], &[0; 9_000_000]].concat()).unwrap();
    lab.twinfold("dataset get readings@2 -o {}", &[&copy.display()]).ok();
    assert!(std::fs::read(&copy).unwrap() == content);
    assert!(!part.exists());
    let line = "dataset get readings@9 -o {}";
    lab.twinfold(line, &[&copy.display()]).refused(1, &["its versions are 1 to 3"]);
}

/// For good, by its owner, and only when it says so; what is recorded stays.
fn is_purged_by_its_owner(lab: &Lab) {
    lab.twinfold("--key tess dataset purge readings --yes", &[]).refused(3, &["roles"]);
    lab.twinfold("--key olaf dataset purge readings", &[]).refused(2, &["--yes"]);
    let said = lab.twinfold("--key olaf dataset purge readings --yes", &[]).ok().out;
    assert!(said.contains("are purged"), "{said}");
    let file = lab.folder().join("gone");
    lab.twinfold("dataset get readings@1 -o {}", &[&file.display()]).refused(1, &["was purged"]);
    assert!(lab.twinfold("dataset show readings@1", &[]).ok().out.contains("SHA-256"));
    let version = lab.twinfold("--json dataset show readings@1", &[]).ok().json();
    let manifest: twinfold_types::BlobId =
        serde_json::from_value(version["manifest"].clone()).expect("an identity");
    let stat = lab.twinfold("blob stat {}", &[&manifest.digest()]).ok().out;
    assert!(stat.contains("by nothing"), "{stat}");
    lab.twinfold("--key olaf dataset purge readings --yes", &[]).refused(2, &["nothing is left"]);
}

fn shows_where_everything_came_from(lab: &Lab) {
    let shown = lab.twinfold("dataset show readings", &[]).ok();
    for words in ["olaf", "tess", "CC0-1.0", "made from", "listed: nobody"] {
        assert!(shown.out.contains(words), "{words}: {}", shown.out);
    }
    assert!(lab.twinfold("dataset list", &[]).ok().out.contains("readings"));
    let version = lab.twinfold("--json dataset show readings@2", &[]).ok().json();
    let card = lab.twinfold("dataset show readings@2 --card croissant", &[]).ok().json();
    assert_eq!(card["distribution"][0]["sha256"], version["content"]["sha256"]);
    assert_eq!(card["isBasedOn"], "twinfold://dataset/readings@1");
    let fields = card["recordSet"][0]["field"].as_array().unwrap();
    let types: Vec<_> = fields.iter().map(|field| field["dataType"].as_str().unwrap()).collect();
    assert_eq!(types, ["sc:Integer", "sc:Integer", "sc:Float"]);
    let file = lab.folder().join("card.json");
    std::fs::write(&file, card.to_string()).unwrap();
    assert_eq!(validated(&file), Some(0), "by mlcroissant");
    // The validator does look: it refuses a card without a distribution's type.
    std::fs::write(&file, card.to_string().replace("cr:FileObject", "cr:Nothing")).unwrap();
    assert_ne!(validated(&file), Some(0));
}

/// The exit code of MLCommons' own validator.
fn validated(card: &Path) -> Option<i32> {
    let program = python().with_file_name("mlcroissant");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "120"]).arg(program).arg("validate").arg("--jsonld").arg(card);
    command.output().expect("the validator starts").status.code()
}

fn a_task_trains_on_it(lab: &Lab) {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/data/optdigits.csv");
    lab.twinfold("--key olaf dataset create digits {} --rule role:trainer", &[&data]).ok();
    let line = "--key olaf task create --name t --architecture softmax --features 64 --classes 10 \
                --rounds 1 --deadline 90s --participants-max 1";
    lab.twinfold(line, &[]).ok();
    let line =
        "--key tess train --task t --cluster 0 --rounds 1 --data twinfold://dataset/digits@1";
    lab.twinfold(line, &[]).ok();
    let folder = lab.people().join("state/datasets");
    let cached: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    assert_eq!(cached.len(), 1);
    assert!(std::fs::read(cached[0].path()).unwrap() == std::fs::read(data).unwrap());
    let line = "--key tess train --task t --data twinfold://dataset/digits@2";
    lab.twinfold(line, &[]).refused(1, &["its versions are 1 to 1"]);
}

fn table(changed: impl Fn(u64) -> bool) -> String {
    let (mut text, mut state) = ("row,site,value\n".to_string(), 88_172_645_463_325_252u64);
    for row in 0..ROWS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (site, value) = (state % 17, (state >> 20) % 1_000_000_007);
        // A changed row is longer: everything behind it moves.
        let sign = if changed(row) { "-1" } else { "" };
        writeln!(text, "{row},{site},{sign}{value}.5").unwrap();
    }
    text
}

fn write(lab: &Lab, name: &str, content: &str) -> PathBuf {
    let path = lab.folder().join(name);
    std::fs::write(&path, content).unwrap();
    path
}
