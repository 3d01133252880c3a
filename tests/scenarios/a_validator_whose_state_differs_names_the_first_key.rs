//! One value is changed behind a validator's back. When a transaction brings the state
//! and that value together its root differs from the committee's: it stops, stays
//! readable, and names the key. The others go on.

use crate::lab::{Lab, members, until};
use std::path::Path;
// Brings the compression libraries that RocksDB is linked to.
use twinfold_ledger as _;
use twinfold_types::{codec, state_key};

const ORGANISATION: &str = "elsewhere";

#[test]
fn a_validator_whose_state_differs_names_the_first_key() {
    let mut lab = Lab::start();
    lab.done("ann", members::set_quota(7));
    lab.same_root();
    assert!(lab.stop(3).success());
    change_value(&lab.folder_of(3).join("data/ledger"), 8);
    lab.restart(3);

    // To that node this is no change.
    lab.done("ann", members::set_quota(8));
    let why = until("the validator explains itself", || {
        lab.client_of(3).status().ok()?.halted.filter(|why| why.contains("state key"))
    });
    let key: String =
        state_key::quota(ORGANISATION).bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for word in ["Quota", &key, "value 07000000 here", "value 08000000 certified"] {
        assert!(why.contains(word), "{word:?} is missing: {why}");
    }
    for number in 9..12 {
        lab.done("ann", members::set_quota(number));
    }
    let height = lab.status(0).height;
    for index in 0..3 {
        lab.reaches(index, height);
    }
}

/// Changes the newest value, not the tree, of the state in a stopped node's folder.
fn change_value(ledger: &Path, value: u32) {
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, ledger).expect("a RocksDB folder");
    let db = rocksdb::DB::open_cf(&options, ledger, families).expect("nobody else has it open");
    let state = db.cf_handle("state").expect("the family that docs/state.md names");
    let key = state_key::quota(ORGANISATION);
    assert!(db.get_cf(state, key.bytes()).expect("a read").is_some(), "the row is there");
    db.put_cf(state, key.bytes(), codec::encode(&value)).expect("a write");
}
