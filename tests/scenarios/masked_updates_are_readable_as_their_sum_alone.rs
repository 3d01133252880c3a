//! Eight trainers send masked updates. A ninth falls silent, then deals a false share; each time the others
//! go on, and anyone gets the same models from the ledger alone.

use crate::lab::{
    Lab,
    files::{f32s, safetensors},
    learn::options,
    members::{CLINIC, public, secret},
    trainer::Trainer,
    until,
};
use std::path::PathBuf;
use twinfold_cli::{
    keystore::{Keystore, PassphraseSource},
    task::{TaskOptions, fetch_steps},
};
use twinfold_fl::mask::RoundSecret;
use twinfold_types::{
    Action, ClusterId, RoundNumber,
    round::{RoundKey, RoundState, VoidReason},
    task::{
        TaskStatus,
        masks::{MaskAction, MaskKeys, MaskStage, MaskStep, Masking},
    },
};

const STEADY: usize = 8;
const NINTH: &str = "tess";

#[test]
fn masked_updates_are_readable_as_their_sum_alone() {
    let mut lab = Lab::start();
    let (data, names) = (corners(&lab), trainers(&lab));
    let create = "--key olaf task create --name masked --architecture mlp:8 --features 2 --classes 2 --rounds 3 \
                  --deadline 4s --mask --participants-max 9";
    lab.twinfold(&format!("{create} --participants-min 2"), &[])
        .refused(2, &["8 to 128 participants"]);
    let create = format!("{create} --participants-min 8");
    lab.twinfold(&format!("{create} --rule median"), &[])
        .refused(2, &["masked updates are not seen"]);
    lab.twinfold(&format!("{create} --compress topk:0.1"), &[]).refused(2, &["same places"]);
    lab.twinfold(&format!("{create} --compress q16"), &[]).ok();
    lab.twinfold("task masking masked", &[]).refused(1, &["nobody has joined"]);

    let parts: Vec<_> = (0..STEADY).map(|part| format!("{part}/{STEADY}")).collect();
    let steady = names.iter().zip(&parts);
    let train = |(who, part): (&String, &String)| {
        lab.trainer(who, "masked", &data, &["--masked", "--partition", part])
    };
    let mut steady: Vec<_> = steady.map(train).collect();
    falls_silent(&lab);
    // One is killed as it has joined the next round, and goes on where it was.
    until("all have joined", || {
        (lab.client().masking(&key(&lab, 1)).ok()??.members.len() == STEADY).then_some(())
    });
    steady[0].kill();
    steady[0] = train((&names[0], &parts[0]));
    deals_a_false_share(&lab);
    is_barred(&lab);
    steady.into_iter().for_each(Trainer::succeeds);

    let client = lab.client();
    let task = client.task("masked").expect("the task");
    assert_eq!(task.status, TaskStatus::Finished);
    let masked = |number| client.masking(&key(&lab, number)).unwrap().expect("the round");
    let first = masked(0);
    assert_eq!((first.members.len(), first.secrets.len()), (9, 9));
    assert!(!first.members[of(&first, NINTH)].sent);
    assert_eq!(masked(2).members.len(), STEADY);
    let shown = lab.twinfold("task masking masked --round 0", &[]).ok().out;
    assert!(shown.contains("9 members, shares of 7 unmask the sum"), "{shown}");
    let said = lab.twinfold("model verify {} --recompute", &[&task.global]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
    lab.same_root();
}

/// With declared noise each trainer has a budget, and goes when it is spent.
#[test]
fn trainers_go_when_their_budget_is_spent() {
    let mut lab = Lab::start();
    let (data, names) = (corners(&lab), trainers(&lab));
    let create = "--key olaf task create --name private --architecture softmax --features 2 --classes 2 --deadline 10s \
                  --mask --participants-min 8 --participants-max 8 --compress q16 --clip 1";
    lab.twinfold(&format!("{create} --noise 1"), &[]).refused(2, &["--epsilon"]);
    lab.twinfold(&format!("{create} --noise 1 --epsilon 2"), &[])
        .refused(2, &["one round costs ε = 5.299 and the budget is 2.000"]);
    // ρ of 2 rounds is 1/64 · 2: ε = 1.23; of three 1.51.
    lab.twinfold(&format!("{create} --noise 5.6568 --epsilon 1.4"), &[]).ok();
    let parts: Vec<_> = (0..STEADY).map(|part| format!("{part}/{STEADY}")).collect();
    let all = names.iter().zip(&parts);
    let all = all.map(|(who, part)| lab.trainer(who, "private", &data, &["--partition", part]));
    all.collect::<Vec<_>>().into_iter().for_each(Trainer::succeeds);
    let client = lab.client();
    let task = client.task("private").expect("the task");
    assert_eq!((task.status, task.global_version), (TaskStatus::Open, 2));
    let spent = client.privacy("private").expect("what is spent");
    assert_eq!(spent.len(), STEADY);
    assert!(spent.iter().all(|row| row.spent == 2 * task.spec.round_cost()));
    let shown = lab.twinfold("task privacy private", &[]).ok().out;
    assert!(shown.contains("a trainer may spend 1.400 (2 rounds)"), "{shown}");
    let digest = client.model(&task.global).expect("its record").record.digest;
    let steps = fetch_steps(&client, &task.spec, &task.global, &digest).expect("steps");
    assert!(steps.iter().all(|step| *step != 0), "noise is everywhere: {steps:?}");
    let said = lab.twinfold("model verify {} --recompute", &[&task.global]).ok().out;
    assert!(said.contains("recomputed"), "{said}");
    lab.same_root();
}

/// Deltas of any other tool go the same way: eight at once, and the model moves by their mean.
#[test]
fn deltas_from_files_are_masked_too() {
    let lab = Lab::start();
    let names = trainers(&lab);
    let course = lab.course(&TaskOptions {
        mask_range: Some(4.0),
        compress: "q16".parse().expect("a compression"),
        extensions: 0,
        rounds: 1,
        ..options("files", STEADY as u32)
    });
    let delta = |number: usize| {
        let change = number as f32 / 8.0;
        let tensors = [
            ("weight", "F32", [4, 3].as_slice(), f32s(&[change; 12])),
            ("bias", "F32", [3].as_slice(), f32s(&[-change; 3])),
        ];
        let file = lab.folder().join(format!("delta-{number}.safetensors"));
        std::fs::write(&file, safetensors(&tensors)).unwrap();
        file
    };
    let course_open = lab.course(&options("open", 1));
    let open =
        "update submit --task open --cluster 0 --base 0 --examples 10 --delta {} --key {} --masked";
    lab.twinfold(open, &[&delta(0).display(), &names[0]]).refused(1, &["does not mask updates"]);
    assert_eq!(course_open.cluster(0).entries, 0);
    let line = "update submit --task files --cluster 0 --base 0 --examples 10 --delta {} --key {}";
    let other = line.replace("--base 0", "--base 7");
    lab.twinfold(&other, &[&delta(0).display(), &names[0]]).refused(2, &["against version 0"]);
    std::thread::scope(|scope| {
        for (number, name) in names.iter().enumerate() {
            let (file, lab) = (delta(number), &lab);
            scope.spawn(move || lab.twinfold(line, &[&file.display(), name]).ok());
        }
    });
    let view = course.ended(0, 0);
    let RoundState::Aggregated { model, .. } = view.round.state else { panic!("{view:?}") };
    let client = lab.client();
    let digest = client.model(&model).expect("its record").record.digest;
    let steps = fetch_steps(&client, &course.created.spec, &model, &digest).expect("steps");
    // (0 + 1 + … + 7) / 8 eighths.
    let mean = (3.5 / 8.0 * f64::from(1 << 20)) as i32;
    assert_eq!(steps, [[mean; 12].as_slice(), &[-mean; 3]].concat());
}

/// It joins and shares its secrets; its update never comes, and the others unmask without it.
fn falls_silent(lab: &Lab) {
    let (key, secret) = (key(lab, 0), RoundSecret::new([1; 32], key(lab, 0)));
    say(lab, key, MaskStep::Keys(secret.keys()));
    let masking = reached(lab, &key, MaskStage::Dealing);
    let deal = secret.deal(&keys(&masking), of(&masking, NINTH)).expect("points");
    say(lab, key, MaskStep::Deal(Box::new(deal)));
    reached(lab, &key, MaskStage::Unmasked);
    until("the others' updates are folded", || {
        let view = lab.client().round("masked", ClusterId(0), 0).ok()??;
        assert_eq!(view.entries.len(), STEADY);
        matches!(view.round.state, RoundState::Aggregated { .. }).then_some(())
    });
}

/// Whoever is dealt it shows it: the round is void.
fn deals_a_false_share(lab: &Lab) {
    let (key, secret) = (key(lab, 1), RoundSecret::new([2; 32], key(lab, 1)));
    until("the next round is open", || {
        let task = lab.client().task("masked").ok()?;
        (task.clusters[0].round == RoundNumber(1) && task.clusters[0].collecting).then_some(())
    });
    say(lab, key, MaskStep::Keys(secret.keys()));
    let masking = reached(lab, &key, MaskStage::Dealing);
    let me = of(&masking, NINTH);
    let mut deal = secret.deal(&keys(&masking), me).expect("points");
    deal.sealed[(me + 1) % 9].0[5] ^= 1;
    say(lab, key, MaskStep::Deal(Box::new(deal)));
    until("it is shown", || {
        let view = lab.client().round("masked", ClusterId(0), 1).ok()??;
        let RoundState::Void { reason, .. } = view.round.state else { return None };
        assert_eq!(reason, VoidReason::FalseShare);
        Some(())
    });
    let said = lab.twinfold("events", &[]).ok().out;
    assert!(said.contains("a false share in round 1"), "{said}");
}

fn is_barred(lab: &Lab) {
    let key = key(lab, 2);
    until("the last round is open", || {
        let task = lab.client().task("masked").ok()?;
        (task.clusters[0].round == RoundNumber(2) && task.clusters[0].collecting).then_some(())
    });
    let step = MaskStep::Keys(RoundSecret::new([3; 32], key).keys());
    let action = MaskAction { round: key, step };
    let refused = lab.client().sign(&secret(NINTH), Action::Mask(Box::new(action)));
    let refused = lab.client().send_tx(
        &refused.expect("signed"),
        twinfold_types::api::Level::Executed,
        std::time::Duration::from_secs(20),
    );
    let said = refused.expect_err("it is barred").to_string();
    assert!(said.contains("code 175"), "{said}");
}

fn key(lab: &Lab, number: u64) -> RoundKey {
    let task = lab.client().task("masked").expect("the task").id;
    RoundKey { task, cluster: ClusterId(0), round: RoundNumber(number) }
}

fn say(lab: &Lab, round: RoundKey, step: MaskStep) {
    lab.done(NINTH, Action::Mask(Box::new(MaskAction { round, step })));
}

fn reached(lab: &Lab, key: &RoundKey, stage: MaskStage) -> Masking {
    until("the masked round goes on", || {
        let masking = lab.client().masking(key).ok()??;
        (masking.stage >= stage).then_some(masking)
    })
}

fn keys(masking: &Masking) -> Vec<MaskKeys> {
    masking.members.iter().map(|member| member.keys).collect()
}

fn of(masking: &Masking, name: &str) -> usize {
    masking.index_of(&public(name)).expect("a member")
}

/// Eight more trainers of the clinic, with their keys.
fn trainers(lab: &Lab) -> Vec<String> {
    let keystore = Keystore::in_dir(&lab.people(), PassphraseSource::default());
    let names: Vec<_> = (0..STEADY).map(|number| format!("trainer-{number}")).collect();
    for name in &names {
        keystore.store(name, &secret(name), true).expect("a key is stored");
        let line = "--key olaf member add --name {} --organisation {} --member-key {}";
        lab.twinfold(line, &[name, &CLINIC, &public(name)]).ok();
    }
    names
}

fn corners(lab: &Lab) -> PathBuf {
    let file = lab.folder().join("corners.csv");
    let rows = (0..160).map(|number: i64| {
        let (x, y) = (number * 37 % 19 - 9, number * 7 % 11 - 5);
        format!("{x},{y},{}\n", i64::from(x + y > 0))
    });
    std::fs::write(&file, rows.collect::<String>()).unwrap();
    file
}
