//! The committee of the running epoch, followed from genesis: each epoch's last checkpoint,
//! signed by its own committee, names the next one; past a recovery it goes only where it was told
//! to accept that. Nodes bring the links, and none of them is believed. What was followed once is the start of the next look.

use super::{Client, ClientError, http::Request};
use std::time::{Duration, Instant};
use twinfold_types::{
    Committee, Digest, Epoch, api::EpochView, handover::Handover, handover::Trail,
    key::StrictEd25519, limits,
};

/// A node may know of a new epoch a little before the checkpoint that hands over to it is stable.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(15);
const HANDOVER_PAUSE: Duration = Duration::from_millis(100);
/// Pages of epochs before a client gives up on a chain.
const PAGES_MAX: usize = 10_000;

impl Client {
    /// The committee of the running epoch, as far as this client has followed; asked for where
    /// it has not yet.
    pub fn committee(&self) -> Result<Committee, ClientError> {
        let known = self.lock_committee().clone();
        known.map_or_else(|| self.follow(), Ok)
    }

    /// The same, of an epoch that somebody was told of: waits until its hand-over is proved.
    pub fn committee_from(&self, epoch: Epoch) -> Result<Committee, ClientError> {
        let started = Instant::now();
        let mut committee = self.committee()?;
        while committee.epoch < epoch && started.elapsed() < HANDOVER_PATIENCE {
            std::thread::sleep(HANDOVER_PAUSE);
            committee = self.follow()?;
        }
        Ok(committee)
    }

    /// Follows the hand-overs from what is known to the newest that is proved.
    pub fn follow(&self) -> Result<Committee, ClientError> {
        let chain = self.chain()?;
        let mut known = match self.lock_committee().clone() {
            Some(committee) => committee,
            None => chain.genesis.committee(),
        };
        for _ in 0..PAGES_MAX {
            let (newer, more) = self.next_page(&chain.digest, &known)?;
            let stands_still = newer.epoch == known.epoch;
            known = newer;
            if !more || stands_still {
                break;
            }
        }
        *self.lock_committee() = Some(known.clone());
        Ok(known)
    }

    /// The newest committee that a page of epochs leads to, and whether there may be more.
    fn next_page(
        &self,
        chain: &Digest,
        known: &Committee,
    ) -> Result<(Committee, bool), ClientError> {
        let limit = limits::PAGE_ROWS_MAX;
        let path = format!("/v1/epochs?from={}&limit={limit}", known.epoch);
        let trusted = known.digest();
        self.http.fetch(&Request::get(path, "the epochs"), |_, bytes| {
            let views: Vec<EpochView> =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            let more = views.len() == limit;
            let trail = trail(views).ok_or("no epoch at all")?;
            let last = trail.follow(chain, &trusted, self.accepted(), &StrictEd25519);
            Ok((last.map_err(|error| error.to_string())?.clone(), more))
        })
    }

    fn lock_committee(&self) -> std::sync::MutexGuard<'_, Option<Committee>> {
        // Nothing panics while it is held.
        self.committee.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The links up to the first epoch whose end is not proved yet.
fn trail(views: Vec<EpochView>) -> Option<Trail> {
    let last = views.len().checked_sub(1)?;
    let mut ended = Vec::new();
    for (at, EpochView { committee, end, .. }) in views.into_iter().enumerate() {
        match end {
            Some(end) if at < last => ended.push(Handover { committee, end }),
            _ => return Some(Trail { ended, committee }),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{
        ClientOptions,
        tests::{genesis, server},
    };
    use twinfold_types::{
        Height, SeatIndex, SecretKey,
        handover::EpochEnd,
        key::Signer,
        quorum::Seat,
        vote::{Checkpoint, CheckpointCertificate},
    };

    fn secret(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    /// The committee of genesis with one seat changed hands.
    fn second() -> Committee {
        let first = genesis("one").committee();
        let mut seats = first.seats.clone();
        seats[3] = Seat::of(secret(90).public_key(), "o9");
        Committee { anchor: Height(40), ..Committee::new(Epoch(1), seats) }
    }

    fn end_of_first(signers: &[u8]) -> CheckpointCertificate {
        let (first, chain) = (genesis("one").committee(), genesis("one").digest());
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            height: Height(40),
            block: Digest::ZERO,
            state_root: Digest::ZERO,
            audit_size: 0,
            audit_root: Digest::ZERO,
            next_committee: Some(second().digest()),
        };
        let statement = checkpoint.statement(&chain, &first.digest());
        let sign = |seed: &u8| (SeatIndex(u16::from(seed - 1)), secret(*seed).sign(&statement));
        CheckpointCertificate { signatures: signers.iter().map(sign).collect(), checkpoint }
    }

    fn answer(signers: &[u8]) -> Vec<u8> {
        let view = |committee, end| EpochView { committee, joined: vec![], left: vec![], end };
        let end = EpochEnd::Checkpoint(end_of_first(signers));
        let first = view(genesis("one").committee(), Some(end));
        serde_json::to_vec(&[first, view(second(), None)]).unwrap()
    }

    fn client(nodes: Vec<String>) -> Client {
        let client = Client::new(ClientOptions { nodes, ..ClientOptions::default() }).unwrap();
        let genesis = genesis("one");
        let digest = genesis.digest();
        client.chain.get_or_init(|| crate::client::Chain { genesis, digest });
        client
    }

    #[test]
    fn a_hand_over_signed_by_a_quorum_leads_to_the_next_committee() {
        let client = client(vec![server(200, &answer(&[1, 2, 3]))]);
        assert_eq!(client.committee().unwrap(), second());
    }

    #[test]
    fn a_node_that_makes_up_a_hand_over_is_passed_over_for_the_next() {
        let (liar, honest) = (server(200, &answer(&[1, 2])), server(200, &answer(&[1, 2, 4])));
        assert_eq!(client(vec![liar.clone(), honest]).committee().unwrap(), second());
        let error = client(vec![liar]).committee().unwrap_err().to_string();
        assert!(error.contains("quorum"), "{error}");
    }

    #[test]
    fn an_epoch_whose_end_is_not_proved_yet_is_the_running_one() {
        let view = |committee, end| EpochView { committee, joined: vec![], left: vec![], end };
        let views = vec![view(genesis("one").committee(), None), view(second(), None)];
        let found = trail(views).unwrap();
        assert!(found.ended.is_empty() && found.committee.epoch == Epoch(0));
        assert!(trail(vec![]).is_none());
    }
}
