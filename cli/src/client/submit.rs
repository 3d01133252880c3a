//! Sending transactions. One is sent again, unchanged,
//! to whichever node answers until it has come as far as asked: its identity
//! makes that harmless.

use super::{Client, ClientError, http::Request, now, read::level_name};
use std::time::{Duration, Instant};
use twinfold_types::{
    Action, SecretKey, SignedTx, TimeMs,
    api::{Level, TxStatus},
    codec,
    key::Signer,
    limits,
    tx::TxBody,
};

/// How long a transaction stays valid from now.
const VALID_MS: u64 = 5 * 60 * 1_000;
/// The longest single wait asked of a node.
const WAIT_STEP: Duration = Duration::from_secs(10);

impl Client {
    /// Signs an action for this chain, valid from a little before now (clocks
    /// differ) for five minutes.
    pub fn sign(&self, key: &SecretKey, action: Action) -> Result<SignedTx, ClientError> {
        let now = now();
        let body = TxBody {
            chain: self.chain()?.digest,
            sender: key.public_key(),
            nonce: rand::random(),
            valid_from: TimeMs(now.0.saturating_sub(limits::DRIFT_MS_MAX)),
            valid_until: now.plus(VALID_MS),
            action,
        };
        Ok(body.sign(key))
    }

    /// Hands a transaction to a node, which admits or refuses it.
    pub fn post_tx(&self, tx: &SignedTx) -> Result<TxStatus, ClientError> {
        let bytes = codec::encode(tx);
        let request = Request::post("/v1/txs", &bytes, "a transaction's status");
        self.http.fetch(&request, |_, bytes| {
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        })
    }

    /// Sends a transaction and waits until it has come this far. The receipt's
    /// code is the caller's to judge.
    pub fn send_tx(
        &self,
        tx: &SignedTx,
        level: Level,
        timeout: Duration,
    ) -> Result<TxStatus, ClientError> {
        let (id, started) = (tx.id(), Instant::now());
        let mut status = self.post_tx(tx)?;
        loop {
            if status.level >= level {
                return Ok(status);
            }
            let left = timeout.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(ClientError::TimedOut {
                    tx: id,
                    reached: level_name(status.level).into(),
                    wanted: level_name(level).into(),
                    waited_s: started.elapsed().as_secs(),
                });
            }
            status = self.tx_at(&id, level, left.min(WAIT_STEP))?;
            // The node that had it may be gone: tell the one that answers now.
            if status.level == Level::Unknown {
                if now() > tx.body.valid_until {
                    return Err(ClientError::Expired { tx: id });
                }
                std::thread::sleep(Duration::from_millis(100));
                status = self.post_tx(tx)?;
            }
        }
    }

    /// Signs, sends and waits.
    pub fn submit(
        &self,
        key: &SecretKey,
        action: Action,
        level: Level,
        timeout: Duration,
    ) -> Result<TxStatus, ClientError> {
        let tx = self.sign(key, action)?;
        self.send_tx(&tx, level, timeout)
    }
}
