//! A version's content into a file: chunk by chunk out of the packs, each held against its hash
//! before it is written, the whole against the version's record. What an earlier attempt left is
//! checked in the same way, and taken up as far as it is right.

use super::link::DatasetLink;
use crate::{
    client::{Client, ClientError},
    error::{CliError, Result},
    files,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use twinfold_types::{
    BlobId, Digest,
    dataset::{
        Content, Dataset, DatasetVersion,
        manifest::{Chunk, Manifest},
    },
};

/// Bytes that are asked for at once; what a lying node costs.
const RUN_BYTES_MAX: u64 = 8 << 20;
/// Attempts without a chunk more before it is given up.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// A file that grows, and what its content comes to so far.
struct Growing {
    file: File,
    path: PathBuf,
    sha256: Sha256,
    blake3: blake3::Hasher,
    bytes: u64,
}

/// Writes a version to a file. `told` hears how many bytes are there.
pub fn fetch(
    client: &Client,
    version: &DatasetVersion,
    path: &Path,
    told: &dyn Fn(u64),
) -> Result<()> {
    let manifest = client.manifest(version)?;
    let (mut growing, there) = Growing::open(part_of(path), &manifest)?;
    let parts: Vec<_> = manifest.parts().skip(there).collect();
    let (mut rest, mut fruitless) = (&parts[..], 0);
    while !rest.is_empty() {
        told(growing.bytes);
        let (got, ended) = fetch_run(client, run_of(rest), &mut growing)?;
        rest = &rest[got..];
        fruitless = if got == 0 { fruitless + 1 } else { 0 };
        match ended {
            Err(error) if fruitless == ATTEMPTS => return Err(error.into()),
            Err(_) => std::thread::sleep(PAUSE),
            Ok(()) => {}
        }
    }
    growing.finish(&version.content, path)
}

/// Chunks that lie one behind another in one pack.
fn run_of<'a>(rest: &'a [(&'a BlobId, &'a Chunk)]) -> &'a [(&'a BlobId, &'a Chunk)] {
    let (mut bytes, mut end) = (0, 0);
    while let Some((pack, chunk)) = rest.get(end) {
        let (first_pack, first) = rest[0];
        let follows = *pack == first_pack && chunk.offset == first.offset + bytes;
        if !follows || (end > 0 && bytes + u64::from(chunk.length) > RUN_BYTES_MAX) {
            break;
        }
        bytes += u64::from(chunk.length);
        end += 1;
    }
    &rest[..end]
}

/// How many chunks of the run came as they should, and why no more did.
fn fetch_run(
    client: &Client,
    run: &[(&BlobId, &Chunk)],
    growing: &mut Growing,
) -> Result<(usize, Result<(), ClientError>)> {
    let (pack, first) = run[0];
    let bytes = run.iter().map(|(_, chunk)| u64::from(chunk.length)).sum();
    let part = match client.blob_part(pack, first.offset, bytes) {
        Ok(part) => part,
        Err(error) => return Ok((0, Err(error))),
    };
    let mut at = 0;
    for (index, (_, chunk)) in run.iter().enumerate() {
        let content = &part[at..at + chunk.length as usize];
        if !is_content(content, chunk) {
            let error = false_content(format!("a part of payload {}", pack.digest()));
            return Ok((index, Err(error)));
        }
        growing.add(content)?;
        at += content.len();
    }
    Ok((run.len(), Ok(())))
}

fn is_content(content: &[u8], chunk: &Chunk) -> bool {
    Digest(*blake3::hash(content).as_bytes()) == chunk.hash
}

fn false_content(request: String) -> ClientError {
    ClientError::Unexpected {
        node: "a node".into(),
        request,
        expected: "what the data set's version contains".into(),
        reason: "it has another hash".into(),
    }
}

impl Growing {
    /// Opens what an earlier attempt left, cut back to the chunks that are right.
    fn open(path: PathBuf, manifest: &Manifest) -> Result<(Self, usize)> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let file = options.open(&path).map_err(CliError::file(&path))?;
        let (sha256, blake3) = (Sha256::new(), blake3::Hasher::new());
        let mut growing = Self { file, path, sha256, blake3, bytes: 0 };
        let (mut there, mut buffer) = (0, vec![]);
        for chunk in &manifest.chunks {
            buffer.resize(chunk.length as usize, 0);
            if growing.file.read_exact(&mut buffer).is_err() || !is_content(&buffer, chunk) {
                break;
            }
            growing.note(&buffer);
            there += 1;
        }
        let cut = growing.file.set_len(growing.bytes);
        cut.and_then(|()| growing.file.seek(SeekFrom::Start(growing.bytes)))
            .map_err(CliError::file(&growing.path))?;
        Ok((growing, there))
    }

    fn note(&mut self, content: &[u8]) {
        self.sha256.update(content);
        self.blake3.update(content);
        self.bytes += content.len() as u64;
    }

    fn add(&mut self, content: &[u8]) -> Result<()> {
        self.file.write_all(content).map_err(CliError::file(&self.path))?;
        self.note(content);
        Ok(())
    }

    /// The manifest is whoever appended's word, and so is the record: they must agree.
    fn finish(self, content: &Content, path: &Path) -> Result<()> {
        let sha256 = Digest(self.sha256.finalize().into());
        let blake3 = Digest(*self.blake3.finalize().as_bytes());
        if (self.bytes, sha256, blake3) != (content.length, content.sha256, content.blake3) {
            std::fs::remove_file(&self.path).map_err(CliError::file(&self.path))?;
            return Err(false_content("the whole content".into()).into());
        }
        self.file.sync_all().map_err(CliError::file(&self.path))?;
        std::fs::rename(&self.path, path).map_err(CliError::file(path))
    }
}

/// A version as a file under `folder`, fetched unless it is there already and right.
pub fn cached(
    client: &Client,
    link: &DatasetLink,
    folder: &Path,
    told: &dyn Fn(u64, u64),
) -> Result<PathBuf> {
    let (dataset, version) = readable(client, link)?;
    let content = &version.content;
    let ending = match content.media_type.as_str() {
        super::schema::CSV => "csv",
        super::schema::NPZ => "npz",
        other => {
            return Err(CliError::usage(
                format!("version {} of {} is of type {other}", version.number, link.name),
                format!("training takes {} and {}", super::schema::CSV, super::schema::NPZ),
            ));
        }
    };
    files::create_private_folder(folder).map_err(CliError::file(folder))?;
    let (name, number, id) = (&link.name, version.number, dataset.id.0.short());
    let path = folder.join(format!("{name}@{number}-{id}.{ending}"));
    if is_there(&path, content).map_err(CliError::file(&path))? {
        return Ok(path);
    }
    fetch(client, &version, &path, &|done| told(done, content.length))?;
    Ok(path)
}

/// A version with its content: not one that its owner gave up.
pub fn readable(client: &Client, link: &DatasetLink) -> Result<(Dataset, DatasetVersion)> {
    let dataset = client.dataset(&link.name)?.dataset;
    let version = client.dataset_version(&dataset, newest(&dataset, link.version)?)?;
    match dataset.is_purged(version.number) {
        false => Ok((dataset, version)),
        true => Err(CliError::failed(
            format!("version {} of data set {} was purged by its owner", version.number, link.name),
            "its record stays: `twinfold dataset show`",
        )),
    }
}

/// The number that is meant.
pub fn newest(dataset: &Dataset, version: Option<u64>) -> Result<u64> {
    // A node says both.
    let left = dataset.versions.saturating_sub(dataset.purged);
    match version.unwrap_or(if left > 0 { left } else { dataset.versions }) {
        0 => Err(CliError::failed(
            format!("data set {} has no version yet", dataset.spec.name),
            "append one with `twinfold dataset append`",
        )),
        number => Ok(number),
    }
}

fn is_there(path: &Path, content: &Content) -> std::io::Result<bool> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    if file.metadata()?.len() != content.length {
        return Ok(false);
    }
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(*hasher.finalize().as_bytes()) == content.blake3),
            read => hasher.update(&piece[..read]),
        };
    }
}

/// Where a download lies until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
