use super::*;
use safetensors::tensor::TensorView;
use twinfold_types::{
    AvailabilityCertificate, BlobId, Digest, Epoch,
    model::{TensorPolicy, TensorSpec},
    task::{
        AggregationRule, Compression, LocalWork, Mode, Real, Schedule, Screen, ServerOptimiser,
        TaskSpec, Training,
    },
};

fn spec() -> TaskSpec {
    let tensor = |name: &str, shape: &[u64], policy| TensorSpec {
        name: name.into(),
        shape: shape.to_vec(),
        scale: 20,
        policy,
    };
    TaskSpec {
        name: "t".into(),
        description: String::new(),
        tensors: vec![
            tensor("w", &[2, 2], TensorPolicy::Train),
            tensor("a", &[1], TensorPolicy::Frozen),
        ],
        initial_model: Digest::ZERO,
        initial: AvailabilityCertificate {
            epoch: Epoch(0),
            blob: BlobId::whole_copies(b"", 4),
            receipts: vec![],
        },
        start: None,
        clusters: 1,
        participants_min: 1,
        participants_max: 2,
        weight_max: 100,
        merge_weight_max: 1000,
        norm_bound: 8 << 20,
        clip: 1 << 20,
        screen: Screen::default(),
        rule: AggregationRule::Mean,
        server: ServerOptimiser::None,
        mode: Mode::Sync,
        compression: Compression::dense(8),
        merge_rule: AggregationRule::Mean,
        regions: None,
        merge_every: 1,
        rounds_max: 1,
        assigned: false,
        selection: None,
        late: vec![],
        switch: None,
        forming: None,
        down: None,
        masks: None,
        evaluation: None,
        contributions: false,
        deadline_ms: 1000,
        extensions_max: 1,
        retention_ms: 1000,
        training: Training {
            work: LocalWork::Epochs(1),
            batch: 1,
            learning_rate: Real::new(0.1),
            schedule: Schedule::Constant,
            proximal: Real::new(0.0),
            seed: 0,
            code: None,
        },
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("f.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    }
    fn delta(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        read_delta(&self.file(bytes), &spec()).map_err(|error| error.to_string())
    }
}

fn f32_file(name: &str, shape: &[usize], values: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &data).unwrap();
    safetensors::serialize([(name, view)], None).unwrap()
}

#[test]
fn an_export_comes_back_bit_for_bit_in_the_same_order() {
    let (folder, spec) = (Folder::new(), spec());
    let steps = [(1 << 30) + 1, -7, 0, i32::MIN, 5];
    let path =
        folder.file(&export(&spec.tensors, &steps, vec![("twinfold.model", "m".into())]).unwrap());
    let settings = ImportSettings {
        policies: [("a".to_string(), TensorPolicy::Frozen)].into(),
        ..ImportSettings::default()
    };
    let model = import(&path, &settings).unwrap();
    assert_eq!(model, ImportedModel { tensors: spec.tensors, steps: steps.to_vec() });
}

#[test]
fn another_scale_than_the_twins_is_taken_from_the_real_values() {
    let folder = Folder::new();
    let path = folder.file(&export(&spec().tensors, &[1 << 20, 0, 0, 0, 0], vec![]).unwrap());
    let scales = [("w".to_string(), 10)].into();
    let model = import(&path, &ImportSettings { scales, ..ImportSettings::default() }).unwrap();
    assert_eq!(model.steps[0], 1 << 10);
}

#[test]
fn a_good_delta_is_read_in_the_tasks_order() {
    let delta = Folder::new().delta(&f32_file("w", &[2, 2], &[0.5, 0.0, -0.25, 1.0]));
    assert_eq!(delta.unwrap(), [0.5, 0.0, -0.25, 1.0, 0.0]);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let (folder, good) = (Folder::new(), f32_file("w", &[2, 2], &[0.5; 4]));
    for length in 0..good.len() {
        let error = folder.delta(&good[..length]).unwrap_err();
        assert!(error.contains("not a whole safetensors file"), "{length}: {error}");
    }
}

#[test]
fn a_flipped_header_byte_never_changes_what_is_read() {
    let (folder, good) = (Folder::new(), f32_file("w", &[2, 2], &[0.5; 4]));
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for at in 0..header {
        let mut bad = good.clone();
        bad[at] ^= 1;
        if let Ok(delta) = folder.delta(&bad) {
            assert_eq!(delta, [0.5, 0.5, 0.5, 0.5, 0.0], "byte {at}");
        }
    }
}

#[test]
fn an_oversized_header_is_refused_before_it_is_parsed() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend([b'{'; 100]);
    let error = Folder::new().delta(&bytes).unwrap_err();
    assert!(error.contains("a header of 18446744073709551615 bytes"), "{error}");
}

#[test]
fn values_that_are_no_steps_are_named_with_their_place() {
    let folder = Folder::new();
    for (value, reason) in [(f32::NAN, "finite"), (f32::INFINITY, "finite"), (4096.0, "outside")] {
        let error = folder.delta(&f32_file("w", &[2, 2], &[0.0, 0.0, value, 0.0])).unwrap_err();
        assert!(error.contains("\"w\", value 2") && error.contains(reason), "{error}");
    }
}

#[test]
fn wrong_names_shapes_and_types_are_refused_with_what_was_expected() {
    let folder = Folder::new();
    let error = folder.delta(&f32_file("v", &[2, 2], &[0.0; 4])).unwrap_err();
    assert!(error.contains("\"v\" is unknown; expected [\"w\"]"), "{error}");
    let error = folder.delta(&f32_file("a", &[1], &[0.0])).unwrap_err();
    assert!(error.contains("\"w\" is missing"), "{error}");
    let error = folder.delta(&f32_file("w", &[4], &[0.0; 4])).unwrap_err();
    assert!(error.contains("shape [4]; expected [2, 2]"), "{error}");
    let data = [0u8; 16];
    let view = TensorView::new(Dtype::I32, vec![2, 2], &data).unwrap();
    let error = folder.delta(&safetensors::serialize([("w", view)], None).unwrap()).unwrap_err();
    assert!(error.contains("type I32; expected F32 or F64"), "{error}");
}

#[test]
fn a_delta_over_the_norm_bound_or_of_a_frozen_tensor_is_refused() {
    let folder = Folder::new();
    let error = folder.delta(&f32_file("w", &[2, 2], &[8.0, 8.0, 0.0, 0.0])).unwrap_err();
    assert!(error.contains("at most 8"), "{error}");
    let (w, a) = ([0u8; 16], 1f32.to_le_bytes());
    let views = [
        ("w", TensorView::new(Dtype::F32, vec![2, 2], &w).unwrap()),
        ("a", TensorView::new(Dtype::F32, vec![1], &a).unwrap()),
    ];
    let error = folder.delta(&safetensors::serialize(views, None).unwrap()).unwrap_err();
    assert!(error.contains("\"a\" is not trained"), "{error}");
}
