//! Control variates: trainers whose data differ come to where one with all data comes.

use crate::{
    data::Dataset,
    train::{Network, local_update, softmax_tensors, with_controls},
};
use ndarray::Array2;
use twinfold_types::task::{LocalWork, Real, Schedule, Training};

const ROUNDS: u64 = 200;

fn training() -> Training {
    Training {
        work: LocalWork::Steps(20),
        batch: 1_000,
        learning_rate: Real::new(0.4),
        schedule: Schedule::Constant,
        proximal: Real::new(0.0),
        seed: 1,
        code: None,
    }
}

/// Two trainers: one sees mostly one class, on one side; the other the other.
fn trainers() -> [Dataset; 2] {
    [0u32, 1].map(|mostly| {
        let rows = 40;
        let label = |row: usize| if row.is_multiple_of(8) { 1 - mostly } else { mostly };
        let at = |row: usize, column: usize| {
            let side = if label(row) == 0 { -0.3 } else { 0.3 };
            let spread = (row * (7 + 6 * column) % 11) as f32 / 5.0 - 1.0;
            side + spread * if mostly == 0 { 1.0 } else { 0.4 }
        };
        let x = Array2::from_shape_fn((rows, 2), |(row, column)| at(row, column));
        Dataset { x, y: (0..rows).map(label).collect(), classes: 2 }
    })
}

fn all(trainers: &[Dataset; 2]) -> Dataset {
    let [a, b] = trainers;
    let x = ndarray::concatenate![ndarray::Axis(0), a.x, b.x];
    Dataset { x, y: [a.y.clone(), b.y.clone()].concat(), classes: 2 }
}

/// How steep the loss over all data still is after the rounds.
fn slope(controlled: bool) -> f32 {
    let plain = softmax_tensors(2, 2, 20);
    let tensors = if controlled { with_controls(&plain) } else { plain.clone() };
    let network = Network::infer(&tensors).unwrap();
    let trainers = trainers();
    let mut model = vec![0.0; if controlled { 12 } else { 6 }];
    let mut own = [vec![], vec![]];
    for round in 0..ROUNDS {
        let updates: Vec<_> = trainers
            .iter()
            .zip(&own)
            .map(|(data, own)| {
                local_update(&network, &model, data, &training(), round, 1, own).unwrap()
            })
            .collect();
        for (at, value) in model.iter_mut().enumerate() {
            *value += (updates[0].delta[at] + updates[1].delta[at]) / 2.0;
        }
        own = [updates[0].control.clone(), updates[1].control.clone()];
    }
    let network = Network::infer(&plain).unwrap();
    let all = all(&trainers);
    let mut gradient = vec![0.0; 6];
    network.gradient(&model[..6], &all.x, &all.y, &mut gradient);
    gradient.iter().map(|slope| slope * slope).sum::<f32>().sqrt()
}

#[test]
fn with_control_variates_trainers_do_not_drift_away_from_the_best_model_for_all() {
    let (plain, controlled) = (slope(false), slope(true));
    assert!(plain > 1e-2, "averaging alone stops short: {plain}");
    assert!(controlled < plain / 20.0, "{controlled} against {plain}");
}

#[test]
fn what_is_sent_of_a_control_variate_is_how_it_changes() {
    let tensors = with_controls(&softmax_tensors(2, 2, 20));
    let network = Network::infer(&tensors).unwrap();
    let data = &trainers()[0];
    let model: Vec<f32> = (0..12).map(|at| at as f32 / 100.0).collect();
    let own = [0.25, -0.25, 0.5, 0.0, 0.0, 1.0];
    let update = local_update(&network, &model, data, &training(), 0, 1, &own).unwrap();
    for at in 0..6 {
        let (next, sent) = (update.control[at], update.delta[6 + at]);
        assert!((own[at] + sent - next).abs() < 1e-6, "value {at}");
        // c_i − c + (x − y) / steps, the rate being the first.
        let expected = own[at] - model[6 + at] - update.delta[at] / 20.0;
        assert!((next - expected).abs() < 1e-5, "value {at}");
    }
    let short = local_update(&network, &model, data, &training(), 0, 1, &own[..5]);
    assert!(short.is_err(), "a variate of another model");
}

#[test]
fn tensors_named_like_control_variates_are_not_taken_for_some_by_accident() {
    let mut tensors = with_controls(&softmax_tensors(2, 2, 20));
    assert_eq!(Network::infer(&tensors).unwrap().controlled_values(), Some(6));
    tensors.swap(2, 3);
    assert!(Network::infer(&tensors).is_err());
    assert_eq!(Network::infer(&softmax_tensors(2, 2, 20)).unwrap().controlled_values(), None);
}
