//! Payloads are kept while something wants them, and not longer.

use crate::kit::*;
use twinfold_types::{
    Action, BlobDigest, BlobId, Code, Digest, Event, TaskId, TxId,
    blob::Condemned,
    keeping::{HoldSubject, StorageOwner},
    limits,
    member::AdminAction,
    sealed::{RegisterSealed, SealedAction},
    state_key::{self, Prefix},
    tx::UpdateAction,
};

const RETENTION_MS: u64 = 60_000;

fn blob(number: u8) -> BlobId {
    BlobId::of_whole_copies(900, Digest([number; 32]), 4)
}

fn with_task(retention_ms: u64) -> (Chain, TaskId) {
    let mut chain = Chain::new();
    let task = chain.task(|spec| spec.retention_ms = retention_ms);
    (chain, task)
}

/// An update with a payload of its own.
fn update(chain: &Chain, task: TaskId, number: u8) -> UpdateAction {
    UpdateAction { payload: chain.availability_of(blob(number), 3), ..chain.update(task, 0) }
}

fn send(chain: &mut Chain, trainer: u8, update: UpdateAction) {
    chain.ok(trainer, Action::Update(Box::new(update)));
}

/// Two updates, sealed at the deadline and folded.
fn run_round(chain: &mut Chain, task: TaskId, blobs: [u8; 2]) {
    for (trainer, number) in (TRAINER..).zip(blobs) {
        let update = update(chain, task, number);
        send(chain, trainer, update);
    }
    pass(chain, DEADLINE_MS);
    let job = chain.jobs()[0];
    chain.fold(job, 50);
}

/// An empty block so much later.
fn pass(chain: &mut Chain, ms: u64) -> Vec<Event> {
    let receipts = chain.block_at(chain.now() + ms, vec![]);
    receipts.into_iter().flat_map(|receipt| receipt.events).collect()
}

fn stored(chain: &Chain, owner: StorageOwner) -> u64 {
    chain.reader.get(&state_key::stored_bytes(&owner)).unwrap().unwrap_or(0)
}

fn of_member(number: u8) -> StorageOwner {
    StorageOwner::Member(public(number))
}

fn hospital() -> StorageOwner {
    StorageOwner::Organisation("hospital".into())
}

fn hold(subject: HoldSubject) -> AdminAction {
    AdminAction::Hold { subject, reason: "case 7".into() }
}

fn rounds_that_wait(chain: &Chain) -> usize {
    chain.reader.scan::<u32>(&Prefix::RoundEnd.scan(), None, 10).unwrap().len()
}

#[test]
fn updates_go_when_their_retention_after_the_rounds_end_is_over() {
    let (mut chain, task) = with_task(RETENTION_MS);
    run_round(&mut chain, task, [1, 2]);
    assert_eq!(rounds_that_wait(&chain), 1);
    pass(&mut chain, RETENTION_MS - 1_000);
    assert!(chain.reference(&blob(1)).is_some());
    let events = pass(&mut chain, 1_000);
    let key = round_key(task, 0, 0);
    assert!(events.contains(&Event::UpdatesReleased { key, first: 0, updates: 2 }), "{events:?}");
    assert_eq!((chain.reference(&blob(1)), chain.reference(&blob(2))), (None, None));
    assert_eq!(rounds_that_wait(&chain), 0);
    let initial = chain.spec().initial.blob;
    assert!(chain.reference(&initial).is_some(), "a task's first model stays");
}

#[test]
fn the_updates_of_a_round_that_came_to_nothing_go_as_well() {
    let (mut chain, task) = with_task(0);
    let one = update(&chain, task, 1);
    send(&mut chain, TRAINER, one);
    chain.ok(OPERATOR, Action::CloseTask(task));
    assert!(chain.reference(&blob(1)).is_some(), "in the next block at the earliest");
    pass(&mut chain, 1);
    assert_eq!(chain.reference(&blob(1)), None);
}

/// Somebody who names another's payload in a task without retention takes nothing away.
#[test]
fn a_payload_that_two_tasks_name_stays_for_the_longer() {
    let (mut chain, long) = with_task(RETENTION_MS);
    let short = chain.task(|spec| {
        spec.name = "short".into();
        spec.retention_ms = 0;
    });
    run_round(&mut chain, long, [1, 2]);
    let same = update(&chain, short, 1);
    send(&mut chain, TRAINER + 2, same);
    assert_eq!(chain.reference(&blob(1)).unwrap().reasons, 2);
    chain.ok(OPERATOR, Action::CloseTask(short));
    pass(&mut chain, 1);
    assert_eq!(chain.reference(&blob(1)).unwrap().reasons, 1);
    pass(&mut chain, RETENTION_MS);
    assert_eq!(chain.reference(&blob(1)), None);
}

#[test]
fn a_hold_keeps_a_tasks_updates_until_it_is_released() {
    let (mut chain, task) = with_task(RETENTION_MS);
    run_round(&mut chain, task, [1, 2]);
    let subject = HoldSubject::Task(task);
    assert!(chain.decide(hold(subject)).contains(&Event::HoldSet { subject }));
    pass(&mut chain, 10 * RETENTION_MS);
    assert!(chain.reference(&blob(1)).is_some());
    chain.decide(AdminAction::ReleaseHold(subject));
    pass(&mut chain, limits::HOLD_LOOK_MS);
    assert_eq!(chain.reference(&blob(1)), None);
    assert_eq!(rounds_that_wait(&chain), 0);
}

#[test]
fn a_hold_on_one_payload_is_one_more_reason() {
    let subject = HoldSubject::Payload(blob(1).digest());
    let (mut chain, task) = with_task(RETENTION_MS);
    run_round(&mut chain, task, [1, 2]);
    chain.decide(hold(subject));
    pass(&mut chain, RETENTION_MS);
    assert_eq!(chain.reference(&blob(1)).unwrap().reasons, 1);
    assert_eq!(chain.reference(&blob(2)), None);
    chain.decide(AdminAction::ReleaseHold(subject));
    assert_eq!(chain.reference(&blob(1)), None);
}

#[test]
fn holds_that_make_no_sense_are_refused_by_name() {
    let (mut chain, task) = with_task(RETENTION_MS);
    let mut code = |action| chain.code(ADMIN, Action::Propose(action));
    let nothing = HoldSubject::Payload(blob(77).digest());
    assert_eq!(code(hold(nothing)), Code::PayloadUnknown);
    assert_eq!(code(hold(HoldSubject::Task(TaskId(Digest::ZERO)))), Code::TaskUnknown);
    assert_eq!(code(AdminAction::ReleaseHold(nothing)), Code::HoldUnknown);
    let subject = HoldSubject::Task(task);
    assert_eq!(code(AdminAction::Hold { subject, reason: String::new() }), Code::HoldInvalid);
    chain.decide(hold(subject));
    assert_eq!(chain.code(ADMIN, Action::Propose(hold(subject))), Code::HoldExists);
}

pub fn register(chain: &mut Chain, number: u8) -> BlobDigest {
    let payload = chain.availability_of(blob(number), 3);
    let register = RegisterSealed { payload, commitment: Digest([number; 32]) };
    chain.ok(TRAINER, Action::Sealed(SealedAction::Register(Box::new(register))));
    blob(number).digest()
}

#[test]
fn a_purged_payload_goes_unless_a_hold_forbids_the_purge() {
    let mut chain = Chain::new();
    let digest = register(&mut chain, 5);
    let subject = HoldSubject::Payload(digest);
    chain.decide(hold(subject));
    let destroy = || Action::Sealed(SealedAction::Destroy(digest));
    assert_eq!(chain.code(TRAINER, destroy()), Code::Held);
    chain.decide(AdminAction::ReleaseHold(subject));
    assert!(chain.reference(&blob(5)).is_some());
    chain.ok(TRAINER, destroy());
    assert_eq!(chain.reference(&blob(5)), None);
}

#[test]
fn who_names_a_payload_first_has_it_on_its_account_until_it_goes() {
    let (mut chain, task) = with_task(RETENTION_MS);
    let before = stored(&chain, hospital());
    run_round(&mut chain, task, [1, 2]);
    assert_eq!(stored(&chain, of_member(TRAINER)), 900);
    assert_eq!(stored(&chain, hospital()) - before, 1_800);
    let other = chain.task(|spec| spec.name = "other".into());
    let again = update(&chain, other, 1);
    send(&mut chain, TRAINER + 1, again);
    assert_eq!(stored(&chain, of_member(TRAINER)), 900, "named twice, stored once");
    assert_eq!(stored(&chain, of_member(TRAINER + 1)), 900);
    chain.ok(OPERATOR, Action::CloseTask(other));
    pass(&mut chain, RETENTION_MS);
    assert_eq!(stored(&chain, of_member(TRAINER)), 0);
    assert_eq!(stored(&chain, hospital()), before);
}

#[test]
fn an_account_that_is_full_takes_no_further_payload() {
    let (mut chain, task) = with_task(RETENTION_MS);
    let quota = |owner, bytes| AdminAction::SetStorageQuota { owner, bytes };
    chain.decide(quota(of_member(TRAINER), Some(899)));
    let full = |chain: &mut Chain, trainer, number| {
        let update = update(chain, task, number);
        chain.code(trainer, Action::Update(Box::new(update)))
    };
    assert_eq!(full(&mut chain, TRAINER, 1), Code::StorageFull);
    assert_eq!(stored(&chain, of_member(TRAINER)), 0);
    chain.decide(quota(of_member(TRAINER), None));
    assert_eq!(full(&mut chain, TRAINER, 1), Code::Ok);
    let used = stored(&chain, hospital());
    chain.decide(quota(hospital(), Some(used + 899)));
    assert_eq!(full(&mut chain, TRAINER + 1, 2), Code::StorageFull);
    assert_eq!(full(&mut chain, TRAINER + 1, 1), Code::Ok, "it is stored already");
    let stranger = quota(of_member(STRANGER), Some(1));
    let id = chain.apply(ADMIN, Action::Propose(stranger));
    assert_eq!((id.code, id.tx.map(|id| TxId(id.0))), (Code::MemberUnknown, id.tx));
}

/// One block with a transaction for each of many.
fn block_of(chain: &mut Chain, sender: u8, actions: Vec<Action>) -> Vec<TxId> {
    let txs: Vec<_> = actions.into_iter().map(|action| chain.tx(sender, action)).collect();
    let ids = txs.iter().map(|tx| tx.id()).collect();
    let receipts = chain.block(txs);
    assert!(receipts.iter().all(|receipt| receipt.code == Code::Ok), "{receipts:?}");
    ids
}

#[test]
fn more_updates_than_a_block_releases_go_in_the_next() {
    let mut chain = Chain::new();
    let create = |number: u32| {
        let mut spec = chain.spec();
        (spec.name, spec.retention_ms) = (format!("task {number}"), RETENTION_MS);
        spec.participants_max = 8;
        Action::CreateTask(Box::new(spec))
    };
    let tasks = limits::UPDATES_RELEASED_MAX / 4 + 1;
    let (first, rest): (Vec<_>, Vec<_>) = (0..tasks).partition(|number| *number < 40);
    let first = first.into_iter().map(create).collect();
    let rest = rest.into_iter().map(create).collect();
    let mut ids = block_of(&mut chain, OPERATOR, first);
    ids.extend(block_of(&mut chain, OTHER_OPERATOR, rest));
    let tasks: Vec<_> = ids.into_iter().map(|id| TaskId(id.0)).collect();
    for trainer in TRAINER..TRAINER + 4 {
        let one = |task: &TaskId| Action::Update(Box::new(update(&chain, *task, 1)));
        let updates = tasks.iter().map(one).collect();
        block_of(&mut chain, trainer, updates);
    }
    let close = |tasks: &[TaskId]| tasks.iter().map(|task| Action::CloseTask(*task)).collect();
    block_of(&mut chain, OPERATOR, close(&tasks[..40]));
    block_of(&mut chain, OTHER_OPERATOR, close(&tasks[40..]));
    let reasons = chain.reference(&blob(1)).unwrap().reasons;
    assert_eq!(reasons, 4 * tasks.len() as u64);
    pass(&mut chain, RETENTION_MS);
    let left = chain.reference(&blob(1)).unwrap().reasons;
    assert_eq!(reasons - left, u64::from(limits::UPDATES_RELEASED_MAX));
    pass(&mut chain, 1);
    assert_eq!(chain.reference(&blob(1)), None);
}

/// A payload in fragments that the operator named, in a data set for example.
fn coded(chain: &mut Chain, number: u8) -> BlobDigest {
    let fragments = Digest([number; 32]);
    let blob =
        BlobId { length: 900, content: Digest([1; 32]), n: 4, k: 2, fragment_root: fragments };
    let payload = chain.availability_of(blob, 3);
    let register = RegisterSealed { payload, commitment: Digest([number; 32]) };
    chain.ok(TRAINER, Action::Sealed(SealedAction::Register(Box::new(register))));
    blob.digest()
}

fn seat(number: u16) -> u8 {
    VALIDATOR + number as u8
}

#[test]
fn a_payload_that_was_cut_by_a_liar_is_condemned_when_two_of_four_seats_say_so() {
    let mut chain = Chain::new();
    let blob = coded(&mut chain, 5);
    let condemn = || Action::Condemn(blob);
    assert_eq!(chain.code(TRAINER, condemn()), Code::NotPermitted);
    let events = chain.ok(seat(0), condemn());
    assert_eq!(events, [Event::PayloadSuspected { blob, by: public(seat(0)) }]);
    assert_eq!(chain.code(seat(0), condemn()), Code::PayloadCondemned, "said already");
    let found: Option<Condemned> = chain.reader.get(&state_key::condemned(&blob)).unwrap();
    assert_eq!(found, None);

    let events = chain.ok(seat(1), condemn());
    assert!(events.contains(&Event::PayloadCondemned { blob, by: public(TRAINER) }), "{events:?}");
    let found: Condemned = chain.reader.get(&state_key::condemned(&blob)).unwrap().unwrap();
    assert_eq!((found.by, found.organisation.as_str()), (public(TRAINER), "hospital"));
    assert_eq!(found.found_by, [public(seat(0)), public(seat(1))].into());
    assert_eq!(chain.code(seat(2), condemn()), Code::PayloadCondemned);
    let rows = chain.reader.scan::<()>(&Prefix::SuspicionCount.scan(), None, 1);
    assert!(rows.is_ok_and(|rows| rows.is_empty()), "nothing stays open");
}

#[test]
fn one_seat_alone_condemns_nothing_and_suspects_only_so_many() {
    let mut chain = Chain::new();
    let most = limits::SUSPICIONS_OPEN_MAX as u8;
    for number in 0..most {
        let blob = coded(&mut chain, number);
        chain.ok(seat(0), Action::Condemn(blob));
    }
    let blob = coded(&mut chain, most);
    assert_eq!(chain.code(seat(0), Action::Condemn(blob)), Code::TooManySuspicions);
    // One that is purged is no suspect any more.
    let first = BlobId {
        length: 900,
        content: Digest([1; 32]),
        n: 4,
        k: 2,
        fragment_root: Digest([0; 32]),
    };
    chain.ok(TRAINER, Action::Sealed(SealedAction::Destroy(first.digest())));
    chain.ok(seat(0), Action::Condemn(blob));
    let whole = register(&mut chain, 99);
    assert_eq!(chain.code(seat(1), Action::Condemn(whole)), Code::PayloadWhole);
    assert_eq!(chain.code(seat(1), Action::Condemn(Digest::ZERO)), Code::PayloadUnknown);
}
