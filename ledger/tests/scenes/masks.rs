//! Masked rounds: stages, who may say what in which, and what becomes of those who cheat.

use crate::kit::*;
use twinfold_fl::mask::{RoundSecret, check_release, secret::Shares};
use twinfold_types::{
    Action, Code, Event, TaskId,
    member::Role,
    round::{FoldJob, RoundKey, RoundState, VoidReason},
    state_key,
    task::{
        Compression, Masks, Noise, TaskSpec,
        masks::{
            DealtShares, MaskAction, MaskKeys, MaskPoint, MaskScalar, MaskStage, MaskStep, Masking,
        },
    },
    tx::UpdateAction,
};

const MEMBERS: u8 = 9;
/// A block is a second: all can speak within a stage.
const STAGE_MS: u64 = 60_000;
/// Of nine members seven are needed.
const NEEDED: usize = 7;

fn trainer(index: usize) -> u8 {
    150 + index as u8
}

struct Scene {
    chain: Chain,
    task: TaskId,
    secrets: Vec<RoundSecret>,
}

fn scene(change: impl FnOnce(&mut TaskSpec)) -> Scene {
    let mut chain = Chain::with(|genesis| {
        let trainers = (0..usize::from(MEMBERS)).map(trainer);
        genesis.params.trainer_quota = 20;
        genesis.members.extend(trainers.map(|number| member(number, "hospital", &[Role::Trainer])));
    });
    let task = chain.task(|spec| {
        (spec.participants_min, spec.participants_max) = (8, MEMBERS.into());
        (spec.extensions_max, spec.deadline_ms) = (0, STAGE_MS);
        spec.compression = Compression::dense(16);
        spec.masks = Some(Masks { exponent: 16, noise: None });
        change(spec);
    });
    let secret = |index: u8| RoundSecret::new([index + 1; 32], round_key(task, 0, 0));
    Scene { chain, task, secrets: (0..MEMBERS).map(secret).collect() }
}

impl Scene {
    fn key(&self) -> RoundKey {
        round_key(self.task, 0, 0)
    }

    fn masking(&self) -> Masking {
        self.chain.reader.get(&state_key::masking(&self.key())).unwrap().unwrap()
    }

    fn stage(&self) -> MaskStage {
        self.masking().stage
    }

    fn state(&self) -> RoundState {
        self.chain.reader.round(&self.key()).unwrap().unwrap().state
    }

    fn say(&mut self, index: usize, step: MaskStep) -> Code {
        let action = MaskAction { round: self.key(), step };
        self.chain.code(trainer(index), Action::Mask(Box::new(action)))
    }

    fn join(&mut self, index: usize) -> Code {
        let keys = self.secrets[index].keys();
        self.say(index, MaskStep::Keys(keys))
    }

    fn keys(&self) -> Vec<MaskKeys> {
        self.masking().members.iter().map(|member| member.keys).collect()
    }

    fn deal(&mut self, index: usize) -> Code {
        let deal = self.secrets[index].deal(&self.keys(), index).unwrap();
        self.say(index, MaskStep::Deal(Box::new(deal)))
    }

    fn update(&self) -> UpdateAction {
        let update = self.chain.update(self.task, 0);
        let spec = self.chain.reader.task(&self.task).unwrap().unwrap().spec;
        let bytes = spec.masked_bytes().unwrap();
        UpdateAction { payload: self.chain.availability(bytes, 3), ..update }
    }

    fn send(&mut self, index: usize) -> Code {
        let update = self.update();
        self.chain.code(trainer(index), Action::Update(Box::new(update)))
    }

    fn shares(&self, index: usize) -> Vec<Shares> {
        let dealt = self.chain.reader.dealt_shares(&self.key(), index as u32).unwrap().unwrap();
        let (keys, secret) = (self.keys(), &self.secrets[index]);
        let open = |dealt: &DealtShares| secret.open(&keys[dealt.dealer as usize], index, dealt);
        dealt.iter().map(|dealt| open(dealt).unwrap()).collect()
    }

    fn release(&mut self, index: usize) -> Code {
        let shares = RoundSecret::released(&self.masking(), &self.shares(index));
        self.say(index, MaskStep::Release(shares))
    }

    /// A block after the stage's deadline.
    fn wait(&mut self) {
        let time = self.chain.now() + STAGE_MS + 1;
        self.chain.block_at(time, vec![]);
    }

    fn all(&mut self, indices: impl IntoIterator<Item = usize>, act: fn(&mut Self, usize) -> Code) {
        for index in indices {
            assert_eq!(act(self, index), Code::Ok, "member {index}");
        }
    }
}

/// Whether a secret is the one behind a key: shares of it alone are what a release of it takes.
fn opens(key: &MaskPoint, secret: &MaskScalar) -> bool {
    check_release(&[*key], &[*secret])
}

#[test]
fn a_masked_round_goes_from_stage_to_stage_as_all_have_spoken() {
    let mut scene = scene(|_| ());
    assert_eq!(scene.send(0), Code::MaskStageOther, "an update without masks");
    scene.all(0..8, Scene::join);
    assert_eq!(scene.join(3), Code::MaskExists);
    assert_eq!(scene.stage(), MaskStage::Joining);
    scene.all([8], Scene::join);
    assert_eq!(scene.stage(), MaskStage::Dealing);
    assert_eq!(scene.send(0), Code::MaskStageOther);
    scene.all(0..9, Scene::deal);
    assert_eq!(scene.stage(), MaskStage::Updating);
    assert_eq!(scene.deal(0), Code::MaskStageOther);
    // 9 · 1,000 · 32,767 takes words of four bytes.
    let short =
        UpdateAction { payload: scene.chain.availability(650 * 4 - 1, 3), ..scene.update() };
    assert_eq!(scene.chain.code(trainer(0), Action::Update(Box::new(short))), Code::MaskPayload);
    let update = scene.update();
    let stranger = scene.chain.code(TRAINER, Action::Update(Box::new(update)));
    assert_eq!(stranger, Code::MaskMemberUnknown);
    scene.all(0..9, Scene::send);
    assert_eq!(scene.stage(), MaskStage::Releasing);
    assert!(matches!(scene.state(), RoundState::Collecting { .. }), "not to be folded yet");
    assert!(scene.chain.jobs().is_empty());
    scene.all([8, 1, 2, 3, 4, 5], Scene::release);
    assert_eq!(scene.release(8), Code::MaskExists);
    assert_eq!(scene.stage(), MaskStage::Releasing);
    scene.all([6], Scene::release);
    assert_eq!(scene.stage(), MaskStage::Unmasked);
    assert!(matches!(scene.state(), RoundState::Sealed { .. }));
    let (key, masking) = (scene.key(), scene.masking());
    assert_eq!((masking.secrets.len(), masking.threshold()), (9, NEEDED));
    for index in 0..9 {
        for row in [state_key::mask_deal(&key, index), state_key::mask_release(&key, index)] {
            assert!(!scene.chain.reader.get::<()>(&row).is_ok_and(|row| row.is_some()));
        }
    }
    let basis = scene.chain.reader.fold_basis(&FoldJob::Round(key)).unwrap().unwrap();
    assert_eq!(basis.masking, Some(masking));
    scene.chain.fold(FoldJob::Round(key), 9);
    scene.chain.fold(FoldJob::Merge { task: scene.task, number: 0 }, 9);
}

#[test]
fn at_each_deadline_the_round_goes_on_with_those_who_spoke() {
    let mut scene = scene(|_| ());
    scene.all(0..8, Scene::join);
    scene.wait();
    assert_eq!(scene.stage(), MaskStage::Dealing);
    assert_eq!(scene.join(8), Code::MaskStageOther, "too late");
    scene.all(0..8, Scene::deal);
    scene.all(0..8, Scene::send);
    assert_eq!(scene.stage(), MaskStage::Releasing);
    // Of eight members six are needed.
    scene.all(2..8, Scene::release);
    assert_eq!(scene.stage(), MaskStage::Unmasked);
}

#[test]
fn a_third_may_be_missing_and_not_more() {
    let mut scene = scene(|spec| spec.participants_min = 8);
    scene.all(0..9, Scene::join);
    scene.all(0..9, Scene::deal);
    scene.all(0..8, Scene::send);
    assert_eq!(scene.stage(), MaskStage::Updating);
    scene.wait();
    assert_eq!(scene.stage(), MaskStage::Releasing);
    assert_eq!(scene.send(8), Code::MaskStageOther, "the list is final");
    // The one whose update did not come may still release.
    scene.all([8, 0, 1, 2, 3, 4, 5], Scene::release);
    assert_eq!(scene.stage(), MaskStage::Unmasked);
    let secrets = scene.masking().secrets;
    let pair_key = scene.masking().members[8].keys.pair;
    assert!(opens(&pair_key, &secrets[8]), "of who is missing, the pair secret");
    assert!(!opens(&scene.masking().members[0].keys.pair, &secrets[0]));
}

#[test]
fn too_few_at_any_stage_void_the_round() {
    let too_few = |scene: &Scene| {
        let void = RoundState::Void {
            reason: VoidReason::TooFew,
            height: scene.chain.reader.head().height,
        };
        assert_eq!(scene.state(), void);
    };
    let mut joining = scene(|_| ());
    joining.all(0..7, Scene::join);
    joining.wait();
    too_few(&joining);

    let mut dealing = scene(|_| ());
    dealing.all(0..9, Scene::join);
    dealing.all(0..7, Scene::deal);
    dealing.wait();
    too_few(&dealing);

    let mut releasing = scene(|_| ());
    releasing.all(0..9, Scene::join);
    releasing.all(0..9, Scene::deal);
    releasing.all(0..9, Scene::send);
    releasing.all(0..6, Scene::release);
    releasing.wait();
    too_few(&releasing);
    assert!(releasing.masking().secrets.is_empty(), "what was released comes to nothing");
    let next = round_key(releasing.task, 0, 1);
    assert!(releasing.chain.reader.round(&next).unwrap().is_some(), "the next one is open");
}

#[test]
fn who_deals_a_false_share_is_shown_and_barred() {
    let mut scene = scene(|_| ());
    scene.all(0..9, Scene::join);
    let keys = scene.keys();
    let mut false_one = scene.secrets[4].deal(&keys, 4).unwrap();
    false_one.sealed[2].0[7] ^= 1;
    scene.all((0..9).filter(|index| *index != 4), Scene::deal);
    assert_eq!(scene.say(4, MaskStep::Deal(Box::new(false_one))), Code::Ok);
    let dealt = scene.chain.reader.dealt_shares(&scene.key(), 2).unwrap().unwrap();
    assert!(scene.secrets[2].open(&keys[4], 2, &dealt[4]).is_none());
    let slander = scene.secrets[2].complain(&keys, 2, 5).unwrap();
    assert_eq!(scene.say(2, MaskStep::Complain(slander)), Code::MaskInvalid);
    let complaint = scene.secrets[2].complain(&keys, 2, 4).unwrap();
    assert_eq!(scene.say(3, MaskStep::Complain(complaint)), Code::MaskInvalid, "another's");
    let action = MaskAction { round: scene.key(), step: MaskStep::Complain(complaint) };
    let events = scene.chain.ok(trainer(2), Action::Mask(Box::new(action)));
    let shown =
        Event::FalseShare { key: scene.key(), dealer: public(trainer(4)), by: public(trainer(2)) };
    assert!(events.contains(&shown), "{events:?}");
    assert!(matches!(scene.state(), RoundState::Void { reason: VoidReason::FalseShare, .. }));
    let next = round_key(scene.task, 0, 1);
    let keys = RoundSecret::new([9; 32], next).keys();
    let action = MaskAction { round: next, step: MaskStep::Keys(keys) };
    let mut join = |index| scene.chain.code(trainer(index), Action::Mask(Box::new(action.clone())));
    assert_eq!((join(4), join(5)), (Code::MaskBarred, Code::Ok));
}

#[test]
fn wrong_keys_deals_and_shares_are_not_taken() {
    let mut scene = scene(|_| ());
    let keys = scene.secrets[0].keys();
    let nothing = MaskKeys { pair: MaskPoint([0; 32]), ..keys };
    assert_eq!(scene.say(0, MaskStep::Keys(nothing)), Code::MaskInvalid);
    scene.all(0..8, Scene::join);
    let copied = scene.secrets[1].keys();
    assert_eq!(scene.say(8, MaskStep::Keys(copied)), Code::MaskInvalid, "another's");
    scene.all([8], Scene::join);
    let all = scene.keys();
    let other = scene.secrets[1].deal(&all, 1).unwrap();
    assert_eq!(scene.say(0, MaskStep::Deal(Box::new(other))), Code::MaskInvalid);
    scene.all(0..9, Scene::deal);
    scene.all(0..9, Scene::send);
    let mut shares = RoundSecret::released(&scene.masking(), &scene.shares(0));
    shares.swap(0, 1);
    assert_eq!(scene.say(0, MaskStep::Release(shares)), Code::MaskInvalid);
    // Both secrets of one trainer: what a leader would want.
    let mut both = scene.masking();
    both.members[3].sent = false;
    let shares = RoundSecret::released(&both, &scene.shares(0));
    assert_eq!(scene.say(0, MaskStep::Release(shares)), Code::MaskInvalid);
    assert_eq!(scene.release(0), Code::Ok);
}

#[test]
fn a_budget_is_spent_by_rounds_that_are_unmasked_and_by_no_others() {
    let mut scene = scene(|spec| {
        spec.weight_max = 1;
        // Noise of twice the norm in a sum of eight: ρ is 1/8 a round, and 3/16 may be spent.
        let noise = Noise { norm: 2_000, variance: 2_000_000, budget: 3 << 28, log_delta: 1 << 19 };
        spec.masks = Some(Masks { exponent: 16, noise: Some(noise) });
    });
    let cost = (1 << 29) + 1;
    let spent = |scene: &Scene, index: usize| {
        let row = state_key::privacy_spent(&scene.task, &public(trainer(index)));
        scene.chain.reader.get::<u64>(&row).unwrap().unwrap_or(0)
    };
    scene.all(0..9, Scene::join);
    scene.all(0..9, Scene::deal);
    scene.all(0..8, Scene::send);
    scene.wait();
    scene.all(0..6, Scene::release);
    assert_eq!(spent(&scene, 0), 0, "nothing is known yet");
    scene.all([6], Scene::release);
    assert_eq!((spent(&scene, 0), spent(&scene, 7), spent(&scene, 8)), (cost, cost, 0));
    scene.chain.fold(FoldJob::Round(scene.key()), 9);
    scene.chain.fold(FoldJob::Merge { task: scene.task, number: 0 }, 9);
    let next = round_key(scene.task, 0, 1);
    let keys = RoundSecret::new([9; 32], next).keys();
    let action = MaskAction { round: next, step: MaskStep::Keys(keys) };
    let mut join = |index| scene.chain.code(trainer(index), Action::Mask(Box::new(action.clone())));
    assert_eq!((join(0), join(8)), (Code::PrivacySpent, Code::Ok));
}

#[test]
fn a_task_without_masks_has_no_masked_rounds() {
    let mut chain = Chain::new();
    let task = chain.task(|_| ());
    let key = round_key(task, 0, 0);
    let keys = RoundSecret::new([1; 32], key).keys();
    let action = MaskAction { round: key, step: MaskStep::Keys(keys) };
    assert_eq!(chain.code(TRAINER, Action::Mask(Box::new(action))), Code::MasksUnused);
}
