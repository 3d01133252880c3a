//! Three trainers enrol and two are chosen for each round, by lot; each finds out why, and the draw can be
//! made again. One that stops is not waited for for ever.

use crate::lab::{Lab, members, members::TRAINERS, trainer::Trainer};
use std::{collections::BTreeSet, path::PathBuf};
use twinfold_types::{ClusterId, RoundNumber, round::RoundState, task::TaskStatus};

#[test]
fn a_task_chooses_its_trainers() {
    let mut lab = Lab::start();
    let data = corners(&lab);
    let create = "--key olaf task create --architecture softmax --features 2 --classes 2 --deadline 2s \
                  --extensions 0 --participants-min 2 --participants-max 2";
    lab.twinfold(&format!("{create} --name refused --select best:2"), &[])
        .refused(2, &["random:K, availability:K"]);
    lab.twinfold(&format!("{create} --name refused --select random:1"), &[])
        .refused(2, &["1 trainers chosen; a round needs 2"]);
    lab.twinfold(&format!("{create} --name corners --select random:2 --rounds 6"), &[]).ok();

    let parts = ["0/3", "1/3", "2/3"];
    let trainers = TRAINERS.iter().zip(parts);
    let trainers =
        trainers.map(|(who, part)| lab.trainer(who, "corners", &data, &["--partition", part]));
    trainers.collect::<Vec<_>>().into_iter().for_each(Trainer::succeeds);
    let client = lab.client();
    let task = client.task("corners").expect("the task");
    assert_eq!(task.status, TaskStatus::Finished);
    let mut sent = BTreeSet::new();
    for number in 0..6 {
        let drawing = client.drawing("corners", ClusterId(0), RoundNumber(number));
        let drawing = drawing.expect("its drawing");
        let view = client.round("corners", ClusterId(0), number).unwrap().expect("the round");
        let chosen: BTreeSet<_> = drawing.chosen().map(|candidate| candidate.trainer).collect();
        let who: BTreeSet<_> = view.entries.iter().map(|entry| entry.trainer).collect();
        assert!(chosen.len() == 2 && who.is_subset(&chosen), "{chosen:?} {who:?}");
        if matches!(view.round.state, RoundState::Aggregated { .. }) {
            assert_eq!(who, chosen);
        }
        sent.extend(who);
    }
    assert!(sent.len() >= 2, "{sent:?}");
    let shown = lab.twinfold("task drawing corners --round 5", &[]).ok().out;
    assert!(shown.contains("random:2; enrolment closed with block"), "{shown}");
    assert!(shown.contains("chosen by lot"), "{shown}");
    lab.twinfold("task drawing corners --round 5 --trainer tove", &[])
        .refused(1, &["tove was not enrolled"]);
    let tess = members::public(TRAINERS[0]);
    lab.twinfold("--json task drawing corners --round 5 --trainer {}", &[&tess]).ok();
    lab.same_root();
}

#[test]
fn a_trainer_that_stops_is_waited_for_three_times() {
    let lab = Lab::start();
    let data = corners(&lab);
    let create = "--key olaf task create --name corners --architecture softmax --features 2 --classes 2 \
                  --deadline 1s --participants-min 1 --participants-max 2 --select availability:2";
    lab.twinfold(create, &[]).ok();
    lab.twinfold("--key tina task enrol corners", &[]).ok();
    let line = "--key tess train --task corners --rounds 5 --data {}";
    lab.twinfold(line, &[&data.display()]).ok();
    lab.twinfold("--key tess task leave corners", &[])
        .refused(3, &["the sender is not enrolled in the task"]);
    // Nobody came for tina's rounds: she is out.
    let said = lab.twinfold("events", &[]).ok().out;
    assert!(said.contains("3 rounds waited for it in vain"), "{said}");
    lab.twinfold("--key tina task leave corners", &[])
        .refused(3, &["the sender is not enrolled in the task"]);
}

fn corners(lab: &Lab) -> PathBuf {
    let file = lab.folder().join("corners.csv");
    let rows = (0..90).map(|number: i64| {
        let (x, y) = (number * 37 % 19 - 9, number * 7 % 11 - 5);
        format!("{x},{y},{}\n", i64::from(x + y > 0))
    });
    std::fs::write(&file, rows.collect::<String>()).unwrap();
    file
}
