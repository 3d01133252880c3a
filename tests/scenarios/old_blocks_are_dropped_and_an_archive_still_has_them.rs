//! Three validators keep as little as they may, the fourth keeps everything. What is dropped
//! is said to be, the three cannot help who starts from nothing, and the fourth can.

use crate::lab::{Lab, members, until};
use std::time::Duration;
use twinfold_cli::client::ClientError;
use twinfold_types::{Height, limits};

const HEIGHTS: u64 = limits::BLOCKS_KEPT_MIN + 300;

#[test]
fn old_blocks_are_dropped_and_an_archive_still_has_them() {
    let mut lab = Lab::form(1);
    let mut forge = lab.forge(Duration::from_secs(3 * 3_600));
    let ann = members::secret("ann");
    for number in 0..HEIGHTS {
        let tx = forge.tx(&ann, members::set_quota(number as u32));
        forge.block(2_000, vec![tx]);
    }
    forge.certify();
    let first_tx = forge.reader.block(Height(1)).unwrap().unwrap().txs[0].id();
    lab.give(forge);
    for index in 0..3 {
        let little = [
            ("archive = true", "archive = false"),
            ("blocks = 100000", "blocks = 0"),
            ("days = 30", "days = 0"),
        ];
        lab.configure(&lab.folder_of(index), &little);
    }
    lab.start_all();
    for index in 0..3 {
        until("old blocks are dropped", || {
            let first = lab.client_of(index).status().ok()?.first_block;
            (first == Height(HEIGHTS - limits::BLOCKS_KEPT_MIN)).then_some(())
        });
    }
    assert_eq!(lab.status(3).first_block, Height(1));

    let said = |refusal: Result<_, ClientError>| {
        let error = refusal.expect_err("a refusal");
        format!("{error}; {}", error.hint())
    };
    let refused = said(lab.client_of(0).block(Height(1)).map(drop));
    for word in ["block 1 ", "keeps blocks from height 300", "archive = true"] {
        assert!(refused.contains(word), "{word:?} is missing: {refused}");
    }
    let refused = said(lab.client_of(0).tx_proof(&first_tx).map(drop));
    assert!(refused.contains("keeps blocks from height 300"), "{refused}");
    lab.client_of(3).block(Height(1)).expect("the archive has it");
    lab.client_of(3).tx_proof(&first_tx).expect("and proves what is in it");
    lab.done("ann", members::set_quota(7));
    lab.same_root();

    // Who starts from nothing hears from the three that they cannot help.
    let observer = lab.admit_observer();
    lab.stop(3);
    let client = lab.start_observer(&observer);
    let config = observer.dir.join("config.toml");
    until("the observer says what it lacks", || {
        let said = lab.node_program("doctor --config {}", &[&config.display()]);
        said.out.contains("3 peers keep blocks from height 3").then_some(())
    });
    lab.restart(3);
    crate::lab::reaches(&client, lab.status(0).height);
    assert_eq!(client.status().unwrap().state_root, lab.status(0).state_root);
    client.block(Height(1)).expect("the observer replayed everything");
}
