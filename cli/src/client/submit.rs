//! Sending: transactions and payloads. A transaction is sent again, unchanged,
//! to whichever node answers until it has come as far as asked: its identity
//! makes that harmless.

use super::{
    Client, ClientError,
    http::Request,
    now,
    read::{level_name, transfer_time},
};
use std::time::{Duration, Instant};
use twinfold_types::{
    Action, AvailabilityCertificate, BlobId, Committee, SecretKey, SignedTx, TimeMs,
    api::{HEADER_KEY, HEADER_SIGNATURE, HEADER_TIME, Level, TxStatus},
    blob::UploadBody,
    codec,
    key::{Signer, StrictEd25519},
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

    /// Stores a payload with the committee; the certificate that comes back is checked. A
    /// payload is stored for the running committee: where another epoch has begun meanwhile,
    /// it is offered again to that one.
    pub fn upload(
        &self,
        key: &SecretKey,
        bytes: &[u8],
    ) -> Result<AvailabilityCertificate, ClientError> {
        let committee = self.committee()?;
        match self.upload_to(&committee, key, bytes) {
            Err(error) if !matches!(error, ClientError::Unreachable(_)) => {
                let newer = self.committee_from(self.status()?.epoch)?;
                match newer.epoch > committee.epoch {
                    true => self.upload_to(&newer, key, bytes),
                    false => Err(error),
                }
            }
            done => done,
        }
    }

    fn upload_to(
        &self,
        committee: &Committee,
        key: &SecretKey,
        bytes: &[u8],
    ) -> Result<AvailabilityCertificate, ClientError> {
        let chain = self.chain()?;
        let blob = BlobId::whole_copies(bytes, committee.size());
        let body = UploadBody { blob: blob.digest(), time_ms: now().0 };
        let signature = key.sign(&body.statement(&chain.digest));
        let mut request = Request::post("/v1/blobs", bytes, "an availability certificate");
        request.timeout = transfer_time(bytes.len() as u64);
        request.headers = vec![
            (HEADER_KEY, key.public_key().to_string()),
            (HEADER_TIME, body.time_ms.to_string()),
            (HEADER_SIGNATURE, signature.to_string()),
        ];
        self.http.fetch(&request, |_, answer| {
            let certificate: AvailabilityCertificate =
                serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
            if certificate.blob != blob {
                return Err("it certifies another payload".into());
            }
            certificate
                .verify(&chain.digest, committee, &StrictEd25519)
                .map_err(|error| error.to_string())?;
            Ok(certificate)
        })
    }
}
