use crate::{
    data::Dataset,
    train::{Network, TrainError, initial_values, local_update, mlp_tensors, softmax_tensors},
};
use ndarray::Array2;
use twinfold_types::{
    model::{TensorPolicy, TensorSpec},
    task::{LocalWork, Real, Schedule, Training},
};

fn training(rate: f64, work: LocalWork) -> Training {
    Training {
        work,
        batch: 8,
        learning_rate: Real::new(rate),
        schedule: Schedule::Constant,
        proximal: Real::new(0.0),
        seed: 1,
        code: None,
    }
}

/// Points on a grid, the class by quadrant: not linearly separable.
fn quadrants() -> Dataset {
    let at = |row: usize, column: usize| (row / 8_usize.pow(column as u32) % 8) as f32 / 4.0 - 0.9;
    let x = Array2::from_shape_fn((64, 2), |(row, column)| at(row, column));
    let y = x.rows().into_iter().map(|p| u32::from(p[0] * p[1] > 0.0)).collect();
    Dataset { x, y, classes: 2 }
}

fn loss(network: &Network, model: &[f32], data: &Dataset) -> f64 {
    network.evaluate(model, data).unwrap().loss
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let data = quadrants();
    for tensors in [softmax_tensors(2, 2, 20), mlp_tensors(2, 5, 2, 20)] {
        let network = Network::infer(&tensors).unwrap();
        let mut model = initial_values(&tensors, 3).unwrap();
        model.iter_mut().enumerate().for_each(|(i, value)| *value += (i % 3) as f32 * 0.1);
        let mut gradient = vec![0.0; model.len()];
        network.gradient(&model, &data.x, &data.y, &mut gradient);
        for at in 0..model.len() {
            let moved = |by: f32| {
                let mut model = model.clone();
                model[at] += by;
                loss(&network, &model, &data)
            };
            let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            assert!((slope - f64::from(gradient[at])).abs() < 3e-3, "value {at}");
        }
    }
}

#[test]
fn a_hidden_layer_learns_what_softmax_regression_cannot() {
    let (data, training) = (quadrants(), training(0.3, LocalWork::Epochs(200)));
    let accuracy = |tensors: &[TensorSpec]| {
        let network = Network::infer(tensors).unwrap();
        let mut model = initial_values(tensors, 1).unwrap();
        let update = local_update(&network, &model, &data, &training, 0, 1, &[]).unwrap();
        model.iter_mut().zip(&update.delta).for_each(|(value, change)| *value += change);
        network.evaluate(&model, &data).unwrap().accuracy
    };
    assert!(accuracy(&softmax_tensors(2, 2, 20)) < 0.8);
    assert!(accuracy(&mlp_tensors(2, 16, 2, 20)) > 0.97);
}

#[test]
fn training_is_seeded_and_reports_the_base_model() {
    let (data, training) = (quadrants(), training(0.1, LocalWork::Steps(10)));
    let tensors = softmax_tensors(2, 2, 20);
    let network = Network::infer(&tensors).unwrap();
    let run = |seed| local_update(&network, &[0.0; 6], &data, &training, 0, seed, &[]).unwrap();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).delta, run(2).delta);
    assert!((run(1).metrics.loss() - 2f64.ln()).abs() < 1e-4);
}

#[test]
fn the_proximal_term_and_the_schedule_shorten_the_way() {
    let (data, tensors) = (quadrants(), mlp_tensors(2, 4, 2, 20));
    let network = Network::infer(&tensors).unwrap();
    let model = initial_values(&tensors, 1).unwrap();
    let way = |training: &Training, round| -> f32 {
        let update = local_update(&network, &model, &data, training, round, 1, &[]).unwrap();
        update.delta.iter().map(|change| change * change).sum()
    };
    let plain = training(0.1, LocalWork::Epochs(20));
    let mut proximal = plain.clone();
    proximal.proximal = Real::new(1.0);
    let mut falling = plain.clone();
    falling.schedule = Schedule::Step { rounds: 2, factor: Real::new(0.5) };
    assert!(way(&proximal, 0) < way(&plain, 0));
    assert_eq!(way(&falling, 1), way(&plain, 1));
    assert!(way(&falling, 2) < way(&plain, 2));
}

#[test]
fn a_frozen_tensor_does_not_move() {
    let mut tensors = mlp_tensors(2, 4, 2, 20);
    tensors[0].policy = TensorPolicy::Frozen;
    let network = Network::infer(&tensors).unwrap();
    let model = initial_values(&tensors, 1).unwrap();
    let training = training(0.1, LocalWork::Epochs(1));
    let update = local_update(&network, &model, &quadrants(), &training, 0, 1, &[]).unwrap();
    assert!(update.delta[..8].iter().all(|change| *change == 0.0));
    assert!(update.delta[8..].iter().any(|change| *change != 0.0));
}

#[test]
fn what_does_not_fit_is_refused_with_both_sides() {
    let error = |tensors: &[TensorSpec]| Network::infer(tensors).unwrap_err().to_string();
    let mut named = softmax_tensors(2, 2, 20);
    named[0].name = "kernel".into();
    assert!(error(&named).contains("bias, kernel"));
    let mut shaped = mlp_tensors(2, 4, 2, 20);
    shaped[2].shape = vec![5, 2];
    assert!(error(&shaped).contains("[4, classes]"));

    let network = Network::infer(&softmax_tensors(3, 2, 20)).unwrap();
    let wide = network.evaluate(&[0.0; 8], &quadrants()).unwrap_err();
    assert!(matches!(wide, TrainError::Features { expected: 3, got: 2 }));
    let network = Network::infer(&softmax_tensors(2, 1, 20)).unwrap();
    let label = network.evaluate(&[0.0; 3], &quadrants()).unwrap_err();
    assert!(matches!(label, TrainError::Label { got: 1, largest: 0 }));
}

#[test]
fn a_learning_rate_that_diverges_is_named() {
    let tensors = mlp_tensors(2, 8, 2, 20);
    let network = Network::infer(&tensors).unwrap();
    let model = initial_values(&tensors, 1).unwrap();
    let training = training(1e30, LocalWork::Epochs(5));
    let error = local_update(&network, &model, &quadrants(), &training, 0, 1, &[]).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
}
