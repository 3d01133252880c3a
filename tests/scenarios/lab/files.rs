//! Files as other tools write them, and damage.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One tensor of a safetensors file: name, type, shape, bytes.
pub type Tensor<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

/// A safetensors file, written by the book and not by our library.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), vec![]);
    for (name, dtype, shape, bytes) in tensors {
        let range = [data.len(), data.len() + bytes.len()];
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": range });
        header.insert(name.to_string(), entry);
        data.extend_from_slice(bytes);
    }
    let header = serde_json::to_vec(&header).expect("plain JSON");
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

pub fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An ONNX file, written by the book: y = x + w, with w in it. `spoiled` goes to w's message.
pub fn onnx(w: &[f32], spoiled: &[u8]) -> Vec<u8> {
    let number = |mut value: usize| {
        let mut bytes = vec![];
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let varint = |field: usize, value| [number(field << 3), number(value)].concat();
    let bytes = |field: usize, content: &[u8]| {
        [number(field << 3 | 2), number(content.len()), content.to_vec()].concat()
    };
    let port = |name: &str, side: Vec<u8>| {
        let tensor = [varint(1, 1), bytes(2, &bytes(1, &side))].concat();
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
    };
    let node = [bytes(1, b"x"), bytes(1, b"w"), bytes(2, b"y"), bytes(4, b"Add")].concat();
    let shape = varint(1, w.len());
    let w = [shape, varint(2, 1), bytes(8, b"w"), bytes(9, &f32s(w)), spoiled.to_vec()].concat();
    let graph = [
        bytes(1, &node),
        bytes(2, b"addition"),
        bytes(5, &w),
        bytes(11, &port("x", bytes(2, b"length"))),
        bytes(12, &port("y", bytes(2, b"length"))),
    ]
    .concat();
    [varint(1, 8), bytes(7, &graph), bytes(8, &varint(2, 17))].concat()
}

/// Flips every bit of one byte.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes[at] ^= 0xff;
    fs::write(path, bytes).expect("the file can be written");
}

/// Files in a folder whose names end so, with something in them, the largest first.
pub fn ending_with(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |data| data.len());
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a listing").path())
        .filter(|path| path.to_string_lossy().ends_with(end) && size(path) > 0)
        .collect();
    paths.sort_by_key(|path| std::cmp::Reverse(size(path)));
    paths
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a listing") {
        let entry = entry.expect("a listing");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
