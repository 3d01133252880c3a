//! The people of every scenario. Their keys are drawn from their names, so that a
//! scene can sign as anyone, member or not.

use std::path::Path;
use twinfold_cli::keystore::{Keystore, PassphraseSource};
use twinfold_types::{
    Action, Digest, PublicKey, SecretKey,
    hash::Tag,
    key::Signer,
    member::{AdminAction, Member, Role},
};

/// Organisation of the operator olaf and his trainers.
pub const CLINIC: &str = "clinic";
pub const TRAINERS: [&str; 4] = ["tess", "theo", "tina", "tove"];

pub fn secret(name: &str) -> SecretKey {
    SecretKey::from_seed(&Digest::of_bytes(Tag::Sign, name.as_bytes()).0)
}

pub fn public(name: &str) -> PublicKey {
    secret(name).public_key()
}

pub fn member(name: &str, organisation: &str, role: Role) -> Member {
    let (name, organisation) = (name.to_string(), organisation.to_string());
    Member { key: public(&name), name, organisation, roles: [role].into(), peer: None }
}

/// Everyone in genesis beside the validators.
pub fn all() -> Vec<Member> {
    let admins = ["ann", "ben", "cyd"].map(|name| member(name, "board", Role::Admin));
    let operators = [member("olaf", CLINIC, Role::Operator)];
    let trainers = TRAINERS.map(|name| member(name, CLINIC, Role::Trainer));
    admins.into_iter().chain(operators).chain(trainers).collect()
}

/// Keys of the members, of one who is none, and of one who may become one.
pub fn store_keys(dir: &Path) {
    let keystore = Keystore::in_dir(dir, PassphraseSource::default());
    let members = all();
    let names = members.iter().map(|member| member.name.as_str()).chain(["stranger", "nora"]);
    for name in names {
        keystore.store(name, &secret(name), true).expect("a key is stored");
    }
}

/// A row of the state for each number.
pub fn set_quota_of(number: u32, trainers: u32) -> Action {
    let organisation = format!("elsewhere {number}");
    Action::Propose(AdminAction::SetQuota { organisation, trainers })
}

/// A decision that is always possible, and changes nothing the scenes look at.
pub fn set_quota(trainers: u32) -> Action {
    Action::Propose(AdminAction::SetQuota { organisation: "elsewhere".into(), trainers })
}
