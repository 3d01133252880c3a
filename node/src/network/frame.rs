//! Frames on a stream: a u32 length and that many bytes, bounded before anything
//! is allocated; and the greeting that opens every stream.

use super::NetworkError;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use std::time::Duration;
use twinfold_types::{Digest, codec, genesis::FORMAT_VERSION, message::Hello};

const HELLO_BYTES_MAX: usize = 1_024;
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<(), NetworkError> {
    Ok(stream.write_all(&framed(|frame| frame.extend_from_slice(bytes))).await?)
}

/// A frame in one piece, so that it is one write: each one costs a header of the
/// multiplexer and an encryption.
pub fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![0; 4];
    write(&mut frame);
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Reads one frame of at most `limit` bytes.
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    peer: &PeerId,
    limit: usize,
) -> Result<Vec<u8>, NetworkError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > limit {
        return Err(NetworkError::TooLong { peer: peer.to_string(), bytes: length, limit });
    }
    // Grows as bytes arrive: a peer that announces much and sends little costs little.
    let mut bytes = Vec::with_capacity(length.min(256 << 10));
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(bytes)
}

/// Both sides say which chain they are of, and refuse another by name.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: &PeerId,
    chain: Digest,
) -> Result<(), NetworkError> {
    let hello = Hello { format: FORMAT_VERSION, chain, version: env!("CARGO_PKG_VERSION").into() };
    let exchange = async {
        write_frame(stream, &codec::encode(&hello)).await?;
        stream.flush().await?;
        read_frame(stream, peer, HELLO_BYTES_MAX).await
    };
    let bytes = tokio::time::timeout(HELLO_TIMEOUT, exchange)
        .await
        .map_err(|_| NetworkError::TimedOut { peer: peer.to_string() })??;
    let theirs: Hello = codec::decode(&bytes, HELLO_BYTES_MAX).map_err(|error| {
        NetworkError::Malformed { peer: peer.to_string(), reason: error.to_string() }
    })?;
    if theirs.format != FORMAT_VERSION {
        let (peer, theirs) = (peer.to_string(), theirs.format);
        return Err(NetworkError::OtherFormat { peer, theirs, ours: FORMAT_VERSION });
    }
    if theirs.chain != chain {
        let (peer, theirs) = (peer.to_string(), theirs.chain);
        return Err(NetworkError::OtherChain { peer, theirs, ours: chain });
    }
    Ok(())
}
