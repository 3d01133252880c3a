//! A block, and a transaction.

use super::{Answer, Names, ROWS, events, render};
use crate::{
    api::{Api, Refusal, cut, no_block, view},
    explorer::format::{bytes, short, time},
};
use askama::Template;
use twinfold_types::{
    Height, PublicKey, TxId,
    api::{BlockView, TxView},
};

#[derive(Template)]
#[template(path = "block.html")]
struct BlockPage {
    block: BlockView,
    time: String,
    bytes: String,
    previous: Option<Height>,
    next: Option<Height>,
    txs: Vec<TxRow>,
    txs_more: usize,
    events: Vec<String>,
}

struct TxRow {
    id: TxId,
    short: String,
    sender: String,
    action: String,
    result: &'static str,
}

pub fn block(api: &Api, height: &str) -> Answer {
    let reader = &api.node.reader;
    let unknown =
        || Refusal::unknown(format!("block {:?}", cut(height)), "heights are whole numbers from 1");
    let number = Height(height.parse().map_err(|_| unknown())?);
    let block = view::block(reader, number)?.ok_or_else(|| no_block(api, number))?;
    let names = Names::new(reader);
    let txs = block.txs.iter().take(ROWS).map(|tx| tx_row(&names, tx)).collect();
    render(&BlockPage {
        time: time(block.time),
        bytes: bytes(block.bytes),
        previous: number.prev().filter(|height| height.0 > 0),
        next: Some(number.next()).filter(|next| *next <= reader.head().height),
        txs,
        txs_more: block.txs.len().saturating_sub(ROWS),
        events: block.receipt.as_ref().map(events).unwrap_or_default(),
        block,
    })
}

fn tx_row(names: &Names, tx: &TxView) -> TxRow {
    TxRow {
        id: tx.id,
        short: short(&tx.id),
        sender: names.of(&tx.sender),
        action: tx.action.clone(),
        result: tx.receipt.as_ref().map_or("", |receipt| receipt.code.text()),
    }
}

#[derive(Template)]
#[template(path = "tx.html")]
struct TxPage {
    id: TxId,
    found: Option<TxFound>,
}

struct TxFound {
    height: Height,
    certified: bool,
    sender: String,
    key: PublicKey,
    action: &'static str,
    code: u16,
    result: &'static str,
    events: Vec<String>,
}

pub fn tx(api: &Api, text: &str) -> Answer {
    let reader = &api.node.reader;
    let unknown =
        || Refusal::unknown(format!("transaction {:?}", cut(text)), "it may not be executed yet");
    let id: TxId = text.parse().map_err(|_| unknown())?;
    let found = reader.tx(&id)?;
    if found.is_none() && !api.node.pool.contains(&id) {
        return Err(unknown());
    }
    let found = found.map(|(tx, height, receipt)| TxFound {
        height,
        certified: *api.node.stable.borrow() >= height,
        sender: Names::new(reader).of(&tx.body.sender),
        key: tx.body.sender,
        action: view::action_name(&tx.body.action),
        code: receipt.code.number(),
        result: receipt.code.text(),
        events: events(&receipt),
    });
    render(&TxPage { id, found })
}
