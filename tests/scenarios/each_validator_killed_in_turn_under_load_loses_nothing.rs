//! Every validator dies once (kill −9) while transactions come in. What was
//! acknowledged as executed is there afterwards, once, on all of them.

use crate::lab::{Lab, PATIENCE, code, members};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};
use twinfold_types::{Code, Height, TxId, api::Level};

#[test]
fn each_validator_killed_in_turn_under_load_loses_nothing() {
    let mut lab = Lab::start();
    let acknowledged = under_load(&mut lab, |lab, load| {
        for index in 0..4 {
            load.more(5);
            lab.kill(index);
            load.more(10);
            lab.restart(index);
        }
        load.more(5);
    });
    lab.same_root();
    for index in 0..4 {
        let applied = applied(&lab, index);
        for id in &acknowledged {
            assert_eq!(applied.get(id), Some(&1), "transaction {id} on node {}", index + 1);
        }
    }
}

struct Load {
    executed: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Waits until so many more transactions were executed: the load goes on.
    fn more(&self, count: usize) {
        let wanted = self.executed.load(Ordering::SeqCst) + count;
        crate::lab::until("transactions are executed", || {
            (self.executed.load(Ordering::SeqCst) >= wanted).then_some(())
        });
    }
}

/// Two clients send one transaction after the other meanwhile, each waiting for
/// its execution. Returns what was acknowledged.
fn under_load(lab: &mut Lab, act: impl FnOnce(&mut Lab, &Load)) -> Vec<TxId> {
    let load = Load { executed: AtomicUsize::new(0), over: AtomicBool::new(false) };
    let clients = [lab.client(), lab.client()];
    std::thread::scope(|scope| {
        let load = &load;
        let senders = clients.map(|client| {
            scope.spawn(move || {
                let (secret, mut ids) = (members::secret("ann"), vec![]);
                while !load.over.load(Ordering::SeqCst) {
                    let action = members::set_quota(ids.len() as u32);
                    let status = client
                        .submit(&secret, action, Level::Executed, PATIENCE)
                        .expect("executed although a validator is down");
                    assert_eq!(code(&status), Code::Ok);
                    ids.push(status.id);
                    load.executed.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(10));
                }
                ids
            })
        });
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(lab, load)));
        load.over.store(true, Ordering::SeqCst);
        let ids = senders.map(|sender| sender.join().expect("the sender goes on"));
        acted.expect("validators die and come back");
        ids.concat()
    })
}

/// How often each transaction of a node's blocks was carried out. After a change of
/// leader a block may name one again; then its receipt says so, and nothing happens.
fn applied(lab: &Lab, index: usize) -> BTreeMap<TxId, u32> {
    let client = lab.client_of(index);
    let head = client.status().expect("the node answers").height;
    let mut counts = BTreeMap::new();
    for height in 1..=head.0 {
        for tx in client.block(Height(height)).expect("the block is there").txs {
            let receipt = tx.receipt.expect("an executed block has receipts");
            *counts.entry(tx.id).or_insert(0) += u32::from(receipt.code == Code::Ok);
        }
    }
    counts
}
