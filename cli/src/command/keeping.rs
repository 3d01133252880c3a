//! `twinfold holds`, `twinfold storage`: what keeps payloads, and on whose account they are.

use super::Context;
use crate::{
    error::Result,
    render::{bytes, or_dash, table, time},
};
use std::collections::BTreeMap;
use twinfold_types::{
    PublicKey,
    api::StorageView,
    keeping::{Hold, StorageOwner},
};

pub fn holds(context: &Context) -> Result<()> {
    let holds = context.client()?.holds()?;
    context.output.show(&holds, || human_holds(&holds))
}

fn human_holds(holds: &[Hold]) -> String {
    if holds.is_empty() {
        return "no hold stands".into();
    }
    let row = |hold: &Hold| [hold.subject.to_string(), time(hold.time), hold.reason.clone()];
    table(&["held", "since", "reason"], holds.iter().map(row))
}

pub fn storage(context: &Context) -> Result<()> {
    let client = context.client()?;
    let accounts = client.storage()?;
    if context.output.json {
        return context.output.show(&accounts, String::new);
    }
    let members = client.members()?.into_iter();
    let names = members.map(|member| (member.key, member.name)).collect();
    context.output.show(&accounts, || human_storage(&accounts, &names))
}

fn human_storage(accounts: &[StorageView], names: &BTreeMap<PublicKey, String>) -> String {
    let row = |account: &StorageView| {
        let (kind, name) = match &account.owner {
            StorageOwner::Organisation(name) => ("organisation", name.clone()),
            StorageOwner::Member(key) => {
                ("member", names.get(key).cloned().unwrap_or_else(|| key.short()))
            }
        };
        let quota = or_dash(account.quota_bytes.map(bytes));
        [kind.into(), name, bytes(account.stored_bytes), quota]
    };
    table(&["account", "name", "stored", "may have"], accounts.iter().map(row))
}
