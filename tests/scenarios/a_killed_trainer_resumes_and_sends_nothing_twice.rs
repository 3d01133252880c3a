//! `twinfold train` is killed (−9) again and again; started anew it goes on where it
//! was. Each round holds one update of each trainer.

use crate::lab::{Lab, members, members::TRAINERS, until};
use std::{collections::BTreeSet, path::PathBuf};
use twinfold_types::{
    ClusterId,
    round::{Outcome, RoundState},
    task::TaskStatus,
};

const ROUNDS: u64 = 6;

#[test]
fn a_killed_trainer_resumes_and_sends_nothing_twice() {
    let lab = Lab::start();
    let data = four_corners(&lab);
    let line = "--json --key olaf task create --name corners --architecture mlp:8 --features 2 --classes 2 \
                --participants-min 2 --participants-max 2 --rounds 6 --deadline 90s --compress topk:0.2";
    lab.twinfold(line, &[]).ok();
    let client = lab.client();
    let train = |trainer| lab.trainer(trainer, "corners", &data, &[]);
    let steady = train(TRAINERS[0]);
    let mut restarts = 0;
    // The second trainer dies as soon as each of its updates is ordered, and once
    // right after it began.
    for round in 0..ROUNDS {
        let mut fragile = train(TRAINERS[1]);
        if round == 2 {
            fragile.kill();
            fragile = train(TRAINERS[1]);
        }
        until("its update is ordered", || {
            let view = client.round("corners", ClusterId(0), round).ok()??;
            let mine = members::public(TRAINERS[1]);
            view.entries.iter().any(|entry| entry.trainer == mine).then_some(())
        });
        fragile.kill();
        restarts += 1;
    }
    assert_eq!(restarts, ROUNDS);
    until("the task is finished", || {
        let view = client.task("corners").ok()?;
        (view.status == TaskStatus::Finished).then_some(())
    });
    steady.succeeds();
    for round in 0..ROUNDS {
        let view = client.round("corners", ClusterId(0), round).unwrap().expect("the round");
        let who: BTreeSet<_> = view.entries.iter().map(|entry| entry.trainer).collect();
        assert_eq!((who.len(), view.entries.len()), (2, 2), "round {round}");
        let RoundState::Aggregated { outcomes, .. } = view.round.state else {
            panic!("round {round} is {:?}", view.round.state);
        };
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Folded { .. })));
    }
    // Run once more, it finds that its work is done and settles what it had sent.
    train(TRAINERS[1]).succeeds();
}

/// Two classes by the sign of the product.
fn four_corners(lab: &Lab) -> PathBuf {
    let file = lab.folder().join("corners.csv");
    let rows = (0..80).map(|number| {
        let (x, y) = (number % 9 - 4, number * 7 % 11 - 5);
        format!("{x},{y},{}\n", i32::from(x * y > 0))
    });
    std::fs::write(&file, rows.collect::<String>()).unwrap();
    file
}
