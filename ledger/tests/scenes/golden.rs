//! The state root, audit root and head of a fixed script of blocks. A change of
//! the file is a change of the format, and is approved by committing it.

use crate::kit::*;
use twinfold_types::{
    Action,
    member::{AdminAction, Role},
    round::FoldJob,
};

const GOLDEN: &str = include_str!("../../../tests/golden/ledger_root.txt");
const GOLDEN_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/ledger_root.txt");

/// A line for each height: height, state root, audit size, audit root.
pub fn script(chain: &mut Chain) -> String {
    let mut lines = line(chain);
    let step = |chain: &mut Chain, lines: &mut String| lines.push_str(&line(chain));
    chain.decide(AdminAction::AddMember(member(60, "plant", &[Role::Trainer])));
    step(chain, &mut lines);
    chain.ok(OPERATOR, Action::AddTrainer(member(61, "hospital", &[Role::Trainer])));
    step(chain, &mut lines);
    let task = chain.task(|spec| spec.clusters = 2);
    step(chain, &mut lines);
    chain.send(TRAINER, task, 0);
    chain.send(TRAINER + 1, task, 0);
    chain.send(60, task, 1);
    step(chain, &mut lines);
    let deadline = chain.reader.next_deadline().unwrap().unwrap();
    chain.block_at(deadline.0, vec![]);
    step(chain, &mut lines);
    chain.fold(round_job(task, 0, 0), 5);
    chain.fold(round_job(task, 1, 0), 6);
    chain.fold(FoldJob::Merge { task, number: 0 }, 7);
    step(chain, &mut lines);
    chain.block(vec![]);
    step(chain, &mut lines);
    chain.ok(OPERATOR, Action::CloseTask(task));
    step(chain, &mut lines);
    lines
}

fn line(chain: &Chain) -> String {
    let head = chain.reader.head();
    let (root, size, audit) = (head.state_root, head.audit_size, head.audit_root);
    format!("{} {root} {size} {audit}\n", head.height)
}

#[test]
fn a_fixed_script_has_the_committed_roots() {
    let lines = script(&mut Chain::new());
    if std::env::var_os("TWINFOLD_BLESS").is_some() {
        std::fs::write(GOLDEN_PATH, &lines).unwrap();
        return;
    }
    assert_eq!(lines, GOLDEN, "the roots changed: if it is meant, run with TWINFOLD_BLESS=1");
}
