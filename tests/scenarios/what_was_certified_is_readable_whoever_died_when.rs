//! Payloads come in one after the other, in every way there is, while validators are killed (kill −9) at
//! moments that a seed draws: in the middle of an upload, of a transfer between nodes, of making a
//! missing fragment, of an epoch's end. Whatever a certificate was handed out for is read back to the byte afterwards,
//! with any one validator down. `TWINFOLD_KILLS_SEED=N` repeats the moments of a run that failed, as
//! far as real processes repeat anything.

use crate::lab::{Lab, members, until};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use twinfold_cli::client::{Client, Cut};
use twinfold_types::{
    Action, BlobId, Digest,
    sealed::{RegisterSealed, SealedAction},
};

const KILLS: usize = 16;
const BYTES_MAX: u64 = 6 << 20;
const EPOCH_MS: u64 = 3_000;

#[test]
fn what_was_certified_is_readable_whoever_died_when() {
    let seed = std::env::var("TWINFOLD_KILLS_SEED").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice(seed.unwrap_or_else(|| u64::from(std::process::id()) | 1));
    eprintln!("TWINFOLD_KILLS_SEED={}", dice.0);
    let mut lab = Lab::form(1);
    lab.short_epochs(EPOCH_MS);
    lab.start_all();
    let stored = while_they_die(&mut lab, &mut dice);
    assert!(stored.len() > 3, "only {} payloads were certified", stored.len());
    for down in 0..4 {
        lab.kill(down);
        let up = (down + 1) % 4;
        for (number, payload) in stored.iter().enumerate().filter(|(number, _)| number % 4 == down)
        {
            let copy = lab.folder().join(format!("copy-{number}"));
            // Who has just come back may not have found the others yet.
            until("a certified payload is read", || {
                lab.client_of(up).get_file(&payload.id, &copy, &|_| {}).ok()
            });
            assert_eq!(std::fs::read(&copy).unwrap(), payload.content(), "payload {number}");
        }
        lab.restart(down);
    }
    lab.same_root();
}

/// A payload that a certificate was handed out for.
struct Payload {
    seed: u64,
    bytes: u64,
    id: BlobId,
}

impl Payload {
    fn content(&self) -> Vec<u8> {
        noise(self.seed, self.bytes)
    }
}

/// Kills one validator after another; each is up again before the next dies.
fn while_they_die(lab: &mut Lab, dice: &mut Dice) -> Vec<Payload> {
    let over = AtomicBool::new(false);
    let (client, folder) = (lab.client(), lab.folder().to_path_buf());
    let seed = dice.next();
    std::thread::scope(|scope| {
        let over = &over;
        let storing = scope.spawn(move || store_all(&client, &folder, Dice(seed), over));
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(dice.below(400)));
            let index = dice.below(4) as usize;
            lab.kill(index);
            std::thread::sleep(Duration::from_millis(dice.below(400)));
            lab.restart(index);
            // At most one is down at a time.
            until("it is back", || lab.client_of(index).status().ok());
        }
        over.store(true, Ordering::SeqCst);
        storing.join().expect("the client goes on")
    })
}

/// Whole, cut by a node, cut here; every other one is named on the ledger. What a kill spoils is tried
/// no more: nothing was promised.
fn store_all(client: &Client, folder: &Path, mut dice: Dice, over: &AtomicBool) -> Vec<Payload> {
    let mut stored = vec![];
    while !over.load(Ordering::SeqCst) {
        let (seed, bytes) = (dice.next(), 70_000 + dice.below(BYTES_MAX));
        let file: PathBuf = folder.join("payload");
        std::fs::write(&file, noise(seed, bytes)).unwrap();
        let cut = [Cut::Whole, Cut::Fragments, Cut::Direct][dice.below(3) as usize];
        let Ok(payload) = client.put_file(&members::secret("tess"), &file, cut) else { continue };
        stored.push(Payload { seed, bytes, id: payload.blob });
        if dice.below(2) == 0 {
            let register = RegisterSealed { payload, commitment: Digest([1; 32]) };
            let action = Action::Sealed(SealedAction::Register(Box::new(register)));
            client.sign(&members::secret("ann"), action).and_then(|tx| client.post_tx(&tx)).ok();
        }
    }
    stored
}

fn noise(seed: u64, bytes: u64) -> Vec<u8> {
    let mut dice = Dice(seed | 1);
    let words = bytes.div_ceil(8);
    let mut content: Vec<u8> = (0..words).flat_map(|_| dice.next().to_le_bytes()).collect();
    content.truncate(bytes as usize);
    content
}

/// xorshift64: moments and contents need no more.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}
