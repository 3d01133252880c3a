//! The kept corpus: one small file a sample, in `corpus/TARGET/NAME`. It is made from
//! the samples of the golden files; what a failure taught may be added by hand.

use crate::{machine, targets};
use std::{fs, path::PathBuf};
use twinfold_cli::{
    tensor_file::export,
    train::{Pending, TrainerState},
};
use twinfold_consensus::Record;
use twinfold_fl::{
    canonical_bytes,
    update::{Binding, Bits, TensorData, TensorUpdate, Update},
};
use twinfold_ledger::Ledger;
use twinfold_node::journal::Journal;
use twinfold_tests::{mask_samples, samples, sealed_samples};
use twinfold_types::{
    Action, Block, Digest, Epoch, Header, Height, SeatIndex, SignedTx, TaskId, TimeMs, TxId,
    blob::GroupHashes,
    block::body_digest,
    codec,
    key::Signer,
    keyfile::KeyFile,
    model::TensorPolicy,
    proof::Bundle,
    sealed::{EncryptionKeyFile, StoredEncryptionKey},
    state_key,
    tx::TxBody,
    vote::CheckpointCertificate,
};

type Samples = Vec<(String, Vec<u8>)>;

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// What is kept for a target, in the order of names.
pub fn read(target: &str) -> Samples {
    let Ok(entries) = fs::read_dir(folder(target)) else { return vec![] };
    let mut samples: Samples = entries
        .map(|entry| {
            let entry = entry.expect("the corpus can be listed");
            let bytes = fs::read(entry.path()).expect("the corpus can be read");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    samples.sort();
    samples
}

pub fn write(target: &str, samples: &Samples) {
    fs::create_dir_all(folder(target)).expect("the corpus can be written");
    for (name, bytes) in samples {
        fs::write(folder(target).join(name), bytes).expect("the corpus can be written");
    }
}

/// Samples of every target.
pub fn samples() -> Vec<(&'static str, Samples)> {
    vec![
        ("transaction", transactions()),
        ("consensus_message", named(samples::messages())),
        ("peer_message", named(samples::peer_messages())),
        ("hello", vec![("hello".into(), codec::encode(&samples::hello()))]),
        ("fragment_list", vec![("list".into(), codec::encode(&samples::fragments().1))]),
        ("group_list", group_lists()),
        ("stripes", stripes()),
        ("machine_events", machine::kept::plays()),
        ("journal_record", vec![("records".into(), codec::encode(&records()))]),
        ("journal_file", vec![("journal".into(), journal())]),
        ("genesis", vec![("genesis.json".into(), pretty(&samples::genesis()))]),
        ("bundle", vec![("bundle".into(), codec::encode(&bundle()))]),
        ("key_file", key_files()),
        ("encryption_key_file", encryption_key_files()),
        ("sealed_header", vec![("header".into(), sealed_samples::sealed_stream().0[..43].into())]),
        ("sealed_stream", vec![("stream".into(), sealed_samples::sealed_stream().0)]),
        ("update", updates()),
        ("model", vec![("model".into(), canonical_bytes(&steps()))]),
        ("model_file", vec![("exported".into(), exported()), ("plain".into(), plain_file())]),
        ("delta_file", vec![("exported".into(), delta())]),
        ("trainer_state", trainer_states()),
        ("mask_file", vec![("drawn".into(), mask_file())]),
        ("mask_deal", mask_actions()),
        ("state_key", state_keys()),
        (
            "cursor",
            vec![("start".into(), b"0-0-0".to_vec()), ("later".into(), b"12-3-45".to_vec())],
        ),
    ]
}

fn named<T: serde::Serialize>(values: Vec<(&'static str, T)>) -> Samples {
    let encode = |(name, value): (&str, T)| (name.replace(' ', "_"), codec::encode(&value));
    values.into_iter().map(encode).collect()
}

fn pretty<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("our types are plain JSON")
}

/// The whole content's list, for the length that the target expects.
fn group_lists() -> Samples {
    let groups = GroupHashes::of(&samples::content(targets::STREAM_BYTES));
    vec![("list".into(), groups.as_bytes().to_vec())]
}

/// What a reader asks and is given: a length, seats, a run, and the numbers of the fragments.
fn stripes() -> Samples {
    let sample = |name: &str, length: u32, seats_run_and_given: &[u8]| {
        (name.to_string(), [&length.to_le_bytes(), seats_run_and_given].concat())
    };
    vec![
        sample("all_data", 300_000, &[4, 0, 2, 0, 1]),
        sample("all_parity", 300_000, &[4, 1, 3, 3, 2]),
        sample("nothing", 0, &[7, 0, 1, 6, 5, 4]),
        sample("whole", 70_000, &[1, 1, 2, 0]),
    ]
}

fn transactions() -> Samples {
    let signed = |(name, action)| {
        let body = TxBody { action, ..samples::tx().body };
        (name, body.sign(&samples::secret(1)))
    };
    let actions = samples::actions().into_iter().chain(sealed_samples::sealed_actions());
    named(actions.map(signed).collect())
}

fn records() -> Vec<Record> {
    vec![
        Record::Block(Box::new(samples::block())),
        Record::Vote(samples::vote()),
        Record::Certificate(samples::certificate()),
        Record::ViewChange(Box::new(samples::view_change())),
        Record::NewView(Box::new(samples::new_view())),
        Record::Checkpoint(samples::checkpoint_vote()),
    ]
}

/// Two frames, as the node writes them.
fn journal() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal");
    let (mut journal, _) =
        Journal::open::<Record>(&path, samples::digest(1), true).expect("a new one");
    let records = records();
    journal.append(&records[..2]).expect("room for two records");
    journal.append(&records[2..4]).expect("room for two records");
    fs::read(path).expect("it was just written")
}

fn encryption_key_files() -> Samples {
    let plain = StoredEncryptionKey::plain(&sealed_samples::encryption(5));
    let file = EncryptionKeyFile::new("edge", plain);
    vec![("plain.json".into(), file.to_json().into_bytes())]
}

fn key_files() -> Samples {
    let secret = samples::secret(9);
    let encrypted = KeyFile::encrypted("edge", &secret, "passphrase", [1; 16], [2; 12]);
    vec![
        ("plain.json".into(), KeyFile::plain("edge", &secret).to_json().into_bytes()),
        ("encrypted.json".into(), encrypted.expect("it encrypts").to_json().into_bytes()),
    ]
}

fn update(data: TensorData, len: u32, bits: Bits) -> Vec<u8> {
    let task = TaskId(samples::digest(5));
    let binding = Binding { task, trainer: samples::key(2), base: samples::digest(9) };
    let tensor = |index, data| TensorUpdate { index, len, exponent: 12, bits, data };
    Update { binding, tensors: vec![tensor(0, data.clone()), tensor(2, data)] }.encode()
}

fn updates() -> Samples {
    let pairs = vec![(0, 3), (7, -2), (300, 1)];
    vec![
        ("dense_8".into(), update(TensorData::Dense(vec![1, -1, 127, 0]), 4, Bits::B8)),
        ("dense_32".into(), update(TensorData::Dense(vec![1 << 20, i32::MIN]), 2, Bits::B32)),
        ("sparse_16".into(), update(TensorData::Sparse(pairs), 400, Bits::B16)),
    ]
}

fn steps() -> Vec<i32> {
    (0..650).map(|index| (index - 300) << 10).collect()
}

fn exported() -> Vec<u8> {
    export(&samples::tensors(), &steps(), vec![("twinfold.model", "0f".into())]).expect("it fits")
}

/// A file as other tools write it: no twins, no metadata.
fn plain_file() -> Vec<u8> {
    let header = br#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    for value in [0.5f32, -1.0, 0.0, 3.25] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// Small values in the trained tensor, zeros in the frozen one.
fn delta() -> Vec<u8> {
    let tensors = samples::tensors();
    let steps = (0..650).map(|index| match tensors[usize::from(index >= 640)].policy {
        TensorPolicy::Train => index << 5,
        _ => 0,
    });
    export(&tensors, &steps.collect::<Vec<_>>(), vec![]).expect("it fits")
}

fn trainer_states() -> Samples {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("trainer");
    let (task, trainer) = (TaskId(samples::digest(5)), samples::key(2));
    let mut state = TrainerState::open(&path, task, trainer, 3).expect("a new one");
    let pending = Pending {
        round: None,
        base_version: 4,
        examples: 90,
        metrics: samples::metrics(),
        transaction: Some(codec::encode(&samples::tx())),
        payload: b"payload".to_vec(),
        carried: vec![0.5, -0.25, 0.0],
        rest: vec![0.5, 0.0, 0.0],
        control: vec![0.25],
    };
    state.begin(pending).expect("nothing is pending");
    let waiting = fs::read(&path).expect("it was just written");
    state.settle(twinfold_cli::train::Settlement::Counted).expect("one is pending");
    vec![("pending".into(), waiting), ("settled".into(), fs::read(&path).expect("written"))]
}

/// With a secret that is not drawn, so that the file is the same each time.
fn mask_file() -> Vec<u8> {
    let content = (samples::round_key(), samples::key(2), [7u8; 32], true, None::<Digest>);
    let mut bytes = [b"TFM1".as_slice(), &codec::encode(&content)].concat();
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

fn mask_actions() -> Samples {
    let actions = mask_samples::actions().into_iter().filter_map(|(name, action)| match action {
        Action::Mask(action) => Some((name, *action)),
        _ => None,
    });
    named(actions.collect())
}

fn state_keys() -> Samples {
    let deadline = state_key::deadline(TimeMs(77), &samples::round_key());
    let lapse = state_key::proposal_lapse(TimeMs(77), &TxId(samples::digest(4)));
    vec![("deadline".into(), deadline.into_bytes()), ("proposal_lapse".into(), lapse.into_bytes())]
}

/// A true proof: a ledger of one block, its checkpoint signed by a quorum.
fn bundle() -> Bundle {
    let genesis = samples::genesis();
    let (chain, folder) = (genesis.digest(), tempfile::tempdir().expect("a temporary folder"));
    let mut ledger = Ledger::open(folder.path(), None, &genesis).expect("an empty folder");
    let (name, action) = samples::actions().swap_remove(2);
    assert_eq!(name, "propose quota");
    let (valid_from, valid_until) = (TimeMs(1_000), TimeMs(61_000));
    let (sender, nonce) = (samples::key(1), 1);
    let tx =
        TxBody { chain, sender, nonce, valid_from, valid_until, action }.sign(&samples::secret(1));
    let block = block(chain, vec![tx.clone()]);
    let executed = ledger.commit(&block, &samples::certificate()).expect("it follows genesis");
    let checkpoint = executed.checkpoint;
    let statement = checkpoint.statement(&chain, &genesis.committee().digest());
    let sign = |seat: u8| (SeatIndex(seat.into()), samples::secret(20 + seat).sign(&statement));
    let stable = CheckpointCertificate { checkpoint, signatures: (0..3).map(sign).collect() };
    ledger.set_stable(&stable).expect("it is our own");
    let reader = ledger.reader();
    let mut bundle = reader.prove_tx(&tx.id()).expect("it is certified");
    let keys = [state_key::params(), state_key::task(&TaskId(samples::digest(5)))];
    bundle.states = reader.prove_state(&keys).expect("present and absent are both proved");
    bundle.verify(&genesis, &Default::default()).expect("a true proof");
    bundle
}

fn block(chain: Digest, txs: Vec<SignedTx>) -> Block {
    let header = Header {
        chain,
        protocol: twinfold_types::limits::PROTOCOL_VERSION,
        epoch: Epoch(0),
        height: Height(1),
        parent: chain,
        time: TimeMs(2_000),
        body: body_digest(&txs),
    };
    Block { header, txs }
}
