use super::{
    card,
    cut::{Cut, Known, cut},
    schema,
};
use std::path::{Path, PathBuf};
use twinfold_types::{
    BlobId, Digest, Height, PublicKey, TimeMs, TxId,
    blob::Coding,
    dataset::{
        AppendRule, ColumnKind, Content, Dataset, DatasetId, DatasetSpec, DatasetVersion,
        manifest::Manifest,
    },
    limits,
};

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn written(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn cut_of(dir: &Path, content: &[u8], known: Option<&Manifest>, pack_bytes_max: u64) -> Cut {
    let path = written(dir, "content", content);
    cut(&path, dir, Known::of(known), pack_bytes_max, &|_| {}).unwrap()
}

/// The packs' identities, and their content.
fn stored(cut: &Cut) -> (Vec<BlobId>, Vec<Vec<u8>>) {
    let contents: Vec<_> = cut.packs.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let coding = Coding::fragments(4).unwrap();
    (contents.iter().map(|content| BlobId::of(content, coding).unwrap()).collect(), contents)
}

fn joined(manifest: &Manifest, packs: &[(BlobId, Vec<u8>)]) -> Vec<u8> {
    let mut content = vec![];
    for (pack, chunk) in manifest.parts() {
        let (_, bytes) = packs.iter().find(|(id, _)| id == pack).unwrap();
        let part = &bytes[chunk.offset as usize..][..chunk.length as usize];
        assert_eq!(Digest(*blake3::hash(part).as_bytes()), chunk.hash);
        content.extend_from_slice(part);
    }
    content
}

#[test]
fn a_change_brings_only_the_chunks_around_it_and_both_versions_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let first = noise(8 << 20);
    let one = cut_of(dir.path(), &first, None, limits::DATASET_PACK_BYTES_MAX);
    assert_eq!((one.length, one.new_bytes, one.shared_bytes), (8 << 20, 8 << 20, 0));
    let (ids, contents) = stored(&one);
    let manifest = one.manifest(&ids);
    manifest.check(one.length).unwrap();
    let mut packs: Vec<_> = ids.into_iter().zip(contents).collect();
    assert!(joined(&manifest, &packs) == first);

    // Seven bytes more in the middle: everything behind them moves.
    let second = [&first[..4_000_000], b"changed", &first[4_000_000..]].concat();
    let two = cut_of(dir.path(), &second, Some(&manifest), limits::DATASET_PACK_BYTES_MAX);
    assert!(two.new_bytes <= 2 * u64::from(limits::DATASET_CHUNK_BYTES_MAX), "{}", two.new_bytes);
    assert_eq!(two.new_bytes + two.shared_bytes, two.length);
    let (ids, contents) = stored(&two);
    let manifest = two.manifest(&ids);
    manifest.check(two.length).unwrap();
    packs.extend(ids.into_iter().zip(contents));
    assert!(joined(&manifest, &packs) == second);

    // Back to the first: nothing is new if it is made from a version that has it all.
    let again = cut_of(dir.path(), &second, Some(&manifest), limits::DATASET_PACK_BYTES_MAX);
    assert_eq!((again.new_bytes, again.packs.len()), (0, 0));
}

#[test]
fn what_repeats_within_a_file_is_stored_once_and_long_content_takes_several_packs() {
    let dir = tempfile::tempdir().unwrap();
    let block = noise(2 << 20);
    let twice = [&block[..], &block[..]].concat();
    let cut = cut_of(dir.path(), &twice, None, 1 << 20);
    assert!(cut.new_bytes < 3 << 20, "{}", cut.new_bytes);
    assert!(cut.packs.len() > 1);
    let (ids, contents) = stored(&cut);
    assert!(contents.iter().all(|content| content.len() <= 1 << 20));
    let manifest = cut.manifest(&ids);
    manifest.check(cut.length).unwrap();
    let packs: Vec<_> = ids.into_iter().zip(contents).collect();
    assert!(joined(&manifest, &packs) == twice);
}

#[test]
fn a_file_with_more_new_content_than_a_version_brings_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), "content", &noise(3 << 20));
    let refused = cut(&path, dir.path(), Known::of(None), 256 << 10, &|_| {});
    let refused = refused.err().expect("it takes more than six such packs");
    assert!(refused.to_string().contains("are new"), "{refused}");
}

#[test]
fn an_empty_file_is_a_version_without_packs() {
    let dir = tempfile::tempdir().unwrap();
    let cut = cut_of(dir.path(), &[], None, 1 << 20);
    assert_eq!((cut.length, cut.packs.len()), (0, 0));
    cut.manifest(&[]).check(0).unwrap();
}

#[test]
fn a_version_over_too_many_packs_is_not_built_upon() {
    let dir = tempfile::tempdir().unwrap();
    let content = noise(1 << 20);
    let one = cut_of(dir.path(), &content, None, limits::DATASET_PACK_BYTES_MAX);
    let mut manifest = one.manifest(&stored(&one).0);
    let filler = |number: usize| BlobId::of_whole_copies(number as u64, Digest([0; 32]), 4);
    manifest.packs.extend((1..limits::DATASET_PACKS_MAX).map(filler));
    let two = cut_of(dir.path(), &content, Some(&manifest), limits::DATASET_PACK_BYTES_MAX);
    assert_eq!(two.new_bytes, two.length);
}

#[test]
fn columns_and_rows_of_csv_are_those_of_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let of =
        |name: &str, text: &str| schema::of(&written(dir.path(), name, text.as_bytes())).unwrap();
    let found = of("a.csv", "id,value,good,note,empty\n1,2,true,x,\n2,2.5,FALSE,7,\n");
    let kinds: Vec<_> = found.columns.unwrap().into_iter().map(|c| (c.name, c.kind)).collect();
    let expected = [
        ("id", ColumnKind::Integer),
        ("value", ColumnKind::Real),
        ("good", ColumnKind::Boolean),
        ("note", ColumnKind::Text),
        ("empty", ColumnKind::Text),
    ];
    assert_eq!(kinds, expected.map(|(name, kind)| (name.to_string(), kind)));
    assert_eq!((found.media_type, found.rows), (schema::CSV, Some(2)));
    let headless = of("b.csv", "1,2\n3,4\n5,6\n");
    assert_eq!(headless.rows, Some(3));
    assert_eq!(headless.columns.unwrap()[1].name, "1");
    // Not what their names say: taken as bytes.
    let broken = of("c.csv", "a,b\n1\n");
    assert_eq!((broken.columns, broken.rows), (None, None));
    let twice = of("d.csv", "a,a\n1,2\n");
    assert_eq!((twice.columns, twice.rows), (None, Some(1)));
    let none = of("e.npz", "no archive");
    assert_eq!((none.media_type, none.columns), (schema::NPZ, None));
    assert_eq!(of("f.unheard", "x").media_type, "application/octet-stream");
}

#[test]
fn arrays_of_npz_are_columns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let mut writer = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
    writer.add_array("x", &ndarray::Array3::<f32>::zeros((5, 8, 4))).unwrap();
    writer.add_array("y", &ndarray::Array1::<i64>::zeros(5)).unwrap();
    writer.finish().unwrap();
    let found = schema::of(&path).unwrap();
    assert_eq!((found.media_type, found.rows), (schema::NPZ, Some(5)));
    let columns = found.columns.unwrap();
    let columns: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.kind, &c.shape[..])).collect();
    assert_eq!(
        columns,
        [("x", ColumnKind::Real, &[8, 4][..]), ("y", ColumnKind::Integer, &[][..])]
    );

    let mut writer = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
    writer.add_array("x", &ndarray::Array1::<f32>::zeros(5)).unwrap();
    writer.add_array("y", &ndarray::Array1::<f32>::zeros(6)).unwrap();
    writer.finish().unwrap();
    assert_eq!(schema::of(&path).unwrap().rows, None, "no table");
}

#[test]
fn a_card_names_the_file_and_the_columns_that_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let card = |text: &str| {
        let found = schema::of(&written(dir.path(), "a.csv", text.as_bytes())).unwrap();
        let content = Content {
            length: text.len() as u64,
            sha256: Digest([7; 32]),
            blake3: Digest([8; 32]),
            media_type: found.media_type.into(),
            columns: found.columns,
            rows: found.rows,
        };
        card::croissant(&dataset(), &version(content), &|_| "olaf".into())
    };
    let named = card("id,value\n1,2.5\n");
    assert_eq!(named["conformsTo"], "http://mlcommons.org/croissant/1.0");
    assert_eq!(named["distribution"][0]["contentSize"], "15 B");
    assert_eq!(named["distribution"][0]["sha256"], "07".repeat(32));
    assert_eq!(named["datePublished"], "1970-01-01");
    let field = &named["recordSet"][0]["field"][1];
    assert_eq!((&field["@id"], &field["dataType"]), (&"rows/value".into(), &"sc:Float".into()));
    assert_eq!(field["source"]["extract"]["column"], "value");
    assert!(card("1,2\n3,4\n").get("recordSet").is_none(), "no reader could find them by name");
}

fn dataset() -> Dataset {
    let spec = DatasetSpec {
        name: "digits".into(),
        description: "handwritten".into(),
        licence: "CC0-1.0".into(),
        rule: AppendRule::Owner,
    };
    let (id, owner) = (DatasetId(Digest([1; 32])), PublicKey([1; 32]));
    Dataset { id, owner, spec, created: TimeMs(0), versions: 2, granted: 0, purged: 0 }
}

fn version(content: Content) -> DatasetVersion {
    DatasetVersion {
        dataset: DatasetId(Digest([1; 32])),
        number: 2,
        parent: Some(1),
        by: PublicKey([2; 32]),
        tx: TxId(Digest([3; 32])),
        height: Height(9),
        time: TimeMs(1_000),
        manifest: BlobId::of_whole_copies(1, Digest([4; 32]), 4),
        packs: vec![],
        content,
    }
}
