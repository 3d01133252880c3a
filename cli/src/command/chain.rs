//! `twinfold status`, `block`, `tx`.

use super::{Context, accepted, event_text::describe};
use crate::{
    client::level_name,
    error::{CliError, Result},
    render::{bytes, or_dash, pairs, table, time},
};
use clap::Args;
use std::time::Instant;
use twinfold_types::{
    Height, TxId,
    api::{BlockSummary, BlockView, Level, StatusView, TxStatus},
};

/// Blocks in a list.
const BLOCKS: usize = 20;

#[derive(Debug, Args)]
pub struct BlockArgs {
    /// Height; without one, the newest blocks are listed
    pub height: Option<u64>,
}

#[derive(Debug, Args)]
pub struct TxArgs {
    pub id: TxId,
    /// Wait until it has come this far: admitted, committed, executed, certified
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "executed")]
    pub wait: Option<Level>,
}

pub fn status(context: &Context) -> Result<()> {
    let status = context.client()?.status()?;
    context.output.show(&status, || human_status(&status))
}

fn human_status(status: &StatusView) -> String {
    let connected = status.peers.iter().filter(|peer| peer.connected).count();
    let ms = |value: Option<f64>| value.map_or_else(|| "–".into(), |ms| format!("{ms:.0} ms"));
    let checkpoint = status.checkpoint.as_ref().map(|checkpoint| checkpoint.height);
    let mut lines = vec![
        ("chain", status.chain.clone()),
        ("genesis", status.genesis.to_string()),
        ("version", status.version.clone()),
        ("node", status.node.to_string()),
        ("seat", status.seat.map_or("none (observer)".into(), |seat| seat.to_string())),
        (
            "epoch, view, leader",
            format!("{}, {}, seat {}", status.epoch, status.view, status.leader),
        ),
        ("committed", status.committed.to_string()),
        ("executed", format!("{} at {}", status.height, time(status.time))),
        ("state root", status.state_root.to_string()),
        ("stable checkpoint", or_dash(checkpoint)),
        ("peers", format!("{connected} of {} connected", status.peers.len())),
        ("pool", format!("{} transactions, {}", status.pool_txs, bytes(status.pool_bytes))),
        ("relayed", bytes(status.relayed_bytes)),
        ("commit p50, p99", format!("{}, {}", ms(status.commit_ms_p50), ms(status.commit_ms_p99))),
    ];
    if let Some(reason) = &status.halted {
        lines.push(("HALTED", reason.clone()));
    }
    pairs(&lines)
}

pub fn block(context: &Context, args: &BlockArgs) -> Result<()> {
    let client = context.client()?;
    match args.height {
        Some(height) => {
            let block = client.block(Height(height))?;
            context.output.show(&block, || human_block(&block))
        }
        None => {
            let blocks = client.blocks(None, BLOCKS)?;
            context.output.show(&blocks, || human_blocks(&blocks))
        }
    }
}

fn human_blocks(blocks: &[BlockSummary]) -> String {
    let row = |block: &BlockSummary| {
        let (height, txs) = (block.height.to_string(), block.txs.to_string());
        [height, time(block.time), txs, bytes(block.bytes), block.digest.short()]
    };
    table(&["height", "time", "transactions", "size", "digest"], blocks.iter().map(row))
}

fn human_block(block: &BlockView) -> String {
    let head = pairs(&[
        ("height", block.height.to_string()),
        ("time", time(block.time)),
        ("digest", block.digest.to_string()),
        ("parent", block.parent.to_string()),
        ("epoch", block.epoch.to_string()),
        ("size", bytes(block.bytes)),
    ]);
    let rows = block.txs.iter().map(|tx| {
        let result = tx.receipt.as_ref().map(|receipt| receipt.code.text());
        [tx.id.to_string(), tx.sender.short(), tx.action.clone(), or_dash(result)]
    });
    let txs = table(&["transaction", "sender", "action", "result"], rows);
    let own = block.receipt.iter().flat_map(|receipt| &receipt.events);
    let own: Vec<_> = own.map(|event| format!("  {}", describe(event))).collect();
    if own.is_empty() {
        return format!("{head}\n{txs}");
    }
    format!("{head}\n{txs}\nby its deadlines:\n{}", own.join("\n"))
}

pub fn tx(context: &Context, args: &TxArgs) -> Result<()> {
    let client = context.client()?;
    let Some(wanted) = args.wait else {
        let status = client.tx(&args.id)?;
        return show_tx(context, &status);
    };
    let _progress = context.output.progress(format!("waiting for {}", level_name(wanted)));
    let started = Instant::now();
    loop {
        let left = context.global.timeout.saturating_sub(started.elapsed());
        let step = left.min(std::time::Duration::from_secs(10));
        let status = client.tx_at(&args.id, wanted, step)?;
        if status.level >= wanted {
            show_tx(context, &status)?;
            return accepted(status).map(|_| ());
        }
        if left.is_zero() {
            show_tx(context, &status)?;
            return Err(CliError::TimedOut(format!(
                "transaction {} is {} after {} s; expected {}",
                args.id,
                level_name(status.level),
                started.elapsed().as_secs(),
                level_name(wanted)
            )));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn show_tx(context: &Context, status: &TxStatus) -> Result<()> {
    context.output.show(status, || {
        let mut lines = vec![
            ("transaction", status.id.to_string()),
            ("level", level_name(status.level).into()),
        ];
        if let Some(receipt) = &status.receipt {
            lines.push(("block", receipt.height.to_string()));
            let code = receipt.code;
            lines.push(("result", format!("{} ({})", code.text(), code.number())));
            for event in &receipt.events {
                lines.push(("event", describe(event)));
            }
        }
        pairs(&lines)
    })
}
