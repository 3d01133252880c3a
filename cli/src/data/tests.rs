use super::*;
use ndarray::{Array1, array};
use ndarray_npy::NpzWriter;
use std::{fs, fs::File};

fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn read(text: &str, label: &str) -> Result<Dataset, DataError> {
    let (_folder, path) = file("data.csv", text);
    let label = label.parse().unwrap();
    load(&path, &LoadOptions { label, scaling: Scaling::None })
}

fn digits() -> Dataset {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testnet/data/optdigits.csv");
    load(&path, &LoadOptions::default()).unwrap()
}

#[test]
fn a_header_is_found_and_the_last_column_is_the_label() {
    let with = read("a,b,label\n1,2,0\n3,4,2\n", "last").unwrap();
    let without = read("1,2,0\n3,4,2\n", "last").unwrap();
    assert_eq!(with, without);
    assert_eq!(with.x, array![[1.0, 2.0], [3.0, 4.0]]);
    assert_eq!((with.y, with.classes), (vec![0, 2], 3));
}

#[test]
fn the_label_column_may_be_named_or_numbered() {
    let text = "kind,a\n1,5\n0,6\n";
    assert_eq!(read(text, "kind").unwrap().y, [1, 0]);
    assert_eq!(read(text, "0").unwrap(), read(text, "kind").unwrap());
    let error = read(text, "sort").unwrap_err().to_string();
    assert!(error.contains("\"sort\"") && error.contains("kind, a"), "{error}");
}

#[test]
fn text_labels_are_numbered_in_their_order() {
    let data = read("1,setosa\n2,virginica\n3,setosa\n4,versicolor\n", "last").unwrap();
    assert_eq!((data.y, data.classes), (vec![0, 2, 0, 1], 3));
}

#[test]
fn faults_are_named_with_their_line() {
    let cases = [
        ("1,2,0\n1,NaN,0\n", "line 2: column 2"),
        ("1,2,0\n1,,0\n", "line 2: column 2"),
        ("1,2,0\n1,inf,0\n", "line 2: column 2"),
        ("1,2,0\n1,2\n", "line 2: expected 3 columns, found 2"),
        ("1,2,0\n1,2,\n", "line 2: column 3: the label is missing"),
        ("a,b,c\n", "expected examples, found none"),
        ("1\n2\n", "line 1: expected at least one feature"),
        ("1,99999999\n", "is the label column right?"),
    ];
    for (text, part) in cases {
        let error = read(text, "last").unwrap_err().to_string();
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    let (_folder, path) = file("data.txt", "1,2\n");
    let error = load(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains(".csv or .npz"), "{error}");
}

#[test]
fn an_npz_of_images_is_flattened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let mut writer = NpzWriter::new_compressed(File::create(&path).unwrap());
    let images = ndarray::Array3::from_shape_fn((3, 2, 2), |(i, j, k)| (4 * i + 2 * j + k) as u8);
    writer.add_array("x", &images).unwrap();
    writer.add_array("y", &Array1::from(vec![1i64, 0, 1])).unwrap();
    writer.finish().unwrap();
    let data = load(&path, &LoadOptions { scaling: Scaling::Divide(2.0), ..Default::default() });
    let data = data.unwrap();
    assert_eq!(data.x.row(1).to_vec(), [2.0, 2.5, 3.0, 3.5]);
    assert_eq!((data.y, data.classes), (vec![1, 0, 1], 2));
}

#[test]
fn an_npz_that_lacks_an_array_or_holds_nan_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let write = |x: f64, name: &str, y: f64| {
        let mut writer = NpzWriter::new(File::create(&path).unwrap());
        writer.add_array("x", &array![[x]]).unwrap();
        writer.add_array(name, &array![y]).unwrap();
        writer.finish().unwrap();
        load(&path, &LoadOptions::default()).unwrap_err().to_string()
    };
    assert!(write(1.0, "labels", 0.0).contains("holds: x, labels"));
    assert!(write(f64::NAN, "y", 0.0).contains("row 0, column 0"));
    assert!(write(1.0, "y", 0.5).contains("whole number"));
    fs::write(&path, b"no archive").unwrap();
    assert!(load(&path, &LoadOptions::default()).is_err());
}

#[test]
fn features_are_scaled_by_their_largest_magnitude() {
    let mut data = read("2,-8,0\n-4,4,1\n0,0,1\n", "last").unwrap();
    let mut each = data.clone();
    data.scale(Scaling::MaxAbs);
    assert_eq!(data.x, array![[0.25, -1.0], [-0.5, 0.5], [0.0, 0.0]]);
    each.scale(Scaling::FeatureMaxAbs);
    assert_eq!(each.x, array![[0.5, -1.0], [-1.0, 0.5], [0.0, 0.0]]);
}

#[test]
fn every_row_goes_to_exactly_one_trainer_and_every_trainer_gets_one() {
    let data = digits();
    assert_eq!((data.len(), data.features(), data.classes), (1_797, 64, 10));
    for how in [Partition::Iid, Partition::Dirichlet(0.1), Partition::Dirichlet(0.001)] {
        let shards = partition(&data, 8, how, 3).unwrap();
        let mut rows: Vec<_> = shards.concat();
        rows.sort();
        assert!(rows.into_iter().eq(0..data.len()), "{how:?}");
        assert!(shards.iter().all(|shard| !shard.is_empty()));
        assert_eq!(partition(&data, 8, how, 3).unwrap(), shards, "seeded");
        assert_ne!(partition(&data, 8, how, 4).unwrap(), shards);
    }
}

#[test]
fn a_small_alpha_gives_uneven_shards() {
    let data = digits();
    let widest = |how| {
        let shards = partition(&data, 8, how, 1).unwrap();
        let ones = shards.iter().map(|shard| shard.iter().filter(|row| data.y[**row] == 1).count());
        ones.max().unwrap()
    };
    assert!(widest(Partition::Iid) < 40);
    assert!(widest(Partition::Dirichlet(0.1)) > 60);
}

#[test]
fn the_split_keeps_every_example_and_survives_a_csv() {
    let data = digits();
    let (train, test) = split_train_test(&data, 0.2, 7).unwrap();
    assert_eq!((train.len(), test.len()), (1_438, 359));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.csv");
    test.write_csv(&path).unwrap();
    let options = LoadOptions { scaling: Scaling::None, ..Default::default() };
    assert_eq!(load(&path, &options).unwrap(), test);
}

#[test]
fn settings_are_read_from_text_or_refused() {
    assert_eq!("iid".parse::<Partition>().unwrap(), Partition::Iid);
    assert_eq!("dirichlet:0.5".parse::<Partition>().unwrap(), Partition::Dirichlet(0.5));
    assert!("dirichlet:-1".parse::<Partition>().is_err());
    assert_eq!("16".parse::<Scaling>(), Ok(Scaling::Divide(16.0)));
    assert!("0".parse::<Scaling>().is_err());
}
