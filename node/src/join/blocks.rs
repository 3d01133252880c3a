//! The blocks of the last window, from the checkpoint's own down: each proved by the parent
//! that the one above it names.

use super::{Sources, Unserved};
use crate::blobs::wire::Request;
use std::sync::Arc;
use twinfold_ledger::{Anchor, Joining, LedgerError, is_in_window};
use twinfold_types::{Block, Digest, Height, block::body_digest, codec, limits};

/// Fetches what is missing. False when nobody serves these blocks.
pub async fn fetch(
    sources: &Arc<Sources>,
    joining: &Arc<Joining>,
    anchor: &Anchor,
) -> Result<bool, LedgerError> {
    sources.progress.phase("fetching the blocks of the last window");
    let (mut height, mut digest) = (anchor.height(), anchor.certificate.checkpoint.block);
    let mut newest: Option<Block> = None;
    while height.0 > 0 {
        let here = joining.block(height)?.filter(|block| block.digest() == digest);
        let block = match here {
            Some(block) => block,
            None => match ask(sources, height, digest).await {
                Ok(blocks) => {
                    joining.keep_blocks(&blocks)?;
                    continue;
                }
                Err(Unserved) => return Ok(false),
            },
        };
        let newest = newest.get_or_insert_with(|| block.clone());
        if !is_in_window(&block, newest) {
            break;
        }
        (height, digest) = (Height(height.0 - 1), block.header.parent);
    }
    Ok(true)
}

async fn ask(sources: &Sources, last: Height, digest: Digest) -> Result<Vec<Block>, Unserved> {
    let limit = limits::JOIN_ANSWER_BYTES_MAX;
    let check = |bytes: &[u8]| {
        let blocks: Vec<Block> = codec::decode(bytes, limit).map_err(|error| error.to_string())?;
        match ends_in(&blocks, last, digest) {
            true => Ok(blocks),
            false => Err("blocks that do not lead to the one asked for".to_string()),
        }
    };
    let (_, blocks) = sources.ask(&Request::FetchBlocks { last }, limit, check).await?;
    Ok(blocks)
}

/// Whether these are whole blocks, each the parent of the next, up to the one expected.
fn ends_in(blocks: &[Block], last: Height, digest: Digest) -> bool {
    let ends =
        blocks.last().is_some_and(|block| (block.header.height, block.digest()) == (last, digest));
    let linked = blocks.windows(2).all(|pair| {
        pair[1].header.parent == pair[0].digest()
            && pair[0].header.height.0.checked_add(1) == Some(pair[1].header.height.0)
    });
    ends && linked
        && blocks.len() <= limits::JOIN_BLOCKS_MAX
        && blocks.iter().all(|block| body_digest(&block.txs) == block.header.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::{Epoch, Header, TimeMs};

    fn chain(length: u64) -> Vec<Block> {
        let mut parent = Digest::ZERO;
        let block = |height: u64| {
            let header = Header {
                chain: Digest::ZERO,
                protocol: limits::PROTOCOL_VERSION,
                epoch: Epoch(0),
                height: Height(height),
                parent,
                time: TimeMs(height),
                body: body_digest(&[]),
            };
            parent = header.digest();
            Block { header, txs: vec![] }
        };
        (1..=length).map(block).collect()
    }

    #[test]
    fn only_an_unbroken_chain_of_whole_blocks_is_taken() {
        let blocks = chain(5);
        let digest = blocks[4].digest();
        let good = |blocks: &[Block]| ends_in(blocks, Height(5), digest);
        assert!(good(&blocks) && good(&blocks[4..]));
        assert!(!good(&[]) && !good(&blocks[..4]));
        let mut gap = blocks.clone();
        gap.remove(2);
        assert!(!good(&gap));
        let mut forged = blocks.clone();
        forged[1].header.time = TimeMs(9);
        assert!(!good(&forged));
        let mut highest = blocks.clone();
        highest[3].header.height = Height(u64::MAX);
        highest[4].header.parent = highest[3].digest();
        assert!(!ends_in(&highest, Height(5), highest[4].digest()));
        let mut hollow = blocks;
        hollow[4].header.body = Digest([1; 32]);
        assert!(!ends_in(&hollow, Height(5), hollow[4].digest()));
    }
}
