//! A client cuts a payload falsely: each fragment is what the list of hashes says, but they are not
//! those of one content. The validators take them, for each alone is good. The one that got none makes
//! its own from the others', codes what it decoded again, and sees the lie; a second one looks for
//! itself; and from then on every reader, at every node, is told the same.

use crate::lab::{
    Lab,
    http::{Answer, OCTETS, post},
    members::{TRAINERS, public, secret},
    until,
};
use twinfold_cli::client::now;
use twinfold_types::{
    Action, AvailabilityCertificate, BlobId, Digest, SeatIndex,
    api::{HEADER_IDENTITY, HEADER_KEY, HEADER_SIGNATURE, HEADER_TIME},
    blob::{Coding, Encoder, FragmentList, GroupHasher, Hashes, StorageReceipt, UploadBody},
    codec,
    key::Signer,
    sealed::{RegisterSealed, SealedAction},
};

const BYTES: usize = 300_000;
/// The seat that is sent nothing.
const LEFT_OUT: u16 = 0;
/// Parity that no content has.
const FALSE: u16 = 3;

#[test]
fn a_lying_encoder_is_condemned_by_the_ledger() {
    let lab = Lab::start();
    let lie = Lie::make();
    let digest = lie.id.digest();
    let certificate = lie.store(&lab);
    let register = RegisterSealed { payload: certificate, commitment: Digest([1; 32]) };
    lab.done(TRAINERS[0], Action::Sealed(SealedAction::Register(Box::new(register))));

    let copy = lab.folder().join("copy");
    let tess = public(TRAINERS[0]).to_string();
    for index in 0..4 {
        until("every node says who lied", || {
            let line = "--node {} --key tess blob get {} --raw -o {}";
            let said = lab.twinfold(line, &[&lab.url(index), &digest, &copy.display()]);
            let told = ["cut by a liar", "2 validators found out", &tess];
            (said.code != Some(0) && told.iter().all(|word| said.err.contains(word))).then_some(())
        });
    }
    let events = lab.twinfold("events --after 0-0-0", &[]).ok();
    assert!(events.out.contains("was cut by a liar"), "{}", events.out);
    assert!(lab.status(0).height.0 > 0);
}

/// Four fragments under one identity that belong to no content.
struct Lie {
    id: BlobId,
    /// Of each fragment its hashes, then its bytes.
    bodies: Vec<Vec<u8>>,
}

impl Lie {
    fn make() -> Self {
        let content: Vec<u8> = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect();
        let mut encoder = Encoder::new(Coding::fragments(4).unwrap());
        let mut fragments = vec![vec![]; 4];
        let mut rest = &content[..];
        while let Some(stripe) = encoder.push(&mut rest).unwrap() {
            stripe.pieces().zip(&mut fragments).for_each(|(piece, all)| all.extend(piece));
        }
        let honest = encoder.finish();
        let last = honest.last_stripe();
        last.pieces().zip(&mut fragments).for_each(|(piece, all)| all.extend(piece));
        fragments[usize::from(FALSE)].fill(7);
        let groups: Vec<_> = fragments
            .iter()
            .map(|bytes| {
                let mut hasher = GroupHasher::default();
                hasher.update(bytes);
                hasher.finish()
            })
            .collect();
        let list = FragmentList(groups.iter().map(|groups| groups.root()).collect());
        let root = list.root(honest.id.layout().unwrap().fragment_bytes());
        let id = BlobId { fragment_root: root, ..honest.id };
        let body = |(groups, bytes): (_, &Vec<u8>)| {
            let hashes = Hashes { fragments: list.clone(), groups };
            [&hashes.encode(&id)[..], bytes].concat()
        };
        let bodies = groups.into_iter().zip(&fragments).map(body).collect();
        Self { id, bodies }
    }

    /// At three of the four validators.
    fn store(&self, lab: &Lab) -> AvailabilityCertificate {
        let statuses = (0..4).map(|index| (index, lab.status(index).seat.expect("a seat")));
        let mut seats: Vec<(SeatIndex, usize)> =
            statuses.map(|(index, seat)| (seat, index)).collect();
        seats.sort();
        let given = seats.into_iter().filter(|(seat, _)| seat.0 != LEFT_OUT);
        let receipts = given.map(|(seat, index)| {
            let answer = self.send(lab, index, seat.0);
            assert_eq!(answer.status, 200, "{}", answer.text());
            serde_json::from_slice::<StorageReceipt>(&answer.body).unwrap()
        });
        let receipts = receipts.collect();
        AvailabilityCertificate { epoch: lab.status(0).epoch, blob: self.id, receipts }
    }

    fn send(&self, lab: &Lab, index: usize, fragment: u16) -> Answer {
        let (digest, tess) = (self.id.digest(), secret(TRAINERS[0]));
        let body = UploadBody { blob: digest, time_ms: now().0 };
        let signature = tess.sign(&body.statement(&lab.chain())).to_string();
        let (key, time) = (public(TRAINERS[0]).to_string(), body.time_ms.to_string());
        let identity = hex::encode(codec::encode(&self.id));
        let headers = [
            OCTETS,
            (HEADER_IDENTITY, identity.as_str()),
            (HEADER_KEY, key.as_str()),
            (HEADER_TIME, time.as_str()),
            (HEADER_SIGNATURE, signature.as_str()),
        ];
        let url = format!("{}/v1/blobs/{digest}/fragments/{fragment}", lab.url(index));
        post(&url, &headers, &self.bodies[usize::from(fragment)])
    }
}
