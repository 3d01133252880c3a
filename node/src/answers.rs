//! What the ledger has of what a peer asks for.

use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{
    Block, Digest, Epoch, Height, codec,
    handover::EpochEnd,
    limits,
    message::{CommittedBlocks, ConsensusMessage, PeerMessage},
};

/// Committed blocks from a height on, up to one whose own certificate is stored; the first kept
/// where that one is not.
pub fn committed(reader: &Reader, from: Height) -> Result<Option<PeerMessage>, LedgerError> {
    let first = reader.first_block();
    if from < first {
        return Ok(Some(PeerMessage::Consensus(ConsensusMessage::KeptFrom { first })));
    }
    let blocks = committed_from(reader, from)?;
    let message = |blocks| PeerMessage::Consensus(ConsensusMessage::Committed(Box::new(blocks)));
    Ok(blocks.map(message))
}

pub fn block(
    reader: &Reader,
    height: Height,
    digest: &Digest,
) -> Result<Option<PeerMessage>, LedgerError> {
    let block = reader.block(height)?.filter(|block| block.digest() == *digest);
    Ok(block.map(|block| PeerMessage::Consensus(ConsensusMessage::Block(Box::new(block)))))
}

/// The checkpoint that hands over to the next epoch, or the recovery that does.
pub fn epoch_end(reader: &Reader, epoch: Epoch) -> Result<Option<PeerMessage>, LedgerError> {
    let end = reader.end_of(epoch)?;
    Ok(end.map(|end| match end {
        EpochEnd::Checkpoint(end) => PeerMessage::Consensus(ConsensusMessage::Stable(end.into())),
        EpochEnd::Recovery(recovery) => PeerMessage::Recovered(recovery),
    }))
}

/// The longest run of blocks from a height on that fits an answer and ends at a
/// block with a certificate of its own.
fn committed_from(reader: &Reader, from: Height) -> Result<Option<CommittedBlocks>, LedgerError> {
    let (mut blocks, mut bytes, mut best) = (Vec::new(), 0, None);
    let mut height = from;
    while height <= reader.head().height && blocks.len() < limits::SYNC_BLOCKS_MAX {
        let Some(block) = reader.block(height)? else { break };
        // No certificate speaks of blocks of two epochs.
        if blocks.first().is_some_and(|first: &Block| first.header.epoch != block.header.epoch) {
            break;
        }
        bytes += codec::encoded_bytes(&block);
        if bytes > limits::SYNC_BYTES_MAX && !blocks.is_empty() {
            break;
        }
        blocks.push(block);
        if let Some(certificate) = reader.certificate(height)?
            && certificate.body.height == height
        {
            best = Some((blocks.len(), certificate));
        }
        height = height.next();
    }
    Ok(best.map(|(count, certificate)| {
        blocks.truncate(count);
        CommittedBlocks { blocks, certificate }
    }))
}
