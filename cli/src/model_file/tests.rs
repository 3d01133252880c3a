use super::*;
use std::path::PathBuf;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn refused(&self, name: &str, bytes: &[u8]) -> String {
        inspect(&self.file(name, bytes)).unwrap_err().to_string()
    }
}

fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint(field: u64, value: u64) -> Vec<u8> {
    [number(field << 3), number(value)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [number(field << 3 | 2), number(content.len() as u64), content.to_vec()].concat()
}

fn text(field: u64, content: &str) -> Vec<u8> {
    bytes(field, content.as_bytes())
}

/// Of float32 values, given raw.
fn initialiser(name: &str, shape: &[u64], raw: usize) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|side| varint(1, *side)).collect();
    [shape, varint(2, 1), text(8, name), bytes(9, &vec![0; raw])].concat()
}

fn port(name: &str, sides: &[Vec<u8>]) -> Vec<u8> {
    let sides: Vec<u8> = sides.iter().flat_map(|side| bytes(1, side)).collect();
    let tensor = [varint(1, 1), bytes(2, &sides)].concat();
    [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
}

fn node(kind: &str) -> Vec<u8> {
    [text(1, "x"), text(2, "y"), text(4, kind)].concat()
}

/// y = relu(x · w), with what is given instead of w.
fn graph(tensor: &[u8]) -> Vec<u8> {
    [
        bytes(1, &node("MatMul")),
        bytes(1, &node("Relu")),
        text(2, "g"),
        bytes(5, tensor),
        bytes(11, &port("x", &[text(2, "batch"), varint(1, 4)])),
        bytes(11, &port("w", &[varint(1, 4), varint(1, 3)])),
        bytes(12, &port("y", &[vec![], varint(1, 3)])),
    ]
    .concat()
}

fn model_of(graph: &[u8]) -> Vec<u8> {
    [varint(1, 8), bytes(7, graph), bytes(8, &varint(2, 17)), text(2, "a test")].concat()
}

fn model(tensor: &[u8]) -> Vec<u8> {
    model_of(&graph(tensor))
}

#[test]
fn an_onnx_file_is_listed() {
    let folder = Folder::new();
    let content = model(&initialiser("w", &[4, 3], 48));
    let found = inspect(&folder.file("m.bin", &content)).unwrap();
    assert_eq!(found.bytes, content.len() as u64);
    assert_eq!(found.sha256.0[..], Sha256::digest(&content)[..]);
    assert_eq!(found.blake3.0, *blake3::hash(&content).as_bytes());
    let tensor = FileTensor { name: "w".into(), element: "float32".into(), shape: vec![4, 3] };
    assert_eq!(found.tensors, [tensor]);
    let FileForm::Onnx(onnx) = found.form else { panic!() };
    assert_eq!((onnx.ir_version, onnx.opsets), (8, vec![(String::new(), 17)]));
    assert_eq!(onnx.operators, [("MatMul".into(), 1), ("Relu".into(), 1)]);
    assert_eq!((onnx.initialisers, onnx.values), (1, 12));
    // The initialiser that stands among the inputs is none.
    assert_eq!(onnx.inputs.len(), 1);
    assert_eq!(
        (onnx.inputs[0].name.as_str(), &onnx.inputs[0].shape[..]),
        ("x", &["batch".to_string(), "4".into()][..])
    );
    assert_eq!(onnx.outputs[0].shape, ["?", "3"]);
}

#[test]
fn an_onnx_file_cut_anywhere_is_refused_and_a_flip_never_panics() {
    let folder = Folder::new();
    let whole = model(&initialiser("w", &[4, 3], 48));
    for cut in 0..whole.len() {
        // The producer's name at the end is nothing that is missed.
        if cut < whole.len() - text(2, "a test").len() {
            folder.refused("m.onnx", &whole[..cut]);
        }
        let mut flipped = whole.clone();
        flipped[cut] ^= 0xff;
        let _ = inspect(&folder.file("m.onnx", &flipped));
    }
}

#[test]
fn tensors_must_have_their_values_and_have_them_inside() {
    let folder = Folder::new();
    let refused = |tensor: &[u8]| folder.refused("m.onnx", &model(tensor));
    assert!(refused(&initialiser("w", &[4, 3], 44)).contains("\"w\" has not as many values"));
    assert!(refused(&initialiser("w", &[1 << 40, 1 << 40], 4)).contains("not as many"));
    assert!(refused(&initialiser("w", &[1; 9], 4)).contains("more than 8 dimensions"));
    let outside = [initialiser("w", &[4, 3], 0), varint(14, 1)].concat();
    assert!(refused(&outside).contains("in another file"));
    let outside = [initialiser("w", &[4, 3], 0), bytes(13, &text(1, "location"))].concat();
    assert!(refused(&outside).contains("save_as_external_data=False"));
    let unknown = [varint(1, 1), varint(2, 99), text(8, "w")].concat();
    assert!(refused(&unknown).contains("element type 99"));
    // Listed one by one, packed, or as half bytes: all of them are read.
    let listed = |kind, values: Vec<u8>| [varint(1, 3), varint(2, kind), values].concat();
    for good in [
        listed(1, bytes(4, &[0; 12])),
        listed(7, bytes(7, &[1, 2, 0x80, 1])),
        listed(6, [varint(5, 1), varint(5, 2), varint(5, 3)].concat()),
        listed(11, bytes(10, &[0; 24])),
        listed(8, [text(6, "a"), text(6, ""), text(6, "c")].concat()),
        listed(22, bytes(9, &[0; 2])),
        listed(10, bytes(9, &[0; 6])),
    ] {
        inspect(&folder.file("m.onnx", &model(&good))).unwrap();
    }
}

#[test]
fn what_stands_inside_of_operators_is_held_to_the_same() {
    let folder = Folder::new();
    let outside = [initialiser("hidden", &[1], 0), varint(14, 1)].concat();
    let hidden = [text(4, "Constant"), bytes(5, &bytes(5, &outside))].concat();
    let refused = folder.refused(
        "m.onnx",
        &model_of(&[graph(&initialiser("w", &[1], 4)), bytes(1, &hidden)].concat()),
    );
    assert!(refused.contains("\"hidden\""), "{refused}");
    let mut inner = graph(&initialiser("w", &[1], 4));
    for _ in 0..20 {
        let branch = [text(4, "If"), bytes(5, &bytes(6, &inner))].concat();
        inner = [bytes(1, &branch), bytes(12, &port("y", &[]))].concat();
    }
    assert!(folder.refused("m.onnx", &model_of(&inner)).contains("16 deep"));
}

#[test]
fn what_a_model_needs_is_missed() {
    let folder = Folder::new();
    let no_opset = [varint(1, 8), bytes(7, &graph(&initialiser("w", &[1], 4)))].concat();
    assert!(folder.refused("m.onnx", &no_opset).contains("operator set"));
    let no_output = model_of(&bytes(1, &node("Relu")));
    assert!(folder.refused("m.onnx", &no_output).contains("no output"));
    assert!(folder.refused("m.onnx", &[varint(1, 8), varint(1, 8)].concat()).contains("0 graphs"));
    assert!(folder.refused("m.onnx", b"").contains("not a whole ONNX file"));
}

#[test]
fn pickles_are_refused_by_content_whatever_their_name() {
    let folder = Folder::new();
    for pickle in [
        &b"\x80\x02}q\x00."[..],
        b"\x80\x05\x95\x0b\x00\x00",
        b"PK\x03\x04\x00\x00archive/data.pkl",
        b"(dp0\n.",
        b"cos\nsystem\n",
    ] {
        for name in ["m.safetensors", "m.onnx", "m.pt"] {
            let refused = folder.refused(name, pickle);
            assert!(refused.contains("pickle") && refused.contains("save_file"), "{refused}");
        }
    }
    assert!(folder.refused("m", b"\x89HDF\r\n\x1a\n").contains("HDF5"));
    assert!(folder.refused("m", b"GGUF\x03\0\0\0").contains("GGUF"));
}

#[test]
fn a_safetensors_file_is_listed_whatever_its_types() {
    let folder = Folder::new();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F16, vec![2, 3], &[0; 12]);
    let content = safetensors::serialize([("half", view.unwrap())], None).unwrap();
    let found = inspect(&folder.file("m.bin", &content)).unwrap();
    assert_eq!(found.form, FileForm::Safetensors { tensors: 1, values: 6 });
    let tensor = FileTensor { name: "half".into(), element: "f16".into(), shape: vec![2, 3] };
    assert_eq!(found.tensors, [tensor]);
    assert!(folder.refused("m.safetensors", &content[..6]).contains("whole safetensors file"));
    // Lengths of headers that begin as pickles and archives do.
    for length in [0x0280_u64, 0x6463, 0x6428] {
        let header = format!("{:width$}", "{}", width = length as usize);
        let bytes = [&length.to_le_bytes()[..], header.as_bytes()].concat();
        let found = inspect(&folder.file("m.bin", &bytes)).unwrap();
        assert_eq!(found.form, FileForm::Safetensors { tensors: 0, values: 0 });
    }
}
