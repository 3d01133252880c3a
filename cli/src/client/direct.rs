//! Payloads cut by the client itself: each validator is sent its own fragment, and answers with its
//! receipt. In all, n/k of the content is sent, and no validator more than it keeps.

use super::{
    Client, ClientError,
    blob::{Cut, cut_file, local, signed_headers},
    http::{Request, Sent},
    read::transfer_time,
};
use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use twinfold_types::{
    AvailabilityCertificate, BlobId, Committee, SeatIndex, SecretKey,
    api::{HEADER_IDENTITY, StatusView},
    blob::{Coding, Hashes, Layout, StorageReceipt, StorageReceiptBody, Stripe},
    codec,
    key::{StrictEd25519, Verifier},
};

/// A payload cut into files: of each fragment the hashes, then its bytes, as it is sent.
struct Fragments {
    id: BlobId,
    paths: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

impl Client {
    /// Cuts a file here, sends each validator its fragment, and gathers receipts from a quorum. The
    /// nodes of this client must be those of a quorum of seats; a seat that fails makes its fragment
    /// from the others' once a transaction names the payload.
    pub(super) fn put_direct(
        &self,
        committee: &Committee,
        key: &SecretKey,
        path: &Path,
    ) -> Result<AvailabilityCertificate, ClientError> {
        let nodes = self.nodes_of_seats(committee)?;
        let fragments = Fragments::cut(path, Cut::Direct.coding(committee.size())?)?;
        let (mut receipts, mut failed) = (vec![], None);
        for answer in self.send_fragments(committee, key, &fragments, &nodes) {
            match answer {
                Ok(receipt) => receipts.push(receipt),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if receipts.len() < committee.quorum() => Err(error),
            _ => {
                let (epoch, blob) = (committee.epoch, fragments.id);
                Ok(AvailabilityCertificate { epoch, blob, receipts })
            }
        }
    }

    /// Which of this client's nodes holds which seat, in the order of seats.
    fn nodes_of_seats(
        &self,
        committee: &Committee,
    ) -> Result<Vec<(SeatIndex, String)>, ClientError> {
        let mut found = vec![];
        for node in self.nodes() {
            let request = Request::get("/v1/status", "the node's status");
            let status: Result<StatusView, _> = self.http.fetch_at(node, &request);
            let seat = status.ok().and_then(|status| committee.seat_of(&status.node));
            found.extend(seat.map(|seat| (seat, node.clone())));
        }
        found.sort();
        found.dedup_by_key(|(seat, _)| *seat);
        match found.len() >= committee.quorum() {
            true => Ok(found),
            false => Err(ClientError::settings(
                "--direct",
                format!(
                    "of the {} validators {} are among the nodes given and answer, {} are needed: \
                     add them with --node, or leave --direct",
                    committee.size(),
                    found.len(),
                    committee.quorum()
                ),
            )),
        }
    }

    /// To all at once; the answers in the order of seats.
    fn send_fragments(
        &self,
        committee: &Committee,
        key: &SecretKey,
        fragments: &Fragments,
        nodes: &[(SeatIndex, String)],
    ) -> Vec<Result<StorageReceipt, ClientError>> {
        std::thread::scope(|scope| {
            let send = |(seat, node): &'_ (SeatIndex, String)| {
                let (seat, node) = (*seat, node.clone());
                scope.spawn(move || self.send_fragment(committee, key, fragments, seat, &node))
            };
            let sending: Vec<_> = nodes.iter().map(send).collect();
            sending.into_iter().map(|thread| thread.join().expect("a sender panicked")).collect()
        })
    }

    /// One seat's fragment to its node; the receipt is checked.
    fn send_fragment(
        &self,
        committee: &Committee,
        key: &SecretKey,
        fragments: &Fragments,
        seat: SeatIndex,
        node: &str,
    ) -> Result<StorageReceipt, ClientError> {
        let (chain, blob) = (self.chain()?.digest, &fragments.id);
        let url = format!("/v1/blobs/{}/fragments/{}", blob.digest(), seat.0);
        let (path, bytes) = (fragments.path(seat), fragments.bytes(seat));
        let mut request = Request::send(url, Sent::File(path, bytes), "a storage receipt");
        request.timeout = transfer_time(blob.length);
        request.headers = signed_headers(key, &chain, blob.digest()).into();
        request.headers.push((HEADER_IDENTITY, hex::encode(codec::encode(blob))));
        let receipt: StorageReceipt = self.http.fetch_at(node, &request)?;
        let said = StorageReceiptBody { epoch: committee.epoch, blob: blob.digest(), seat };
        let statement = said.statement(&chain, &committee.digest());
        let valid = committee.key(seat).is_some_and(|key| {
            receipt.seat == seat && StrictEd25519.verify(key, &statement, &receipt.signature)
        });
        match valid {
            true => Ok(receipt),
            false => Err(ClientError::Unexpected {
                node: node.into(),
                request: request.label(),
                expected: "a storage receipt".into(),
                reason: "its signature is not that of the seat for this payload and epoch".into(),
            }),
        }
    }
}

impl Fragments {
    /// In a folder of its own among the temporary files, which goes with this.
    fn cut(path: &Path, coding: Coding) -> Result<Self, ClientError> {
        let fault = |error: std::io::Error| local(path, &error);
        let length = std::fs::metadata(path).map_err(fault)?.len();
        let layout =
            Layout::new(length, coding).map_err(|error| ClientError::settings("payload", error))?;
        let room = Hashes::room(&layout);
        let folder = tempfile::tempdir().map_err(fault)?;
        let name = |fragment: u16| folder.path().join(fragment.to_string());
        let paths: Vec<PathBuf> = (0..coding.n()).map(name).collect();
        let drafts: Result<Vec<File>, _> = paths.iter().map(|path| draft(path, room)).collect();
        let mut drafts = drafts.map_err(fault)?;
        let encoded = cut_file(path, coding, &mut |stripe| append(&mut drafts, stripe))?;
        append(&mut drafts, &encoded.last_stripe()).map_err(fault)?;
        if encoded.id.length != length {
            let reason = format!("{}: it changed while it was read: try again", path.display());
            return Err(ClientError::settings("file", reason));
        }
        for (fragment, draft) in (0..).zip(&drafts) {
            let hashes = Hashes::of(&encoded, fragment).expect("a fragment of this coding");
            draft.write_all_at(&hashes.encode(&encoded.id), 0).map_err(fault)?;
        }
        Ok(Self { id: encoded.id, paths, _folder: folder })
    }

    fn path(&self, seat: SeatIndex) -> &Path {
        &self.paths[usize::from(seat.0)]
    }

    fn bytes(&self, seat: SeatIndex) -> u64 {
        std::fs::metadata(self.path(seat)).map_or(0, |about| about.len())
    }
}

/// A file whose first bytes are left for the hashes.
fn draft(path: &Path, room: u64) -> std::io::Result<File> {
    let mut file = File::create_new(path)?;
    file.seek(SeekFrom::Start(room))?;
    Ok(file)
}

fn append(drafts: &mut [File], stripe: &Stripe<'_>) -> std::io::Result<()> {
    drafts.iter_mut().zip(stripe.pieces()).try_for_each(|(draft, piece)| draft.write_all(piece))
}
