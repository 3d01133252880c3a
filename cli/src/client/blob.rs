//! Payloads of any size, from file to file and never whole in memory. What comes back is cut
//! again and held against its identity; a download that broke off goes on where it stopped.

use super::{
    Client, ClientError, PIECE_BYTES,
    http::{Request, Sent},
    now,
    read::transfer_time,
};
use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};
use twinfold_types::{
    AvailabilityCertificate, BlobDigest, BlobId, Committee, Digest, SecretKey,
    api::{HEADER_BLOB, HEADER_CODING, HEADER_KEY, HEADER_SIGNATURE, HEADER_TIME, HoldersView},
    blob::{Coding, Encoded, Encoder, Stripe, UploadBody},
    key::{Signer, StrictEd25519},
};

/// Times that a download is taken up again without a byte more.
const ATTEMPTS: u32 = 5;

/// How a payload is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// n fragments, of which n − 2f suffice.
    Fragments,
    /// The same, cut here and sent to each validator by itself.
    Direct,
    /// A copy for each validator.
    Whole,
}

/// Up to here whole copies cost no more than fragments, and one validator alone gives them back.
const SMALL_BYTES: u64 = 64 << 10;

impl Cut {
    /// What suits a payload of this length.
    pub fn of(length: u64) -> Self {
        if length <= SMALL_BYTES { Self::Whole } else { Self::Fragments }
    }

    pub(super) fn coding(self, seats: usize) -> Result<Coding, ClientError> {
        let coding = match self {
            Self::Fragments | Self::Direct => Coding::fragments(seats),
            Self::Whole => Coding::whole_copies(seats),
        };
        coding.map_err(|error| ClientError::settings("payload", error))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Fragments | Self::Direct => "fragments",
            Self::Whole => "whole",
        }
    }
}

/// Cuts a file's content, for its identity.
pub fn identify(path: &Path, coding: Coding) -> Result<BlobId, ClientError> {
    Ok(cut_file(path, coding, &mut |_| Ok(()))?.id)
}

/// Cuts a file's content; each stripe but the last, which the result has, is given away.
pub(super) fn cut_file(
    path: &Path,
    coding: Coding,
    each: &mut dyn FnMut(&Stripe<'_>) -> std::io::Result<()>,
) -> Result<Encoded, ClientError> {
    let mut file = File::open(path).map_err(|error| local(path, &error))?;
    let (mut encoder, mut piece) = (Encoder::new(coding), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece).map_err(|error| local(path, &error))?;
        let mut rest = &piece[..read];
        if read == 0 {
            return Ok(encoder.finish());
        }
        let too_long = |error| ClientError::settings("payload", error);
        while let Some(stripe) = encoder.push(&mut rest).map_err(too_long)? {
            each(&stripe).map_err(|error| local(path, &error))?;
        }
    }
}

/// Who uploads, and a signature for a payload at this moment.
pub(super) fn signed_headers(
    key: &SecretKey,
    chain: &Digest,
    blob: BlobDigest,
) -> [(&'static str, String); 3] {
    let body = UploadBody { blob, time_ms: now().0 };
    let signature = key.sign(&body.statement(chain));
    [
        (HEADER_KEY, key.public_key().to_string()),
        (HEADER_TIME, body.time_ms.to_string()),
        (HEADER_SIGNATURE, signature.to_string()),
    ]
}

impl Client {
    /// Stores content with the committee as whole copies.
    pub fn upload(
        &self,
        key: &SecretKey,
        bytes: &[u8],
    ) -> Result<AvailabilityCertificate, ClientError> {
        self.put(key, Sent::Bytes(bytes), Cut::Whole)
    }

    /// Stores a file with the committee.
    pub fn put_file(
        &self,
        key: &SecretKey,
        path: &Path,
        cut: Cut,
    ) -> Result<AvailabilityCertificate, ClientError> {
        let length = std::fs::metadata(path).map_err(|error| local(path, &error))?.len();
        self.put(key, Sent::File(path, length), cut)
    }

    /// The certificate that comes back is checked. A payload is stored for the running committee:
    /// where another epoch has begun meanwhile, it is offered again to that one.
    fn put(
        &self,
        key: &SecretKey,
        content: Sent<'_>,
        cut: Cut,
    ) -> Result<AvailabilityCertificate, ClientError> {
        let committee = self.committee()?;
        match self.put_to(&committee, key, content, cut) {
            Err(error) if !matches!(error, ClientError::Unreachable(_)) => {
                let newer = self.committee_from(self.status()?.epoch)?;
                match newer.epoch > committee.epoch {
                    true => self.put_to(&newer, key, content, cut),
                    false => Err(error),
                }
            }
            done => done,
        }
    }

    fn put_to(
        &self,
        committee: &Committee,
        key: &SecretKey,
        content: Sent<'_>,
        cut: Cut,
    ) -> Result<AvailabilityCertificate, ClientError> {
        if let (Cut::Direct, Sent::File(path, _)) = (cut, &content) {
            return self.put_direct(committee, key, path);
        }
        let chain = self.chain()?;
        let coding = cut.coding(committee.size())?;
        let blob = match content {
            Sent::Bytes(bytes) => BlobId::of(bytes, coding)
                .ok_or_else(|| ClientError::settings("payload", "it is too long"))?,
            Sent::File(path, _) => identify(path, coding)?,
        };
        let mut request = Request::send("/v1/blobs", content, "an availability certificate");
        request.timeout = transfer_time(blob.length);
        request.headers = signed_headers(key, &chain.digest, blob.digest()).into();
        request.headers.push((HEADER_BLOB, blob.digest().to_string()));
        request.headers.push((HEADER_CODING, cut.name().into()));
        self.http.fetch(&request, |_, answer| {
            let certificate: AvailabilityCertificate =
                serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
            if certificate.blob != blob {
                return Err("it certifies another payload".into());
            }
            let verified = certificate.verify(&chain.digest, committee, &StrictEd25519);
            verified.map_err(|error| error.to_string()).map(|()| certificate)
        })
    }

    /// A payload's identity, and who answers for its fragments.
    pub fn holders(&self, digest: &BlobDigest) -> Result<HoldersView, ClientError> {
        let request = Request::get(format!("/v1/blobs/{digest}/holders"), "who holds a payload");
        self.http.fetch(&request, |_, bytes| {
            let view: HoldersView =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            match view.blob.digest() == *digest && view.blob.is_supported() {
                true => Ok(view),
                false => Err("it tells of another payload".into()),
            }
        })
    }

    /// Writes a payload to a file, and only one that is what its identity says. `told` hears how
    /// many bytes are there. Where one node lied, another is asked for all of it.
    pub fn get_file(
        &self,
        id: &BlobId,
        path: &Path,
        told: &dyn Fn(u64),
    ) -> Result<(), ClientError> {
        let mut left = self.http.nodes().len();
        loop {
            match self.get_once(id, path, told) {
                Err(ClientError::Unexpected { .. }) if left > 1 => left -= 1,
                ended => return ended,
            }
        }
    }

    fn get_once(&self, id: &BlobId, path: &Path, told: &dyn Fn(u64)) -> Result<(), ClientError> {
        let layout = id.layout().map_err(|error| ClientError::settings("payload", error))?;
        let part = part_of(path, id);
        let file = File::options().create(true).append(true).open(&part);
        let mut file = file.map_err(|error| local(&part, &error))?;
        let mut there = file.metadata().map_err(|error| local(&part, &error))?.len();
        if there > id.length {
            // Of another download of this name.
            file.set_len(0).map_err(|error| local(&part, &error))?;
            there = 0;
        }
        let mut fruitless = 0;
        while there < id.length {
            let (got, ended) = self.get_from(id, there, &mut file, &part, told)?;
            there += got;
            fruitless = if got == 0 { fruitless + 1 } else { 0 };
            if there < id.length && fruitless == ATTEMPTS {
                return Err(unexpected(id, ended));
            }
        }
        file.sync_all().map_err(|error| local(&part, &error))?;
        if identify(&part, layout.coding())? != *id {
            std::fs::remove_file(&part).map_err(|error| local(&part, &error))?;
            let reason = "what came is not what its identity says; it was removed";
            return Err(unexpected(id, reason.into()));
        }
        std::fs::rename(&part, path).map_err(|error| local(path, &error))
    }

    /// Appends what one answer brings; how it ended is said beside.
    fn get_from(
        &self,
        id: &BlobId,
        from: u64,
        file: &mut File,
        path: &Path,
        told: &dyn Fn(u64),
    ) -> Result<(u64, String), ClientError> {
        let payload = format!("/v1/blobs/{}", id.digest());
        let mut request = self.get_content(payload, "a payload")?;
        request.timeout = transfer_time(id.length);
        request.headers.push(("range", format!("bytes={from}-")));
        let (mut body, is_part) = self.http.open_body(&request, id.length)?;
        if !is_part && from > 0 {
            return Ok((0, "all of it came where the rest was asked for".into()));
        }
        let (mut got, mut piece) = (0, vec![0; PIECE_BYTES]);
        loop {
            match body.read(&mut piece) {
                Ok(0) => return Ok((got, "nothing more came".into())),
                Ok(read) if read as u64 > id.length - from - got => {
                    return Ok((got, "more came than was asked for".into()));
                }
                Ok(read) => {
                    file.write_all(&piece[..read]).map_err(|error| local(path, &error))?;
                    got += read as u64;
                    told(from + got);
                }
                Err(error) => return Ok((got, format!("the download broke off: {error}"))),
            }
        }
    }
}

fn unexpected(id: &BlobId, reason: String) -> ClientError {
    ClientError::Unexpected {
        node: "a node".into(),
        request: format!("GET /v1/blobs/{}", id.digest()),
        expected: "the payload".into(),
        reason,
    }
}

/// Where a download lies until it is whole: another payload's under another name.
fn part_of(path: &Path, id: &BlobId) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:.8}.part", id.digest().to_string()));
    name.into()
}

pub(super) fn local(path: &Path, error: &std::io::Error) -> ClientError {
    ClientError::settings("file", format!("{}: {error}", path.display()))
}
