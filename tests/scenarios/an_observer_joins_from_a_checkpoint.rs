//! A new node is given a checkpoint instead of the whole chain: it takes the state from
//! several peers, survives a kill in the middle, and goes on with the others' root.

use crate::lab::{Lab, learn::options, members, members::TRAINERS, reaches, until};
use std::time::Duration;
use twinfold_cli::client::Client;
use twinfold_types::{Height, api::StatusView};

/// Enough rows that the state falls into many parts.
const ORGANISATIONS: u32 = 3_000;

#[test]
fn an_observer_joins_from_a_checkpoint() {
    let mut lab = Lab::form(1);
    let mut forge = lab.forge(Duration::from_secs(3_600));
    let ann = members::secret("ann");
    for hundred in 0..ORGANISATIONS / 100 {
        let numbers = (0..100).map(|number| 100 * hundred + number);
        let txs = numbers.map(|number| forge.tx(&ann, members::set_quota_of(number, 7)));
        let txs = txs.collect();
        forge.block(60_000, txs);
    }
    forge.certify();
    lab.give(forge);
    lab.start_all();
    let course = lab.course(&options("before it came", 1));
    course.update(TRAINERS[0], 0, 0.5);
    course.ended(0, 0);

    let observer = lab.admit_observer();
    lab.trust_checkpoint(&observer);

    // Killed as soon as something has come, until it gets through.
    let mut kills = 0;
    let client = loop {
        let client = lab.start_observer(&observer);
        let status = until("the observer answers", || client.status().ok());
        if status.join.is_none() {
            break client;
        }
        until("parts have come, or all is there", || {
            let status = client.status().ok()?;
            status.join.is_none_or(|join| join.rows > 300 * (kills + 1)).then_some(())
        });
        if kills == 2 {
            break client;
        }
        lab.signal("observer", "-KILL");
        lab.ended("observer");
        kills += 1;
    };
    joined(&lab, &client);

    // It goes on with blocks, takes transactions, and serves what it holds.
    course.update(TRAINERS[1], 0, 0.5);
    let round = course.ended(0, 1);
    let height = lab.done("ann", members::set_quota(9)).receipt.expect("a receipt").height;
    reaches(&client, height);
    same_state(&lab, &client);
    let twinfold_types::round::RoundState::Aggregated { model, .. } = round.round.state else {
        panic!("the round is {:?}", round.round.state);
    };
    let record = client.model(&model).expect("the record").record;
    client.model_content(&model, &record.digest, 60).expect("the content");
    let refused = client.block(Height(1)).map(drop).expect_err("it never had it").to_string();
    assert!(refused.contains("keeps blocks from height"), "{refused}");
    an_old_or_foreign_checkpoint_is_refused(&lab, &observer);
}

fn joined(lab: &Lab, client: &Client) -> StatusView {
    let status = until("the observer has joined", || {
        client.status().ok().filter(|status| status.join.is_none() && status.height.0 > 0)
    });
    let log = std::fs::read_to_string(lab.folder().join("observer/log")).expect("its log");
    assert!(log.contains("joined: the ledger begins here"), "the log tells of it");
    assert!(status.first_block > Height(1), "it did not replay: {status:?}");
    reaches(client, lab.status(0).height);
    same_state(lab, client);
    status
}

/// Equal roots at one height.
fn same_state(lab: &Lab, observer: &Client) {
    until("the observer stands at the validators' height with their root", || {
        let (ours, theirs) = (observer.status().ok()?, lab.client_of(0).status().ok()?);
        (ours.height == theirs.height).then(|| assert_eq!(ours.state_root, theirs.state_root))
    });
}

fn an_old_or_foreign_checkpoint_is_refused(lab: &Lab, observer: &crate::lab::observer::Observer) {
    lab.signal("observer", "-TERM");
    lab.ended("observer");
    std::fs::remove_dir_all(observer.dir.join("data")).expect("its data");
    let file = observer.dir.join("checkpoint.json");
    let whole = std::fs::read_to_string(&file).expect("the file");
    let mut json: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    json["header"]["time"] = 1_000.into();
    std::fs::write(&file, json.to_string()).expect("the file");
    lab.refuses_to_start(&observer.dir)
        .refused(1, &["checkpoint.json", "its header is that of block"]);
    let mut json: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    json["certificate"]["checkpoint"]["height"] = 1.into();
    std::fs::write(&file, json.to_string()).expect("the file");
    lab.refuses_to_start(&observer.dir).refused(1, &["checkpoint.json", "certificate"]);
    assert!(!observer.dir.join("data/ledger").exists());
}
