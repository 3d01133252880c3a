//! Opening a folder: the first state of an empty one; of another, whether it is of
//! this chain and format, and whether its head fits together.

use crate::{
    audit,
    error::LedgerError,
    genesis,
    ledger::{Head, Published, checkpoint, checkpoint_of, put_state},
    look::Look,
    proof, recovery,
    rocks::{Order, Rocks, View},
    store::{self, Batch, Column, LAYOUT_VERSION},
    term, tree,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use twinfold_types::{Digest, Height, block::body_digest, genesis::Genesis, merkle};

pub fn open(
    dir: &Path,
    logs: Option<&Path>,
    genesis: &Genesis,
    chain: &Digest,
) -> Result<(Rocks, Published), LedgerError> {
    let rocks = Rocks::open(dir, logs)?;
    if is_fresh(&rocks, chain)? {
        rocks.write(first_batch(&rocks.view(), genesis, chain)?)?;
    }
    let published = load(&Look(rocks.view()))?;
    check_head(&Look(rocks.view()), &published.head, chain)?;
    Ok((rocks, published))
}

/// Whether nothing was ever written here; refuses what is not ours to read.
fn is_fresh(rocks: &Rocks, chain: &Digest) -> Result<bool, LedgerError> {
    let view = rocks.view();
    let dir = rocks.dir().to_path_buf();
    let Some(format) = view.get(Column::Meta, store::META_FORMAT)? else {
        let empty = view.rows(Column::Blocks, &[], None, Order::Forward, 1)?.is_empty();
        return match empty {
            true => Ok(true),
            false => Err(view.damaged("blocks without a format".into())),
        };
    };
    if format != LAYOUT_VERSION.to_be_bytes() {
        let found = match <[u8; 4]>::try_from(format) {
            Ok(bytes) => u32::from_be_bytes(bytes).to_string(),
            Err(_) => "unknown".into(),
        };
        return Err(LedgerError::OtherFormat { dir, found, expected: LAYOUT_VERSION });
    }
    match check_genesis(&view, dir, chain)? {
        true => Ok(false),
        false => Err(view.damaged("no genesis digest".into())),
    }
}

/// Whether the folder says whose it is; refuses another chain's.
pub fn check_genesis(view: &View<'_>, dir: PathBuf, chain: &Digest) -> Result<bool, LedgerError> {
    let genesis = view.get(Column::Meta, store::META_GENESIS)?;
    let folder = genesis.and_then(|bytes| bytes.try_into().ok()).map(Digest);
    match folder {
        Some(folder) if folder != *chain => {
            Err(LedgerError::OtherGenesis { dir, folder, given: *chain })
        }
        folder => Ok(folder.is_some()),
    }
}

fn first_batch(view: &View<'_>, genesis: &Genesis, chain: &Digest) -> Result<Batch, LedgerError> {
    let mut batch = Batch::default();
    let writes = genesis::state(genesis);
    let state_root = tree::update(view, 0, &writes, &mut batch)?;
    put_state(&writes, &mut batch);
    let head = Head {
        height: Height(0),
        digest: *chain,
        time: genesis.time,
        state_root,
        audit_size: 0,
        audit_root: merkle::empty_root(),
    };
    let committee = genesis.committee();
    batch.put(Column::Committees, store::epoch_key(committee.epoch), &committee);
    let checkpoint = checkpoint_of(&head, committee.epoch, None);
    batch.put(Column::Checkpoints, store::height_key(Height(0)), &checkpoint);
    batch.put(Column::Meta, store::META_HEAD, &head);
    batch.put_raw(Column::Meta, store::META_GENESIS, chain.0);
    batch.put_raw(Column::Meta, store::META_FORMAT, LAYOUT_VERSION.to_be_bytes());
    Ok(batch)
}

/// Head, newest stable checkpoint and running committee, as of a view.
pub fn load(look: &Look<'_>) -> Result<Published, LedgerError> {
    let view = &look.0;
    let head = view.get(Column::Meta, store::META_HEAD)?;
    let head = head.ok_or_else(|| view.damaged("no head".into()))?;
    let stable = view.get(Column::Meta, store::META_STABLE)?;
    let first = view.get(Column::Meta, store::META_FIRST)?;
    let damaged = |why| view.damaged(why);
    let head = store::decode(&head, "head", damaged)?;
    Ok(Published {
        head,
        stable: stable
            .map(|bytes| store::decode(&bytes, "stable checkpoint", damaged))
            .transpose()?,
        first: first
            .map(|bytes| store::decode(&bytes, "first height", damaged))
            .transpose()?
            .unwrap_or(Height(1)),
        committee: Arc::new(recovery::following(look, &head)?),
    })
}

/// The head's parts must belong together before anything is built on them.
fn check_head(look: &Look<'_>, head: &Head, chain: &Digest) -> Result<(), LedgerError> {
    let (view, running) = (&look.0, term::running(look)?);
    let (epoch, elected) = (term::epoch_of(&running, head), term::elected_at(&running, head));
    let consistent = checkpoint(view, head.height)? == Some(checkpoint_of(head, epoch, elected))
        && tree::root(view, head.height.0)? == head.state_root
        && audit::root(view, head.audit_size)? == head.audit_root
        && head_digest(view, head, chain)? == Some(head.digest);
    match consistent {
        true => Ok(()),
        false => Err(view.damaged(format!("the parts of height {} do not fit", head.height))),
    }
}

fn head_digest(
    view: &View<'_>,
    head: &Head,
    chain: &Digest,
) -> Result<Option<Digest>, LedgerError> {
    if head.height == Height(0) {
        return Ok(Some(*chain));
    }
    let block = proof::block(view, head.height)?;
    Ok(block.filter(|block| block.header.body == body_digest(&block.txs)).map(|b| b.digest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ledger;
    use twinfold_types::{
        PublicKey, SecretKey, Stake, TimeMs,
        genesis::{ChainParams, FORMAT_VERSION, GenesisValidator},
        key::Signer,
        member::{Member, Role},
        stake::StakeParams,
    };

    fn key(number: u8) -> PublicKey {
        SecretKey::from_seed(&[number; 32]).public_key()
    }

    fn genesis() -> Genesis {
        let validator = GenesisValidator {
            name: "site".into(),
            organisation: "site".into(),
            key: key(1),
            audit_key: key(2),
            peer: "peer".into(),
            address: String::new(),
            payload_address: String::new(),
            stake: Stake(1),
        };
        let admin = Member {
            key: key(3),
            name: "admin".into(),
            organisation: "site".into(),
            roles: [Role::Admin].into(),
            peer: None,
        };
        Genesis {
            format: FORMAT_VERSION,
            chain: "one seat".into(),
            time: TimeMs(1),
            params: ChainParams { threshold: 1, trainer_quota: 1, stake: StakeParams::default() },
            validators: vec![validator],
            members: vec![admin],
            balances: vec![],
            unsafe_size: true,
        }
    }

    /// What opening says after a row of the folder was changed.
    fn after(change: impl FnOnce(&mut Batch)) -> LedgerError {
        let dir = tempfile::tempdir().unwrap();
        drop(Ledger::open(dir.path(), None, &genesis()).unwrap());
        let mut batch = Batch::default();
        change(&mut batch);
        Rocks::open(dir.path(), None).unwrap().write(batch).unwrap();
        Ledger::open(dir.path(), None, &genesis()).err().expect("a refusal")
    }

    #[test]
    fn a_folder_of_another_format_is_refused_by_name() {
        let error = after(|batch| {
            batch.put_raw(Column::Meta, store::META_FORMAT, 77u32.to_be_bytes());
        });
        assert!(matches!(error, LedgerError::OtherFormat { .. }), "{error}");
        assert!(error.to_string().contains("77"), "{error}");
    }

    #[test]
    fn a_head_whose_parts_do_not_fit_is_damage() {
        let wrong = Head {
            height: Height(0),
            digest: genesis().digest(),
            time: TimeMs(1),
            state_root: Digest([1; 32]),
            audit_size: 0,
            audit_root: merkle::empty_root(),
        };
        let changes: [&dyn Fn(&mut Batch); 4] = [
            &|batch| batch.put(Column::Meta, store::META_HEAD, &wrong),
            &|batch| batch.put_raw(Column::Meta, store::META_HEAD, [1, 2, 3]),
            &|batch| batch.delete(Column::Meta, store::META_HEAD),
            &|batch| batch.delete(Column::Meta, store::META_GENESIS),
        ];
        for change in changes {
            let error = after(change);
            assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
        }
    }
}
