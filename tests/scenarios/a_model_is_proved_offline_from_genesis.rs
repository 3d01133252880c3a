//! From a model back to the keys that made it: get, publish, lineage, verify, and
//! proofs that need nothing but the genesis file.

use crate::lab::{
    Lab,
    files::flip,
    learn::options,
    members::{TRAINERS, public},
    until,
};
use std::fs;
use twinfold_types::TxId;

/// `twinfold` found that something is not what it should be.
const NOT_PROVED: i32 = 5;

#[test]
fn a_model_is_proved_offline_from_genesis() {
    let mut lab = Lab::start();
    let course = lab.course(&options("proved", 2));
    let mut txs = vec![];
    for round in 0..3 {
        txs.extend(TRAINERS[..2].iter().map(|trainer| course.update(trainer, 0, 0.25).id));
        course.ended(0, round);
    }
    let task = until("three merges are done", || {
        lab.client().task(&course.name()).ok().filter(|task| task.merges == 3)
    });
    let model = task.global.to_string();
    the_lineage_names_every_update(&lab, &model, &txs);
    a_published_copy_is_the_same_model(&lab, &model);
    proofs_hold_offline_and_a_flipped_byte_does_not(&mut lab, &model, &txs);
}

fn the_lineage_names_every_update(lab: &Lab, model: &str, txs: &[TxId]) {
    // Three rounds, three merges and the first model.
    let lineage = lab.twinfold("--json model lineage {}", &[&model]).ok().json();
    assert_eq!(lineage["complete"], true);
    assert_eq!(lineage["models"].as_array().unwrap().len(), 7);
    assert_eq!(lineage["rounds"].as_array().unwrap().len(), 3);
    let report = lab.twinfold("--json model verify {} --recompute", &[&model]).ok().json();
    assert_eq!((&report["models"], &report["recomputed"]), (&7.into(), &7.into()), "{report}");
    assert_eq!(report["trainers"], 2);
    let updates = report["updates"].as_array().unwrap();
    assert_eq!(updates.len(), txs.len());
    for id in txs {
        let found = updates.iter().find(|update| update["tx"] == id.to_string());
        let trainer = found.expect("each update is named")["trainer"].as_str().unwrap();
        assert!(TRAINERS[..2].iter().any(|name| public(name).to_string() == trainer));
    }
    lab.twinfold("model verify {}", &[&"00".repeat(32)]).refused(1, &["0000"]);
}

fn a_published_copy_is_the_same_model(lab: &Lab, model: &str) {
    let file = lab.folder().join("model.safetensors");
    let got = lab.twinfold("--json model get {} -o {}", &[&model, &file.display()]).ok().json();
    let publish = "--json model publish {} --name copy --description again --key olaf";
    lab.twinfold(publish, &[&file.display()]).ok();
    // The same name again is another matter.
    lab.twinfold(publish, &[&file.display()]).refused(3, &["already published"]);
    let list = lab.twinfold("--json model list", &[]).ok().json();
    let copy = list.as_array().unwrap().iter().find(|model| model["name"] == "copy").unwrap();
    assert_eq!(copy["record"]["digest"], got["digest"], "the twins kept every bit");
    let id = copy["id"].as_str().unwrap();
    let (raw, again) = (lab.folder().join("raw"), lab.folder().join("again"));
    lab.twinfold("model get {} --raw -o {}", &[&model, &raw.display()]).ok();
    lab.twinfold("model get {} --raw -o {}", &[&id, &again.display()]).ok();
    assert_eq!(fs::read(raw).unwrap(), fs::read(again).unwrap());
    lab.twinfold("model verify {} --recompute", &[&id]).ok();
}

fn proofs_hold_offline_and_a_flipped_byte_does_not(lab: &mut Lab, model: &str, txs: &[TxId]) {
    let (of_model, of_tx) = (lab.folder().join("model.proof"), lab.folder().join("tx.proof"));
    lab.twinfold("tx {} --wait certified", &[&txs[5]]).ok();
    lab.twinfold("proof get {} -o {}", &[&txs[5], &of_tx.display()]).ok();
    lab.twinfold("proof get {} -o {}", &[&model, &of_model.display()]).ok();
    lab.twinfold("proof get {} -o {}", &[&"11".repeat(32), &of_tx.display()]).refused(1, &["1111"]);
    // From here on nobody can be asked.
    (0..4).for_each(|index| lab.kill(index));
    let verify = |file: &std::path::Path| {
        lab.twinfold("--json --node http://127.0.0.1:9 proof verify {}", &[&file.display()])
    };
    let said = verify(&of_tx).ok().json();
    assert_eq!(said["transactions"][0]["id"], txs[5].to_string());
    assert_eq!(said["transactions"][0]["code"], 0);
    let said = verify(&of_model).ok().json();
    assert_eq!(said["models"][0]["id"], model);

    let length = fs::metadata(&of_tx).unwrap().len() as usize;
    for at in (0..length).step_by(length / 12) {
        flip(&of_tx, at);
        verify(&of_tx).refused(NOT_PROVED, &["tx.proof"]);
        flip(&of_tx, at);
    }
    verify(&of_tx).ok();
    // Against another chain's genesis it proves nothing.
    let other = lab.folder().join("other.json");
    let text = fs::read_to_string(lab.network.genesis()).unwrap();
    fs::write(&other, text.replacen("\"testnet\"", "\"another\"", 1)).unwrap();
    lab.twinfold("--genesis {} proof verify {}", &[&other.display(), &of_tx.display()])
        .refused(NOT_PROVED, &["chain"]);
}
