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
