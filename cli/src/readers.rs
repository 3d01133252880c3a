//! Members whom a payload is sealed for. A node that named a false encryption key would read what
//! is sealed to it: each is proved under a checkpoint before anything is wrapped to it, together
//! with the member's name.

use crate::{
    client::Client,
    command::member,
    error::{CliError, Result},
    verify::prove_encryption_key,
};
use std::time::{Duration, Instant};
use twinfold_types::{
    BlobDigest, Digest, PublicKey,
    key::EncryptionKey,
    member::Member,
    sealed::{ContentKey, SealedWrap, WrapPlace},
};

/// A node's newest checkpoint may be a little older than what was just published elsewhere.
const BEHIND: Duration = Duration::from_secs(3);

/// A member with its proved encryption key.
#[derive(Clone, Debug)]
pub struct SealReader {
    pub member: Member,
    pub key: EncryptionKey,
}

/// Members by name or key, in the order of their keys, none twice.
pub fn find(client: &Client, wanted: &[String], timeout: Duration) -> Result<Vec<SealReader>> {
    let members = client.members()?;
    let mut readers = vec![];
    for text in wanted {
        let told = member::find(&members, text)?;
        let (proved, key) = prove(client, &told.key, timeout)?;
        if proved.name != told.name {
            return Err(CliError::failed(
                format!("a node calls {} {:?}, the chain {:?}", told.key, told.name, proved.name),
                "ask another node, or give the member's key",
            ));
        }
        let missing = || {
            let (name, key) = (&proved.name, &proved.key);
            CliError::failed(
                format!("{name} ({key}) has no encryption key: nothing can be sealed for {name}"),
                format!(
                    "{name} must run `twinfold key encryption new` and then \
                     `twinfold key encryption publish`"
                ),
            )
        };
        let key = key.ok_or_else(missing)?;
        readers.push(SealReader { member: proved, key });
    }
    readers.sort_by_key(|reader| reader.member.key);
    readers.dedup_by_key(|reader| reader.member.key);
    Ok(readers)
}

/// A member's encryption key, if it has one.
pub fn encryption_key(
    client: &Client,
    member: &PublicKey,
    timeout: Duration,
) -> Result<Option<EncryptionKey>> {
    Ok(prove(client, member, timeout)?.1)
}

fn prove(
    client: &Client,
    member: &PublicKey,
    timeout: Duration,
) -> Result<(Member, Option<EncryptionKey>)> {
    let started = Instant::now();
    loop {
        let (proved, key) = prove_encryption_key(client, member, timeout)?;
        if key.is_some() || started.elapsed() > BEHIND {
            return Ok((proved, key));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A content key for each of these readers.
pub fn wrap(
    readers: &[SealReader],
    chain: &Digest,
    blob: &BlobDigest,
    key: &ContentKey,
) -> Result<Vec<SealedWrap>> {
    let place = WrapPlace { chain, blob };
    let one = |reader: &SealReader| {
        SealedWrap::new(key, place, reader.member.key, reader.key, &rand::random())
            .map_err(|error| CliError::failed(format!("{}: {error}", reader.member.name), ""))
    };
    readers.iter().map(one).collect()
}
