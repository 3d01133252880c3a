//! Formats are frozen: every stored, sent or signed type has a sample whose encoding
//! stands in `encodings.txt`, and every digest and statement one in `digests.txt`.
//! A change is made on purpose: `TWINFOLD_BLESS=1 ./tests/run golden`.

mod dataset_samples;
mod evaluation_samples;
mod keeping_samples;
mod mask_samples;
mod samples;
mod sealed_samples;
mod stake_samples;

use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, path::Path};
use twinfold_types::{
    Digest, Epoch, blob::Coding, codec, genesis::Genesis, hash::Tag, key, key::Purpose, model,
    quorum::Committee, stake::key_statement,
};

const LIMIT: usize = 1 << 20;

/// Checks the round trip and notes the encoding.
struct Book {
    lines: BTreeMap<String, String>,
}

impl Book {
    fn note<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = codec::encode(value);
        let back: T = codec::decode(&bytes, LIMIT).expect(name);
        assert_eq!(&back, value, "{name}");
        refuses_every_cut_and_tail::<T>(name, &bytes);
        self.line(name, hex::encode(&bytes));
    }

    fn line(&mut self, name: &str, text: String) {
        assert!(self.lines.insert(name.into(), text).is_none(), "{name} stands twice");
    }
}

fn refuses_every_cut_and_tail<T: Serialize + DeserializeOwned>(name: &str, bytes: &[u8]) {
    for cut in 0..bytes.len() {
        assert!(codec::decode::<T>(&bytes[..cut], LIMIT).is_err(), "{name} cut at {cut}");
    }
    let longer = [bytes, &[0]].concat();
    assert!(codec::decode::<T>(&longer, LIMIT).is_err(), "{name} with a tail");
    // A flip may give another valid value, but never a second form of one.
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x81;
        if let Ok(value) = codec::decode::<T>(&flipped, LIMIT) {
            assert_eq!(codec::encode(&value), flipped, "{name} flipped at {at}");
        }
    }
}

/// Compares with the committed file, or rewrites it when asked to.
fn hold_against(file: &str, book: &Book) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    let text: String =
        book.lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    if std::env::var_os("TWINFOLD_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let old: BTreeMap<_, _> = committed.lines().filter_map(|line| line.split_once(": ")).collect();
    for (name, value) in &book.lines {
        assert_eq!(
            old.get(name.as_str()).copied(),
            Some(value.as_str()),
            "{file}: {name:?} differs from the frozen format; if that is meant, TWINFOLD_BLESS=1"
        );
    }
    assert_eq!(old.len(), book.lines.len(), "{file}: a sample was removed");
}

#[test]
fn encodings_stay_as_they_are() {
    let mut book = Book { lines: BTreeMap::new() };
    for (name, action) in samples::actions() {
        book.note(&format!("action {name}"), &action);
    }
    for (name, message) in samples::messages() {
        book.note(&format!("consensus message {name}"), &message);
    }
    for (name, message) in samples::peer_messages() {
        book.note(&format!("peer message {name}"), &message);
    }
    book.note("deprecation", &samples::deprecation());
    book.note("metric record", &samples::metric_record());
    for (name, record) in samples::model_records() {
        book.note(&format!("model record {name}"), &record);
    }
    for (name, round) in samples::rounds() {
        book.note(&format!("round {name}"), &round);
    }
    book.note("transaction", &samples::tx());
    book.note("block", &samples::block());
    book.note("receipt", &samples::receipt());
    book.note("task", &samples::task());
    book.note("cluster", &samples::cluster());
    book.note("entry", &samples::entry());
    book.note("member", &samples::member());
    book.note("proposal", &samples::proposal());
    book.note("hello", &samples::hello());
    book.note("genesis", &samples::genesis());
    book.note("checkpoint certificate", &samples::checkpoint_certificate());
    book.note("availability certificate", &samples::availability());
    book.note("coded blob identity", &samples::fragments().0);
    book.note("fragment list", &samples::fragments().1);
    book.note("checkpoint statement", &samples::checkpoint_statement());
    for (name, key) in samples::model_keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    for (name, subtree) in samples::subtrees() {
        book.note(&format!("subtree {name}"), &subtree);
    }
    hold_against("encodings.txt", &book);
}

#[test]
fn encodings_of_stake_and_epochs_stay_as_they_are() {
    let mut book = Book { lines: BTreeMap::new() };
    let actions = [
        stake_samples::stake_actions(),
        stake_samples::admin_actions(),
        stake_samples::accusations(),
    ];
    for (name, action) in actions.into_iter().flatten() {
        book.note(&format!("action {name}"), &action);
    }
    for (name, candidate) in stake_samples::candidates() {
        book.note(&format!("candidate {name}"), &candidate);
    }
    for (name, event) in stake_samples::stake_events() {
        book.note(&format!("event {name}"), &event);
    }
    for (name, key) in stake_samples::stake_keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    book.note("unbonding", &stake_samples::unbonding());
    book.note("participation", &stake_samples::participation());
    book.note("committee", &stake_samples::committee());
    book.note("trail", &stake_samples::trail());
    book.note("recovery", &samples::recovery());
    hold_against("stake.txt", &book);
}

#[test]
fn sealed_payloads_stay_as_they_are() {
    let mut book = Book { lines: BTreeMap::new() };
    for (name, action) in sealed_samples::sealed_actions() {
        book.note(&format!("action {name}"), &action);
    }
    for (name, event) in sealed_samples::sealed_events() {
        book.note(&format!("event {name}"), &event);
    }
    for (name, key) in sealed_samples::sealed_keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    book.note("sealed record", &sealed_samples::sealed_record());
    book.note("wrap", &sealed_samples::wrap());
    let (stream, commitment) = sealed_samples::sealed_stream();
    book.line("sealed stream", hex::encode(stream));
    book.line("commitment", commitment.to_string());
    hold_against("sealed.txt", &book);
}

#[test]
fn encodings_of_data_sets_stay_as_they_are() {
    let mut book = Book { lines: BTreeMap::new() };
    for (name, action) in dataset_samples::actions() {
        book.note(&format!("action {name}"), &action);
    }
    for (name, event) in dataset_samples::events() {
        book.note(&format!("event {name}"), &event);
    }
    for (name, key) in dataset_samples::keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    book.note("data set", &dataset_samples::dataset());
    book.note("version", &dataset_samples::version());
    book.note("manifest", &dataset_samples::manifest());
    hold_against("datasets.txt", &book);
}

#[test]
fn what_keeps_payloads_stays_as_it_is() {
    let mut book = Book { lines: BTreeMap::new() };
    for text in ["none", "q2,stochastic", "topk:0.01:4", "randk:0.1:8", "above:2.5:16"] {
        let compression: twinfold_types::task::Compression = text.parse().expect("a compression");
        book.note(text, &compression);
    }
    for (name, rule) in samples::evaluation_rules() {
        book.note(name, &rule);
    }
    for (name, event) in evaluation_samples::events() {
        book.note(name, &event);
    }
    for (name, key) in evaluation_samples::keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    book.note("enrolled trainer", &evaluation_samples::enrolled());
    book.note("drawing", &evaluation_samples::drawing());
    book.note("region", &evaluation_samples::region());
    book.note("formed trainer", &evaluation_samples::formed());
    book.note("progress", &evaluation_samples::progress());
    book.note("evaluated version", &evaluation_samples::evaluation());
    book.note("contributions in all", &evaluation_samples::total());
    for (name, action) in mask_samples::actions() {
        book.note(&format!("action {name}"), &action);
    }
    for (name, event) in mask_samples::events() {
        book.note(&format!("event {name}"), &event);
    }
    for (name, key) in mask_samples::state_keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    book.note("masked round", &mask_samples::masking());
    for (name, action) in keeping_samples::actions() {
        book.note(&format!("action {name}"), &action);
    }
    for (name, event) in keeping_samples::events() {
        book.note(&format!("event {name}"), &event);
    }
    for (name, key) in keeping_samples::keys() {
        book.line(&format!("state key {name}"), hex::encode(key.bytes()));
    }
    book.note("blob reference", &keeping_samples::reference());
    book.note("hold", &keeping_samples::hold());
    book.note("condemned", &keeping_samples::condemned());
    book.note("takeover", &keeping_samples::takeover());
    hold_against("keeping.txt", &book);
}

#[test]
fn digests_and_statements_stay_as_they_are() {
    let mut book = Book { lines: BTreeMap::new() };
    let committee: Committee = samples::genesis().committee();
    let (chain, seats) = (samples::digest(1), committee.digest());
    let mut digest = |name: &str, digest: Digest| book.line(name, digest.to_string());
    digest("genesis", samples::genesis().digest());
    digest("committee", seats);
    digest("checkpoint", Digest::of(Tag::Checkpoint, &samples::checkpoint()));
    digest("fold result", Digest::of(Tag::FoldResult, &samples::fold_result()));
    let order = (samples::digest(1), Epoch(3), samples::key(2));
    digest("leader order", Digest::of(Tag::LeaderOrder, &order));
    digest("transaction", samples::tx().id().0);
    digest("header", samples::block().digest());
    digest("block body", samples::block().header.body);
    digest("blob", samples::blob().digest());
    digest("blob fragment root", samples::blob().fragment_root);
    digest("model of one block", model::model_digest(b"steps"));
    digest("model of three blocks", model::model_digest(&vec![7; 150_000]));
    digest("tensors", model::tensors_digest(&samples::tensors()));
    digest("recovery", samples::recovery().digest());
    digest("model record", samples::model_records()[0].1.id().0);
    let mut statement =
        |name: &str, statement: key::Statement| book.line(name, hex::encode(statement.bytes()));
    statement("signed transaction", samples::tx().body.statement(&samples::tx().id()));
    statement("signed vote", samples::vote_body().statement(&chain, &seats));
    let view_change = samples::view_change().header.body;
    statement("signed view change", view_change.statement(&chain, &seats));
    statement("signed new view", samples::new_view().body.statement(&chain, &seats));
    statement("signed checkpoint", samples::checkpoint().statement(&chain, &seats));
    statement("signed storage receipt", samples::storage_receipt_body().statement(&chain, &seats));
    statement("signed fold result", samples::fold_result().statement(&chain, &seats));
    statement("signed upload", samples::upload_body().statement(&chain));
    let new_key = key_statement(&chain, &samples::key(2), &samples::key(3));
    statement("signed consensus key", new_key);
    statement("signed trusted checkpoint", samples::checkpoint_statement().statement(&chain));
    statement("signed recovery", samples::recovery().statement.signed());
    hold_against("digests.txt", &book);
}

/// How content is cut, coded and hashed: an identity commits to every byte of every fragment.
#[test]
fn identities_of_blobs_stay_as_they_are() {
    let mut book = Book { lines: BTreeMap::new() };
    let whole = Coding::whole_copies(4).unwrap();
    for coding in [whole, samples::coding(4), samples::coding(7), samples::coding(10)] {
        for length in [0, 1, 1_001, 65_536, 100_000, 262_144, 1_000_003] {
            let encoded = samples::encoded(length, coding);
            encoded.fragments.check(&encoded.id).unwrap();
            let name = format!("{length} bytes, {} of {}", coding.k(), coding.n());
            book.line(&format!("{name}, identity"), encoded.id.digest().to_string());
            book.line(
                &format!("{name}, last fragment"),
                encoded.fragments.0[coding.n() as usize - 1].to_string(),
            );
        }
    }
    hold_against("blobs.txt", &book);
}

#[test]
fn every_purpose_gives_another_statement() {
    let purposes = [
        Purpose::Transaction,
        Purpose::Vote,
        Purpose::ViewChange,
        Purpose::NewView,
        Purpose::Checkpoint,
        Purpose::StorageReceipt,
        Purpose::FoldResult,
        Purpose::Upload,
        Purpose::ConsensusKey,
        Purpose::TrustedCheckpoint,
        Purpose::Recovery,
    ];
    let statements: std::collections::BTreeSet<_> = purposes
        .iter()
        .map(|purpose| *key::statement(*purpose, &samples::digest(1), &1u8).bytes())
        .collect();
    assert_eq!(statements.len(), purposes.len());
}

#[test]
fn a_genesis_file_keeps_its_fingerprint_through_json() {
    let genesis = samples::genesis();
    let json = serde_json::to_string_pretty(&genesis).unwrap();
    let back: Genesis = serde_json::from_str(&json).unwrap();
    assert_eq!(back.digest(), genesis.digest());
}

/// `wincode` writes the same bytes: the way out, should bincode have to go.
#[test]
fn another_library_writes_the_same_bytes() {
    #[derive(wincode::SchemaWrite)]
    struct Mirror {
        text: String,
        number: u64,
        small: u16,
        flag: bool,
        list: Vec<u32>,
        option: Option<[u8; 32]>,
    }
    #[derive(Serialize)]
    struct Ours<'a> {
        text: &'a str,
        number: u64,
        small: u16,
        flag: bool,
        list: &'a [u32],
        option: Option<Digest>,
    }
    let mirror = Mirror {
        text: "twin".into(),
        number: 7,
        small: 3,
        flag: true,
        list: vec![1, 2],
        option: Some([9; 32]),
    };
    let ours = Ours {
        text: "twin",
        number: 7,
        small: 3,
        flag: true,
        list: &[1, 2],
        option: Some(Digest([9; 32])),
    };
    assert_eq!(wincode::serialize(&mirror).unwrap(), codec::encode(&ours));
}
