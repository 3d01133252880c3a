//! Sealing and opening from file to file, a segment at a time. Plain bytes are written only once
//! their segment is verified, and stand under the name asked for only once all of it is.

use crate::error::{CliError, Result};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use twinfold_types::{
    Digest,
    limits::SEGMENT_BYTES,
    sealed::{
        ContentKey, Drawn, Header, Opener, PREAMBLE_BYTES, SEALED_SEGMENT_BYTES, SealError, Sealer,
    },
};
use zeroize::Zeroizing;

/// A content key, and the salted commitment to what it sealed.
pub struct SealedContent {
    pub key: ContentKey,
    pub commitment: Digest,
}

/// Seals a file under a key drawn for it.
pub fn seal_file(from: &Path, to: &Path) -> Result<SealedContent> {
    let key = ContentKey::from_bytes(&Zeroizing::new(rand::random::<[u8; 32]>()));
    let drawn = Drawn { prefix: rand::random(), salt: rand::random() };
    let mut source = File::open(from).map_err(CliError::file(from))?;
    let mut sink = create(to)?;
    let (mut sealer, preamble) = Sealer::begin(&key, &drawn);
    let mut write = |bytes: &[u8]| sink.write_all(bytes).map_err(CliError::file(to));
    write(&preamble)?;
    let mut now = fill::<SEGMENT_BYTES>(&mut source, from)?;
    loop {
        let next = fill::<SEGMENT_BYTES>(&mut source, from)?;
        if next.is_empty() {
            break;
        }
        write(&sealer.segment(full(&now)?).map_err(sealing(from))?)?;
        now = next;
    }
    let (last, commitment) = sealer.finish(&now).map_err(sealing(from))?;
    write(&last)?;
    sink.sync_all().map_err(CliError::file(to))?;
    Ok(SealedContent { key, commitment })
}

/// Opens a sealed file whose content its owner committed to; how many bytes it is.
pub fn open_file(from: &Path, to: &Path, key: &ContentKey, commitment: &Digest) -> Result<u64> {
    let part = beside(to, ".opening");
    let bytes = open_into(from, &part, key, commitment);
    match bytes.and_then(|bytes| {
        std::fs::rename(&part, to).map_err(CliError::file(to))?;
        Ok(bytes)
    }) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let _ = std::fs::remove_file(&part);
            Err(error)
        }
    }
}

fn open_into(from: &Path, to: &Path, key: &ContentKey, commitment: &Digest) -> Result<u64> {
    let mut source = File::open(from).map_err(CliError::file(from))?;
    let mut sink = create(to)?;
    let preamble = fill::<PREAMBLE_BYTES>(&mut source, from)?;
    let preamble = preamble.as_slice().try_into().map_err(|_| opening(from)(SealError::Length))?;
    let mut opener = Opener::begin(key, preamble).map_err(opening(from))?;
    let (mut now, mut bytes) = (fill::<SEALED_SEGMENT_BYTES>(&mut source, from)?, 0);
    loop {
        let next = fill::<SEALED_SEGMENT_BYTES>(&mut source, from)?;
        if next.is_empty() {
            break;
        }
        let plain = opener.segment(full(&now)?).map_err(opening(from))?;
        sink.write_all(&plain).map_err(CliError::file(to))?;
        bytes += plain.len() as u64;
        now = next;
    }
    let (plain, found) = opener.finish(&now).map_err(opening(from))?;
    if found != *commitment {
        return Err(CliError::failed(
            "the content is not the one that its owner committed to on the ledger",
            "do not rely on it; ask the owner to seal it anew",
        ));
    }
    sink.write_all(&plain).map_err(CliError::file(to))?;
    sink.sync_all().map_err(CliError::file(to))?;
    Ok(bytes + plain.len() as u64)
}

/// Whether a file begins as a sealed payload does.
pub fn is_sealed(path: &Path) -> Result<bool> {
    let mut source = File::open(path).map_err(CliError::file(path))?;
    let preamble = fill::<PREAMBLE_BYTES>(&mut source, path)?;
    let header = preamble.len().checked_sub(48).and_then(|length| preamble.get(..length));
    Ok(preamble.len() == PREAMBLE_BYTES && header.is_some_and(|it| Header::decode(it).is_ok()))
}

/// The same name with an ending.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A new file for its owner only; what a killed process left there goes.
fn create(path: &Path) -> Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(CliError::file(path)(error));
        }
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(CliError::file(path))
}

/// As many bytes as there are, up to N.
fn fill<const N: usize>(source: &mut File, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(N));
    source.take(N as u64).read_to_end(&mut bytes).map_err(CliError::file(path))?;
    Ok(bytes)
}

/// What more came after is full.
fn full<const N: usize>(bytes: &[u8]) -> Result<&[u8; N]> {
    bytes.try_into().map_err(|_| {
        CliError::failed("the file changed while it was read", "run the command again")
    })
}

fn sealing(path: &Path) -> impl Fn(SealError) -> CliError + '_ {
    move |error| {
        let hint = "split it into several payloads";
        CliError::failed(format!("{}: {error}", path.display()), hint)
    }
}

fn opening(path: &Path) -> impl Fn(SealError) -> CliError + '_ {
    move |error| {
        CliError::failed(
            format!("{}: {error}", path.display()),
            "nothing of it was kept as content; fetch it again, or ask its owner to seal it anew",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn a_sealed_file_opens_to_what_it_was_and_has_no_byte_run_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for length in [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 200_000] {
            let plain = content(length);
            std::fs::write(path("plain"), &plain).unwrap();
            let sealed = seal_file(&path("plain"), &path("sealed")).unwrap();
            assert!(is_sealed(&path("sealed")).unwrap() && !is_sealed(&path("plain")).unwrap());
            let commitment = &sealed.commitment;
            let opened = open_file(&path("sealed"), &path("copy"), &sealed.key, commitment);
            assert_eq!(opened.unwrap(), length as u64);
            assert!(std::fs::read(path("copy")).unwrap() == plain, "{length} bytes");
            let bytes = std::fs::read(path("sealed")).unwrap();
            let run = plain.get(..32);
            assert!(run.is_none_or(|run| !bytes.windows(32).any(|window| window == run)));
        }
    }

    #[test]
    fn a_flip_anywhere_a_cut_and_a_foreign_commitment_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("plain"), content(2 * SEGMENT_BYTES + 10)).unwrap();
        let sealed = seal_file(&path("plain"), &path("sealed")).unwrap();
        let good = std::fs::read(path("sealed")).unwrap();
        let refused = |bytes: &[u8], commitment: &Digest| {
            std::fs::write(path("bad"), bytes).unwrap();
            let opened = open_file(&path("bad"), &path("copy"), &sealed.key, commitment);
            assert!(opened.is_err());
            assert!(!path("copy").exists() && !path("copy.opening").exists());
        };
        for at in [0, 5, 20, 60, 100, PREAMBLE_BYTES + SEALED_SEGMENT_BYTES, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            refused(&bad, &sealed.commitment);
        }
        for cut in [0, 40, PREAMBLE_BYTES, PREAMBLE_BYTES + SEALED_SEGMENT_BYTES, good.len() - 1] {
            refused(&good[..cut], &sealed.commitment);
        }
        refused(&good, &Digest::ZERO);
    }
}
