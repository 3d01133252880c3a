//! What a person may hand to `twinfold` wrongly: model files, deltas, data, keys. Each
//! is refused with the cause before anything is sent, or by the chain with its code.

use crate::lab::{
    Lab,
    cli::{Said, run},
    files::{Tensor, f32s, safetensors},
    learn::options,
    members::TRAINERS,
    stage::play,
};
use std::{fs, path::PathBuf};

/// Exit codes of `twinfold`, as `--help` lists them.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;

const TASK: &str = "files";

#[test]
fn bad_files_are_refused_by_name() {
    let mut lab = Lab::start();
    let mut task = options(TASK, 2);
    (task.clip, task.norm_bound) = (1.0, Some(4.0));
    lab.course(&task);
    play(
        &mut lab,
        &[
            ("a safetensors file cut short", cut_short),
            ("flipped bytes in its header", flipped),
            ("lengths that lie", oversized),
            ("values that are no numbers, or too large", values),
            ("tensors of wrong shape, name or type", tensors),
            ("a delta over the norm bound", norm),
            ("a wrong base, task, cluster, round or weight", wrong_names),
            ("a task that cannot be", wrong_tasks),
            ("training data that cannot be read", wrong_data),
            ("keys that are not there or do not open", wrong_keys),
            ("a good delta is taken, once", good),
        ],
    );
}

fn path(lab: &Lab, name: &str) -> PathBuf {
    lab.folder().join(name)
}

fn delta(weight: &[f32], bias: &[f32]) -> Vec<u8> {
    safetensors(&[("weight", "F32", &[4, 3], f32s(weight)), ("bias", "F32", &[3], f32s(bias))])
}

fn small() -> Vec<u8> {
    delta(&[0.01; 12], &[0.02; 3])
}

/// Submits a delta file.
fn submit(lab: &Lab, bytes: &[u8]) -> Said {
    submit_with(lab, bytes, "--task files --base 0 --cluster 0 --examples 10")
}

fn submit_with(lab: &Lab, bytes: &[u8], named: &str) -> Said {
    let file = path(lab, "delta.safetensors");
    fs::write(&file, bytes).unwrap();
    let line = format!("update submit {named} --delta {{}} --key {{}}");
    lab.twinfold(&line, &[&file.display(), &TRAINERS[0]])
}

/// Publishes a model file.
fn publish(lab: &Lab, bytes: &[u8]) -> Said {
    let file = path(lab, "model.safetensors");
    fs::write(&file, bytes).unwrap();
    lab.twinfold("model publish {} --name outside --key olaf", &[&file.display()])
}

fn cut_short(lab: &mut Lab) {
    let whole = small();
    for cut in [0, 1, 7, 8, 20, whole.len() / 2, whole.len() - 1] {
        submit(lab, &whole[..cut])
            .refused(FAILED, &["delta.safetensors", "whole safetensors file"]);
        publish(lab, &whole[..cut])
            .refused(FAILED, &["model.safetensors", "whole safetensors file"]);
    }
    let longer = [whole, vec![0]].concat();
    submit(lab, &longer).refused(FAILED, &["whole safetensors file"]);
}

/// Some flips change a value only, and are then another delta. None may crash or hang.
fn flipped(lab: &mut Lab) {
    let whole = small();
    for at in (0..60).step_by(6) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        submit(lab, &bytes).refused(FAILED, &["error"]);
    }
}

fn oversized(lab: &mut Lab) {
    let mut header = small();
    header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    submit(lab, &header).refused(FAILED, &["a header of 18446744073709551615 bytes"]);
    // A sparse file of 8 GiB is refused by its length, unread.
    let file = path(lab, "huge.safetensors");
    fs::File::create(&file).unwrap().set_len(8 << 30).unwrap();
    lab.twinfold("model publish {} --name huge --key olaf", &[&file.display()])
        .refused(FAILED, &["huge.safetensors", "at most"]);
    fs::remove_file(file).unwrap();
    let shape = [1usize << 40, 1 << 40];
    publish(lab, &safetensors(&[("w", "F32", &shape, f32s(&[1.0]))]))
        .refused(FAILED, &["safetensors"]);
}

fn values(lab: &mut Lab) {
    for (value, word) in
        [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "inf"), (2048.0, "2048")]
    {
        let mut weight = [0.0; 12];
        weight[7] = value;
        submit(lab, &delta(&weight, &[0.0; 3])).refused(FAILED, &["\"weight\"", "value 7", word]);
        let model = safetensors(&[("w", "F32", &[12], f32s(&weight))]);
        publish(lab, &model).refused(FAILED, &["\"w\"", "value 7", word]);
    }
}

fn tensors(lab: &mut Lab) {
    let weight: Tensor = ("weight", "F32", &[4, 3], f32s(&[0.0; 12]));
    let bias: Tensor = ("bias", "F32", &[3], f32s(&[0.0; 3]));
    let file = |tensors: &[Tensor]| submit(lab, &safetensors(tensors));
    file(&[("weight", "F32", &[3, 4], f32s(&[0.0; 12])), bias.clone()])
        .refused(FAILED, &["\"weight\"", "[3, 4]", "expected [4, 3]"]);
    file(std::slice::from_ref(&weight)).refused(FAILED, &["\"bias\" is missing"]);
    file(&[weight.clone(), bias.clone(), ("extra", "F32", &[1], f32s(&[0.0]))])
        .refused(FAILED, &["\"extra\" is unknown"]);
    file(&[weight, ("bias", "I64", &[3], vec![0; 24])])
        .refused(FAILED, &["\"bias\"", "I64", "F32 or F64"]);
}

fn norm(lab: &mut Lab) {
    submit(lab, &delta(&[2.0; 12], &[0.0; 3])).refused(FAILED, &["norm is 6.9", "at most 4"]);
}

fn wrong_names(lab: &mut Lab) {
    let bytes = small();
    let with = |named: &str| submit_with(lab, &bytes, named);
    with("--task nothing --base 0 --cluster 0 --examples 10").refused(FAILED, &["nothing"]);
    with("--task files --base 7 --cluster 0 --examples 10").refused(USAGE, &["no version 7"]);
    with("--task files --base 0 --cluster 9 --examples 10").refused(USAGE, &["cluster 9"]);
    with("--task files --base 0 --cluster 0 --examples 0").refused(USAGE, &["examples"]);
    with("--task files --base 0 --cluster 0 --examples 10 --round 5")
        .refused(REFUSED, &["another round"]);
    with("--task files --base 0 --cluster 0 --examples 10 --loss=-1").refused(USAGE, &["--loss"]);
}

fn wrong_tasks(lab: &mut Lab) {
    let create = |settings: &str| {
        let line = format!("task create --name bad --key olaf {settings}");
        lab.twinfold(&line, &[])
    };
    let softmax = "--architecture softmax --features 4 --classes 3";
    create(&format!("{softmax} --participants-min 9 --participants-max 4"))
        .refused(USAGE, &["participants 9 to 4"]);
    create(&format!("{softmax} --clip 4096")).refused(USAGE, &["--clip 4096", "2048"]);
    create(&format!("{softmax} --clip 1 --norm-bound 0.5")).refused(USAGE, &["clip"]);
    create(&format!("{softmax} --scale 31")).refused(USAGE, &["scale"]);
    create(&format!("{softmax} --compress topk:7")).refused(USAGE, &["topk:F"]);
    create(&format!("{softmax} --mode async:0")).refused(USAGE, &[]);
    create("--architecture softmax").refused(USAGE, &["--features"]);
    create(&format!("{softmax} --name files")).refused(USAGE, &[]);
    let line =
        "task create --name files --key olaf --architecture softmax --features 4 --classes 3";
    lab.twinfold(line, &[]).refused(REFUSED, &["a task has this name"]);
    let line =
        "task create --name other --key stranger --architecture softmax --features 4 --classes 3";
    lab.twinfold(line, &[]).refused(REFUSED, &["member"]);
}

fn wrong_data(lab: &mut Lab) {
    let train = |name: &str, content: &[u8]| {
        let file = path(lab, name);
        fs::write(&file, content).unwrap();
        lab.twinfold("train --task files --rounds 1 --key tess --data {}", &[&file.display()])
    };
    train("words.csv", b"a,b,c,d,y\n1,2,x,4,0\n").refused(FAILED, &["words.csv", "\"x\""]);
    train("ragged.csv", b"1,2,3,4,0\n1,2,3\n").refused(FAILED, &["ragged.csv"]);
    train("empty.csv", b"").refused(FAILED, &["empty.csv"]);
    train("noise.npz", &[7; 500]).refused(FAILED, &["noise.npz"]);
    train("five.csv", b"1,2,3,4,5,0\n1,2,3,4,5,1\n").refused(FAILED, &["5", "4"]);
    train("plain.txt", b"1").refused(FAILED, &["plain.txt"]);
}

fn wrong_keys(lab: &mut Lab) {
    lab.twinfold("task close files --key nobody", &[]).refused(FAILED, &["nobody"]);
    run(lab.command("task close files", &[]).env_remove("TWINFOLD_KEY")).refused(USAGE, &["--key"]);
    let file = lab.people().join("keys/damaged.key.json");
    fs::write(&file, b"{\"format\": 1}").unwrap();
    lab.twinfold("task close files --key damaged", &[]).refused(FAILED, &["damaged"]);
    fs::remove_file(file).unwrap();
    let passphrase = path(lab, "passphrase");
    fs::write(&passphrase, "right").unwrap();
    lab.twinfold("key new locked --passphrase-file {}", &[&passphrase.display()]).ok();
    fs::write(&passphrase, "wrong").unwrap();
    lab.twinfold("task close files --key locked --passphrase-file {}", &[&passphrase.display()])
        .refused(FAILED, &["wrong passphrase"]);
    fs::remove_file(lab.people().join("keys/locked.key.json")).unwrap();
    // Nothing listens there.
    lab.twinfold("--node http://127.0.0.1:9 status", &[]).refused(4, &["127.0.0.1:9"]);
}

fn good(lab: &mut Lab) {
    let said = submit(lab, &small()).ok();
    assert!(said.out.contains("not yet"), "{said:#?}");
    // The same command again is the same update.
    let again = submit(lab, &small()).ok();
    assert_eq!(said.out, again.out);
    // Another trainer's closes the round, and then both counted.
    let file = path(lab, "delta.safetensors");
    let line = "--json update submit --task files --base 0 --cluster 0 --examples 10 --delta {} --key {} --wait";
    let said = lab.twinfold(line, &[&file.display(), &TRAINERS[1]]).ok().json();
    assert_eq!(said["counted"], true, "{said}");
}
