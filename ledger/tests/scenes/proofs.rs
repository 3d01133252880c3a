use crate::kit::*;
use twinfold_ledger::LedgerError;
use twinfold_types::{
    Action, Digest, Height, TxId, codec,
    member::AdminAction,
    model::{ModelId, ModelRecord},
    proof::{Bundle, ProofError},
    round::{Entry, FoldJob, Round},
    state_key::{self, Prefix},
    subtree::{Part, Subtree},
};

/// A chain with one folded round of two updates, merged; the cluster's model and
/// the updates' transactions.
fn folded(chain: &mut Chain) -> (ModelId, Vec<TxId>) {
    let task = chain.task(|_| {});
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 0);
    chain.fold(round_job(task, 0, 0), 5);
    let (_, entries) = chain.reader.round_with_entries(&round_key(task, 0, 0)).unwrap().unwrap();
    chain.fold(FoldJob::Merge { task, number: 0 }, 6);
    let model = chain.reader.model_by_digest(&Digest([5; 32])).unwrap().unwrap();
    (model, entries.iter().map(|entry| entry.tx).collect())
}

fn value<T: serde::Serialize + serde::de::DeserializeOwned>(
    bundle: &Bundle,
    key: &twinfold_types::state_key::StateKey,
) -> T {
    codec::decode(bundle.state(key).unwrap().unwrap(), 1 << 20).unwrap()
}

#[test]
fn a_models_bundle_proves_its_record_its_round_and_who_took_part() {
    let mut chain = Chain::new();
    let (model, updates) = folded(&mut chain);
    chain.certify();
    let bundle = chain.reader.prove_model(&model).unwrap();
    bundle.verify(&genesis(), &NONE).unwrap();
    let record: ModelRecord = value(&bundle, &state_key::model(&model));
    assert_eq!(record.id(), model);
    let key = round_key(record.task.unwrap(), 0, 0);
    let round: Round = value(&bundle, &state_key::round(&key));
    assert_eq!(round.entries, 2);
    for (index, tx) in updates.iter().enumerate() {
        let entry: Entry = value(&bundle, &state_key::round_entry(&key, index as u32));
        assert_eq!(entry.tx, *tx);
        assert_eq!(bundle.transactions[index].0.id(), *tx);
    }
    // It travels in the canonical encoding.
    let bytes = codec::encode(&bundle);
    codec::decode::<Bundle>(&bytes, 1 << 20).unwrap().verify(&genesis(), &NONE).unwrap();
}

#[test]
fn the_first_model_is_proved_with_the_transaction_that_brought_it() {
    let mut chain = Chain::new();
    let task = chain.task(|_| {});
    chain.certify();
    let global = chain.reader.task(&task).unwrap().unwrap().global;
    let bundle = chain.reader.prove_model(&global).unwrap();
    bundle.verify(&genesis(), &NONE).unwrap();
    assert_eq!(bundle.transactions[0].0.id().0, task.0);
}

#[test]
fn a_proof_stays_good_while_the_chain_goes_on() {
    let mut chain = Chain::new();
    let (model, updates) = folded(&mut chain);
    chain.certify();
    for _ in 0..5 {
        chain.ok(ADMIN, Action::Propose(AdminAction::SetThreshold(1)));
    }
    for tx in &updates {
        chain.reader.prove_tx(tx).unwrap().verify(&genesis(), &NONE).unwrap();
    }
    chain.reader.prove_model(&model).unwrap().verify(&genesis(), &NONE).unwrap();
}

#[test]
fn nothing_is_proved_before_its_checkpoint_is_stable() {
    let mut chain = Chain::new();
    let early = chain.reader.prove_state(&[state_key::params()]).unwrap_err();
    assert!(matches!(early, LedgerError::NotCertified(_)), "{early}");
    chain.block(vec![]);
    chain.certify();
    let (model, updates) = folded(&mut chain);
    let error = chain.reader.prove_tx(&updates[0]).unwrap_err();
    assert!(matches!(error, LedgerError::NotCertified(_)), "{error}");
    let error = chain.reader.prove_model(&model).unwrap_err();
    assert!(matches!(error, LedgerError::NotCertified(_)), "{error}");
    let unknown = chain.reader.prove_tx(&TxId(Digest([9; 32]))).unwrap_err();
    assert!(matches!(unknown, LedgerError::Unknown(_)), "{unknown}");
}

#[test]
fn absence_is_proved_too_and_a_changed_value_is_not() {
    let mut chain = Chain::new();
    chain.block(vec![]);
    chain.certify();
    let keys = [state_key::member(&public(ADMIN)), state_key::member(&public(STRANGER))];
    let mut proofs = chain.reader.prove_state(&keys).unwrap();
    let root = chain.reader.stable().unwrap().checkpoint.state_root;
    proofs.iter().for_each(|proof| proof.verify(&root).unwrap());
    assert_eq!((proofs[0].value.is_some(), proofs[1].value.is_some()), (true, false));
    proofs[0].value.as_mut().unwrap()[5] ^= 1;
    assert!(matches!(proofs[0].verify(&root), Err(ProofError::State { .. })));
}

#[test]
fn a_bundle_of_another_chain_or_with_a_changed_receipt_is_refused() {
    let mut chain = Chain::new();
    let (_, updates) = folded(&mut chain);
    chain.certify();
    let bundle = chain.reader.prove_tx(&updates[0]).unwrap();
    let mut other = genesis();
    other.chain = "another".into();
    assert!(matches!(bundle.verify(&other, &NONE), Err(ProofError::WrongChain { .. })));
    let mut changed = bundle.clone();
    changed.transactions[0].1.receipt.index += 1;
    assert!(matches!(changed.verify(&genesis(), &NONE), Err(ProofError::Audit { .. })));
    let mut swapped = bundle;
    swapped.transactions[0].1.receipt.tx = Some(updates[1]);
    assert_eq!(swapped.verify(&genesis(), &NONE), Err(ProofError::WrongReceipt));
}

#[test]
fn proofs_work_at_every_stable_height_with_and_without_changes_and_after_pruning() {
    let mut chain = Chain::new();
    let id = chain.apply(ADMIN, Action::Propose(AdminAction::SetThreshold(1))).tx.unwrap();
    let keys = [state_key::params(), state_key::proposal(&id), state_key::member_count()];
    for height in 0..200u64 {
        if height % 3 == 0 {
            chain.ok(ADMIN, Action::Propose(AdminAction::SetThreshold(1)));
            let lapse = chain.now() + 8 * 24 * 3_600 * 1_000;
            chain.block_at(lapse, vec![]);
        }
        chain.block(vec![]);
        chain.certify();
        let root = chain.reader.stable().unwrap().checkpoint.state_root;
        assert_eq!(root, chain.reader.head().state_root);
        for proof in chain.reader.prove_state(&keys).unwrap() {
            proof.verify(&root).unwrap();
        }
    }
    let bundle = chain.reader.prove_tx(&id).unwrap();
    bundle.verify(&genesis(), &NONE).unwrap();
    assert!(!bundle.trail.ended.is_empty(), "each lapse was an epoch's end as well");
}

#[test]
fn the_whole_state_can_be_read_part_by_part_under_a_checkpoints_root() {
    let mut chain = Chain::new();
    for organisation in 0..300u32 {
        let organisation = format!("organisation {organisation}");
        chain.decide(AdminAction::SetQuota { organisation, trainers: 1 });
    }
    let head = chain.reader.head();
    let mut rows = std::collections::BTreeMap::new();
    let mut waiting = vec![(vec![], head.state_root)];
    let (mut lists, mut inner) = (0, 0);
    while let Some((nibbles, expected)) = waiting.pop() {
        let subtree = chain.reader.subtree(head.height, &nibbles).unwrap().unwrap();
        let bytes = codec::encode(&subtree);
        match Subtree::decode(&bytes, &nibbles, &expected).unwrap() {
            Subtree::Rows(found) => {
                lists += 1;
                rows.extend(found);
            }
            Subtree::Parts(parts) => {
                inner += 1;
                let below = (0..).zip(parts.iter()).filter(|(_, part)| **part != Part::Empty);
                waiting
                    .extend(below.map(|(at, part)| ([&nibbles[..], &[at]].concat(), part.hash())));
            }
        }
    }
    assert!(inner >= 1 && lists >= 16, "{inner} lists of parts, {lists} of rows");
    let quotas = chain.reader.scan::<u32>(&Prefix::Quota.scan(), None, 1_000).unwrap();
    assert_eq!(quotas.len(), 300);
    assert!(quotas.iter().all(|(key, value)| rows[key] == codec::encode(value)));
    let nothing = chain.reader.subtree(Height(head.height.0 + 1), &[]).unwrap();
    assert_eq!(nothing, None, "a height that is not executed has no state");
}

#[test]
fn a_stable_checkpoint_that_differs_from_ours_stops_the_ledger() {
    let mut chain = Chain::new();
    chain.block(vec![]);
    let ours = chain.last.clone().unwrap().checkpoint;
    let mut theirs = ours.clone();
    theirs.state_root.0[0] ^= 1;
    let certificate = chain.stable(theirs.clone());
    match chain.ledger.set_stable(&certificate).unwrap_err() {
        LedgerError::Diverged { height, ours: left, theirs: right } => {
            assert_eq!((height, *left, *right), (Height(1), ours.clone(), theirs));
        }
        other => panic!("{other}"),
    }
    let mut beyond = ours;
    beyond.height = Height(2);
    let certificate = chain.stable(beyond);
    let error = chain.ledger.set_stable(&certificate).unwrap_err();
    assert!(matches!(error, LedgerError::NotExecuted { .. }), "{error}");
    assert_eq!(chain.reader.stable(), None);
}

#[test]
fn an_older_stable_checkpoint_changes_nothing() {
    let mut chain = Chain::new();
    chain.block(vec![]);
    let old = chain.stable(chain.last.clone().unwrap().checkpoint);
    chain.block(vec![]);
    chain.certify();
    let newest = chain.reader.stable();
    chain.ledger.set_stable(&old).unwrap();
    assert_eq!(chain.reader.stable(), newest);
}
