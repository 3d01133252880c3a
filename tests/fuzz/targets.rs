//! Every decoder of remote or stored bytes as a function of bytes. It tells whether it
//! took them, and panics where it broke a promise.

use serde::{Serialize, de::DeserializeOwned};
use std::{cell::RefCell, path::PathBuf};
use twinfold_cli::{
    tensor_file::{ImportSettings, export, import, read_delta},
    train::{MaskFile, TrainerState},
};
use twinfold_consensus::Record;
use twinfold_fl::{
    Layout, canonical_bytes,
    mask::{self, RoundSecret},
    steps_from_canonical,
    update::UpdateView,
};
use twinfold_node::journal::Journal;
use twinfold_tests::{samples, sealed_samples};
use twinfold_types::{
    SignedTx, TaskId,
    blob::{self, Coding, Decoder, FragmentList, GroupHashes},
    codec,
    genesis::Genesis,
    key::StrictEd25519,
    keyfile::KeyFile,
    limits,
    message::{ConsensusMessage, Hello, PeerMessage},
    proof::Bundle,
    sealed::{EncryptionKeyFile, Header, Opener},
    state_key,
    task::{
        Mode,
        masks::{MaskAction, MaskStep},
    },
};

pub use crate::machine::machine_events;

pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]) -> bool,
    /// Mutations of one run: fewer where a file is written for each.
    pub rounds: u64,
}

pub fn all() -> Vec<Target> {
    let target = |name, run, rounds| Target { name, run, rounds };
    vec![
        target("transaction", transaction, 20_000),
        target("consensus_message", consensus_message, 20_000),
        target("peer_message", peer_message, 20_000),
        target("hello", hello, 5_000),
        target("machine_events", machine_events, 20_000),
        target("fragment_list", fragment_list, 20_000),
        target("group_list", group_list, 5_000),
        target("stripes", stripes, 2_000),
        target("journal_record", journal_record, 20_000),
        target("journal_file", journal_file, 500),
        target("genesis", genesis, 3_000),
        target("bundle", bundle, 5_000),
        target("key_file", key_file, 5_000),
        target("encryption_key_file", encryption_key_file, 5_000),
        target("sealed_header", sealed_header, 20_000),
        target("sealed_stream", sealed_stream, 20_000),
        target("update", update, 20_000),
        target("model", model, 2_000),
        target("model_file", model_file, 2_000),
        target("delta_file", delta_file, 2_000),
        target("trainer_state", trainer_state, 300),
        target("mask_file", mask_file, 300),
        target("mask_deal", mask_deal, 3_000),
        target("state_key", state_key_parsers, 20_000),
        target("cursor", cursor, 5_000),
    ]
}

/// The codec's own promise, held from outside.
fn canonical<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Option<T> {
    let value = codec::decode::<T>(bytes, limit).ok()?;
    assert_eq!(codec::encode(&value), bytes, "not canonical");
    Some(value)
}

pub fn transaction(bytes: &[u8]) -> bool {
    let Ok(tx) = SignedTx::decode(bytes) else { return false };
    assert_eq!(codec::encode(&tx), bytes, "not canonical");
    // What a node does next with bytes from anybody.
    let _ = tx.check(&samples::digest(1), &StrictEd25519);
    let _ = tx.payload_bytes();
    if let twinfold_types::Action::CreateTask(spec) = &tx.body.action {
        let _ = spec.fault();
    }
    true
}

pub fn consensus_message(bytes: &[u8]) -> bool {
    let message = canonical::<ConsensusMessage>(bytes, limits::MESSAGE_BYTES_MAX);
    if let Some(ConsensusMessage::PrePrepare { block, .. } | ConsensusMessage::Block(block)) =
        &message
    {
        let _ = block.check(&StrictEd25519);
    }
    message.is_some()
}

pub fn peer_message(bytes: &[u8]) -> bool {
    canonical::<PeerMessage>(bytes, limits::MESSAGE_BYTES_MAX).is_some()
}

pub fn hello(bytes: &[u8]) -> bool {
    canonical::<Hello>(bytes, 1_024).is_some()
}

pub fn fragment_list(bytes: &[u8]) -> bool {
    let list = canonical::<FragmentList>(bytes, limits::FRAGMENT_LIST_BYTES_MAX);
    let (id, own) = samples::fragments();
    if let Some(list) = &list {
        assert_eq!(list.check(&id).is_ok(), *list == own, "another list under one root");
    }
    list.is_some()
}

/// Content of three groups, the last one short.
pub const STREAM_BYTES: usize = 2 * limits::PIECE_BYTES + 1_000;

/// A list is taken only if it is the content's own.
pub fn group_list(bytes: &[u8]) -> bool {
    let own = GroupHashes::of(&samples::content(STREAM_BYTES));
    let list = GroupHashes::received(bytes, own.length(), &own.root());
    assert_eq!(list.is_ok(), bytes == own.as_bytes(), "another list under one hash");
    list.is_ok()
}

/// Any fragments of any run of any content: what is given back has the run's length.
pub fn stripes(bytes: &[u8]) -> bool {
    let Some((head, given)) = bytes.split_at_checked(7) else { return false };
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let Ok(coding) = Coding::fragments(head[4].into()) else { return false };
    let Ok(layout) = blob::Layout::new(length.into(), coding) else { return false };
    let run = u64::from(head[5])..u64::from(head[6]);
    let range = layout.fragment_range(&run).unwrap_or_default();
    let piece = vec![7; (range.end - range.start).min(1 << 20) as usize];
    let given: Vec<_> = given.iter().map(|number| (u16::from(*number), &piece[..])).collect();
    let mut decoder = Decoder::new(layout);
    let _ = decoder.rebuild(run.clone(), &given, head[0].into(), &mut vec![]);
    let Ok(parts) = decoder.content(run.clone(), &given) else { return false };
    let found: usize = parts.iter().map(|part| part.len()).sum();
    let expected: usize = run.filter_map(|stripe| layout.content_bytes(stripe)).sum();
    assert_eq!(found, expected, "content of another length");
    true
}

pub fn journal_record(bytes: &[u8]) -> bool {
    canonical::<Vec<Record>>(bytes, limits::DECODE_BYTES_MAX).is_some()
}

/// Opening drops a torn tail; what is left must open again to the same records.
pub fn journal_file(bytes: &[u8]) -> bool {
    let path = scratch("journal", bytes);
    let Ok((_, records)) = Journal::open::<Record>(&path, samples::digest(1), true) else {
        return false;
    };
    let (_, again) =
        Journal::open::<Record>(&path, samples::digest(1), true).expect("opened before");
    assert_eq!(records, again, "a repaired journal changed");
    true
}

pub fn genesis(bytes: &[u8]) -> bool {
    let Some(genesis) = json::<Genesis>(bytes) else { return false };
    let again: Genesis = serde_json::from_str(&to_json(&genesis)).expect("our own JSON");
    assert_eq!(genesis.digest(), again.digest(), "JSON changed the genesis");
    if genesis.check().is_err() {
        return false;
    }
    let _ = genesis.committee().digest();
    true
}

pub fn bundle(bytes: &[u8]) -> bool {
    let Some(bundle) = canonical::<Bundle>(bytes, limits::DECODE_BYTES_MAX) else { return false };
    let _ = bundle.verify(&samples::genesis(), &Default::default());
    // Damage hides behind the first fault: each part is verified by itself too.
    let checkpoint = &bundle.checkpoint.checkpoint;
    for (_, audit) in &bundle.transactions {
        let _ = audit.verify(checkpoint.audit_size, &checkpoint.audit_root);
    }
    for state in &bundle.states {
        let _ = state.verify(&checkpoint.state_root);
    }
    true
}

/// Opened without a passphrase only: deriving a key is slow on purpose.
pub fn key_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(file) = KeyFile::from_json(text) else { return false };
    let again = KeyFile::from_json(&file.to_json()).expect("our own JSON");
    assert_eq!(file.to_json(), again.to_json(), "JSON changed the key file");
    let _ = file.open(None);
    true
}

pub fn update(bytes: &[u8]) -> bool {
    twinfold_fl::update::decode_target(bytes);
    let Ok(view) = UpdateView::parse(bytes) else { return false };
    let _ = twinfold_fl::clip::within_norm(&view, limits::SCALE_DEFAULT, 1 << 26);
    true
}

pub fn model(bytes: &[u8]) -> bool {
    let Ok(steps) = steps_from_canonical(bytes, &samples::tensors()) else { return false };
    assert_eq!(canonical_bytes(&steps), bytes, "not canonical");
    true
}

/// An imported model survives its export.
pub fn model_file(bytes: &[u8]) -> bool {
    let path = scratch("model.safetensors", bytes);
    let Ok(model) = import(&path, &ImportSettings::default()) else { return false };
    let _ = Layout::of(&model.tensors).expect("what is imported has a layout");
    let out = export(&model.tensors, &model.steps, vec![]).expect("what is imported can go out");
    std::fs::write(&path, out).expect("the scratch folder is ours");
    let again = import(&path, &ImportSettings::default()).expect("our own export");
    assert_eq!((&model.tensors, &model.steps), (&again.tensors, &again.steps));
    true
}

pub fn delta_file(bytes: &[u8]) -> bool {
    let path = scratch("delta.safetensors", bytes);
    let Ok(delta) = read_delta(&path, &samples::spec(Mode::Sync)) else { return false };
    assert!(delta.iter().all(|value| value.is_finite()), "a delta that is not finite");
    true
}

pub fn trainer_state(bytes: &[u8]) -> bool {
    let path = scratch("trainer", bytes);
    TrainerState::open(&path, TaskId(samples::digest(5)), samples::key(2), 3).is_ok()
}

pub fn mask_file(bytes: &[u8]) -> bool {
    let key = samples::round_key();
    let (task, trainer) = (key.task.to_string(), samples::key(2).to_string());
    let name = format!("{}-{}-{}.mask", &task[..16], key.cluster, &trainer[..16]);
    let path = scratch(&name, bytes);
    let folder = path.parent().expect("it lies in the scratch folder");
    MaskFile::open(folder, &key, &samples::key(2)).is_ok()
}

/// Deals and shares are held against commitments, whatever the bytes.
pub fn mask_deal(bytes: &[u8]) -> bool {
    let Some(action) = canonical::<MaskAction>(bytes, limits::TX_BYTES_MAX) else { return false };
    let key = samples::round_key();
    let secrets = (1..=9).map(|seed| RoundSecret::new([seed; 32], key));
    let keys: Vec<_> = secrets.map(|secret| secret.keys()).collect();
    match action.step {
        MaskStep::Keys(keys) => mask::check_keys(&keys),
        MaskStep::Deal(deal) => mask::check_deal(&key, &keys, 1, &deal),
        MaskStep::Complain(complaint) => {
            let deal = RoundSecret::new([2; 32], key).deal(&keys, 1).expect("points");
            let shown = mask::check_complaint(&key, &keys, 2, &deal, &complaint);
            assert!(!shown, "a good share was shown to be false");
            true
        }
        MaskStep::Release(shares) => {
            let points: Vec<_> = keys.iter().take(shares.len()).map(|keys| keys.pair).collect();
            !mask::check_release(&points, &shares)
        }
    }
}

pub fn state_key_parsers(bytes: &[u8]) -> bool {
    let deadline = state_key::parse_deadline(bytes);
    if let Some((time, key)) = &deadline {
        assert_eq!(state_key::deadline(*time, key).bytes(), bytes);
    }
    let lapse = state_key::parse_proposal_lapse(bytes);
    if let Some((time, id)) = &lapse {
        assert_eq!(state_key::proposal_lapse(*time, id).bytes(), bytes);
    }
    deadline.is_some() || lapse.is_some()
}

pub fn cursor(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(cursor) = text.parse::<twinfold_node::api::Cursor>() else { return false };
    assert_eq!(cursor.to_string(), text, "a second form of a cursor");
    true
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("our types are plain JSON")
}

/// The bytes as a file; one folder a thread, removed at its end.
fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    thread_local! {
        static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a temporary folder"));
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the temporary folder takes files");
        path
    })
}

pub fn encryption_key_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(file) = EncryptionKeyFile::from_json(text) else { return false };
    let _ = file.newest();
    true
}

pub fn sealed_header(bytes: &[u8]) -> bool {
    let header = Header::decode(bytes);
    if let Ok(header) = &header {
        assert_eq!(header.encode().as_slice(), bytes, "not canonical");
    }
    header.is_ok()
}

/// Of all streams of one segment the key opens the one that was sealed.
pub fn sealed_stream(bytes: &[u8]) -> bool {
    let Some((preamble, rest)) = bytes.split_first_chunk() else { return false };
    let opener = Opener::begin(&sealed_samples::content_key(), preamble);
    let opened = opener.and_then(|opener| opener.finish(rest));
    assert_eq!(opened.is_ok(), bytes == sealed_samples::sealed_stream().0, "another stream opens");
    opened.is_ok()
}
