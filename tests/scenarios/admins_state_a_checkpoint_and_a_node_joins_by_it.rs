//! Two of three admins state a checkpoint; a node that is told to begin from nothing less
//! takes it, and refuses what fewer, others, or the same ones twice have signed.

use crate::lab::{Lab, cli::Said, members, observer::Observer, reaches, until};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

#[test]
fn admins_state_a_checkpoint_and_a_node_joins_by_it() {
    let mut lab = Lab::form(2);
    let observer = lab.make_node("observer", "inspectorate");
    lab.change_genesis(&[0, 1, 2, 3], |genesis| genesis.members.push(observer.member()));
    let mut forge = lab.forge(Duration::from_secs(3_600));
    let ann = members::secret("ann");
    for number in 0..8 {
        let tx = forge.tx(&ann, members::set_quota_of(number, 7));
        forge.block(60_000, vec![tx]);
    }
    forge.certify();
    std::fs::copy(lab.network.genesis(), observer.dir.join("genesis.json")).expect("its copy");
    lab.give(forge);
    lab.start_all();

    let file = observer.dir.join("checkpoint.json");
    let join = "[join]\ncheckpoint = \"checkpoint.json\"\nstated = true\n\n[retention]";
    lab.configure(&observer.dir, &[("[retention]", join)]);
    let refuses = |words: &[&str]| {
        lab.refuses_to_start(&observer.dir).refused(1, words);
        assert!(!observer.dir.join("data/ledger").exists());
    };
    one_that_nobody_states_is_refused(&lab, &file, &refuses);
    let one = one_admin_is_too_few(&lab, &file, &refuses);
    let whole = two_admins_sign_copies(&lab, &one);
    what_was_changed_is_refused(&lab, &file, &whole, &refuses);
    std::fs::copy(&whole, &file).expect("the file");
    it_joins(&lab, &observer);
}

fn as_admin(lab: &Lab, who: &str, what: &str, file: &Path) -> Said {
    lab.twinfold(&format!("--json --key {who} checkpoint {what} {{}}"), &[&file.display()])
}

fn one_that_nobody_states_is_refused(lab: &Lab, file: &Path, refuses: &dyn Fn(&[&str])) {
    let genesis = lab.network.genesis().display().to_string();
    let said = lab.node_program("checkpoint --node {} --genesis {}", &[&lab.url(1), &genesis]);
    std::fs::write(file, said.ok().out).expect("the file");
    refuses(&["checkpoint.json", "0 of the genesis file's 3 admins"]);
}

fn one_admin_is_too_few(lab: &Lab, file: &Path, refuses: &dyn Fn(&[&str])) -> PathBuf {
    let one = lab.folder().join("one.json");
    let said = as_admin(lab, "ann", "state -o", &one).ok().json();
    assert_eq!((&said["admins"][0], &said["needed"]), (&"ann".into(), &2.into()), "{said}");
    assert_eq!(said["height"], 8, "{said}");
    as_admin(lab, "ann", "sign", &one).refused(1, &["ann signs it twice"]);
    as_admin(lab, "olaf", "sign", &one).refused(1, &["no admin in the genesis file"]);
    as_admin(lab, "stranger", "state -o", &lab.folder().join("none.json"))
        .refused(1, &["no admin in the genesis file"]);
    std::fs::copy(&one, file).expect("the file");
    refuses(&["1 of the genesis file's 3 admins", "2 are needed"]);
    one
}

fn two_admins_sign_copies(lab: &Lab, one: &Path) -> PathBuf {
    let (copy, whole) = (lab.folder().join("copy.json"), lab.folder().join("whole.json"));
    std::fs::copy(one, &copy).expect("a copy");
    as_admin(lab, "ben", "sign", &copy).ok();
    let said = lab
        .twinfold(
            "--json checkpoint combine {} {} -o {}",
            &[&one.display(), &copy.display(), &whole.display()],
        )
        .ok()
        .json();
    assert_eq!(said["admins"], serde_json::json!(["ann", "ben"]), "{said}");
    let said = lab.twinfold("checkpoint show {}", &[&whole.display()]).ok();
    assert!(said.out.contains("enough for a node to begin from it"), "{said:#?}");
    whole
}

fn what_was_changed_is_refused(lab: &Lab, file: &Path, whole: &Path, refuses: &dyn Fn(&[&str])) {
    let text = std::fs::read_to_string(whole).expect("the file");
    let changed = |change: &dyn Fn(&mut serde_json::Value), reason: &str| {
        let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        change(&mut json);
        std::fs::write(file, json.to_string()).expect("the file");
        lab.twinfold("checkpoint show {}", &[&file.display()]).refused(5, &[reason]);
        refuses(&[reason]);
    };
    let (ann, olaf) = (members::public("ann").to_string(), members::public("olaf").to_string());
    let cyd = members::public("cyd").to_string();
    let admin =
        |json: &mut serde_json::Value, key: &str| json["statements"][1]["admin"] = key.into();
    changed(&|json| admin(json, &cyd), "the signature of cyd is not good");
    changed(&|json| admin(json, &olaf), "of no admin in the genesis file");
    changed(&|json| admin(json, &ann), "ann signs it twice");
    changed(&|json| json["chain"] = "ab".repeat(32).into(), "it is of chain abab");
    changed(&|json| json["header"]["time"] = 1_000.into(), "its header is that of block");
}

fn it_joins(lab: &Lab, observer: &Observer) {
    let client = lab.start_observer(observer);
    until("the observer has joined", || {
        client.status().ok().filter(|status| status.join.is_none() && status.height.0 > 0)
    });
    let log = observer.log();
    assert!(log.contains("the admins ann, ben"), "{log}");
    assert!(log.contains("joined: the ledger begins here"), "{log}");
    reaches(&client, lab.status(0).height);
}
