//! A trainer's way through a masked round, wherever its delta comes from: joins with keys, shares its
//! secrets, sends its update under masks, and releases the shares that the sum is unmasked by.
//!
//! Who the members are, who dealt and whose update is in the list is believed under a quorum's signatures
//! alone: a node that made up members could read the update, and one that made up a list could have both of
//! a trainer's secrets released.

use crate::{
    client::Client,
    error::{CliError, Result},
    train::{Made, MaskFile, Pending, TrainerState},
    update::{Pause, Route, Sent, cluster_of, say},
    verify::{prove_deal, prove_masking, prove_task},
};
use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use twinfold_fl::{
    compress::Integers,
    mask::{RoundSecret, mask, noise::add_noise, secret::Shares},
};
use twinfold_types::{
    Action, Code, Digest, PublicKey,
    api::TaskView,
    hash::Tag,
    key::Signer,
    round::RoundKey,
    task::{
        TaskSpec, TaskStatus,
        masks::{MaskAction, MaskKeys, MaskStage, MaskStep, Masking},
    },
};

/// A proof is of the newest checkpoint, which may be a little older than what a node tells.
const BEHIND: Duration = Duration::from_millis(50);

/// A masked round and who goes through it.
pub struct MaskedRound<'a> {
    pub route: Route<'a>,
    pub spec: &'a TaskSpec,
    pub key: RoundKey,
    pub base_version: u64,
    /// For one stage.
    pub timeout: Duration,
}

/// What a trainer hears on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskedEvent {
    Stage {
        stage: MaskStage,
        members: u32,
    },
    /// The member was dealt a false share, and shows it.
    FalseShare {
        dealer: PublicKey,
    },
}

/// What was done in this process, so that it is done once.
#[derive(Default)]
struct Done {
    sent: Option<Sent>,
    complained: bool,
}

/// What the dealers gave to this member.
enum Opened {
    /// One for each dealer, in order.
    Good(Vec<Shares>),
    /// This dealer gave a false one.
    False(usize),
    /// The ledger has them no more: the round is over.
    Gone,
}

type Tell<'t> = &'t mut dyn FnMut(MaskedEvent) -> Result<()>;

impl MaskedRound<'_> {
    /// Goes through the round until its sum is unmasked or it is void; what became of the update, where one
    /// was sent. `make` is asked for it once the masks are known.
    pub fn run(
        &self,
        dir: &Path,
        state: &mut TrainerState,
        make: &mut dyn FnMut(&TrainerState) -> Result<Made>,
        tell: Tell<'_>,
    ) -> Result<Option<Sent>> {
        let me = self.route.key.public_key();
        let mut file = MaskFile::open(dir, &self.key, &me)?;
        let (mut done, mut told) = (Done::default(), None);
        let (mut started, mut pause) = (Instant::now(), Pause::default());
        loop {
            let masking = self.client().masking(&self.key)?;
            let masking = masking.unwrap_or_else(|| Masking::new(self.key));
            let stage = masking.stage;
            if stage == MaskStage::Unmasked || self.is_over()? {
                break;
            }
            if told != Some(stage) {
                told = Some(stage);
                (started, pause) = (Instant::now(), Pause::default());
                tell(MaskedEvent::Stage { stage, members: masking.members.len() as u32 })?;
            }
            if !self.act(&masking, &mut file, state, make, &mut done, tell)? {
                if started.elapsed() > self.timeout {
                    return Err(CliError::TimedOut(format!(
                        "masked round {} of cluster {} stands at {stage:?} for {} s",
                        self.key.round,
                        self.key.cluster,
                        started.elapsed().as_secs()
                    )));
                }
                pause.sleep();
            }
        }
        if done.sent.is_none() && state.pending().is_some() {
            // Sent before a restart: where it is now.
            done.sent = Some(self.route.send(state)?);
        }
        file.remove()?;
        Ok(done.sent)
    }

    fn client(&self) -> &Client {
        self.route.client
    }

    /// Whether the round takes nothing more.
    fn is_over(&self) -> Result<bool> {
        let task = self.client().task(&self.key.task.to_string())?;
        let cluster = cluster_of(&task, self.key.cluster)?;
        // A node that is behind tells of an earlier round.
        Ok(task.status != TaskStatus::Open || cluster.round > self.key.round)
    }

    /// Does what the stage asks of this trainer; whether there was anything.
    fn act(
        &self,
        masking: &Masking,
        file: &mut MaskFile,
        state: &mut TrainerState,
        make: &mut dyn FnMut(&TrainerState) -> Result<Made>,
        done: &mut Done,
        tell: Tell<'_>,
    ) -> Result<bool> {
        let secret = file.secret();
        let Some(me) = masking.index_of(&self.route.key.public_key()) else {
            if masking.stage != MaskStage::Joining {
                return Ok(false);
            }
            self.say(MaskStep::Keys(secret.keys()))?;
            return Ok(true);
        };
        let member = masking.members[me];
        if member.keys != secret.keys() {
            // It joined by a file that is lost: the others go on without it.
            return Ok(false);
        }
        match masking.stage {
            MaskStage::Dealing if !member.dealt => {
                let keys = keys(&self.proved(masking)?);
                let dealt = secret.deal(&keys, me).ok_or_else(|| self.nonsense())?;
                self.say(MaskStep::Deal(Box::new(dealt)))?;
            }
            MaskStage::Updating if member.dealt && done.sent.is_none() && !done.complained => {
                let masking = self.proved(masking)?;
                match self.open_all(&masking, &secret, me)? {
                    Opened::Good(_) => done.sent = self.update(&masking, file, me, state, make)?,
                    Opened::False(dealer) => {
                        self.complain(&masking, &secret, me, dealer, tell)?;
                        done.complained = true;
                    }
                    Opened::Gone => {}
                }
                return Ok(done.sent.is_some() || done.complained);
            }
            MaskStage::Releasing if !member.released && !done.complained => {
                return self.release(&self.proved(masking)?, file, me);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The round under a quorum's signatures, at the stage that a node tells of or a later one.
    fn proved(&self, told: &Masking) -> Result<Masking> {
        let started = Instant::now();
        loop {
            let proved = prove_masking(self.client(), &self.key, self.route.timeout)?;
            if proved.stage >= told.stage {
                return Ok(proved);
            }
            if started.elapsed() > self.route.timeout {
                return Err(self.nonsense());
            }
            std::thread::sleep(BEHIND);
        }
    }

    fn nonsense(&self) -> CliError {
        CliError::failed(
            format!(
                "what the node says of masked round {} is not what is certified",
                self.key.round
            ),
            "ask another node",
        )
    }

    fn open_all(&self, masking: &Masking, secret: &RoundSecret, me: usize) -> Result<Opened> {
        let dealt = self.client().dealt_shares(&self.key, me as u32)?;
        let mut shares = vec![];
        for (index, dealer) in masking.dealers() {
            let given = dealt.iter().find(|given| given.dealer as usize == index);
            let Some(given) = given else { return Ok(Opened::Gone) };
            match secret.open(&dealer.keys, me, given) {
                Some(opened) => shares.push(opened),
                None => return Ok(Opened::False(index)),
            }
        }
        Ok(Opened::Good(shares))
    }

    /// A complaint tells everybody the dealer's shares for this member. A node that made shares up could have
    /// enough members complain to read the dealer's secrets: so it is about what a quorum has signed, or nothing.
    fn complain(
        &self,
        masking: &Masking,
        secret: &RoundSecret,
        me: usize,
        dealer: usize,
        tell: Tell<'_>,
    ) -> Result<()> {
        let Some(deal) = prove_deal(self.client(), &self.key, dealer as u32, self.route.timeout)?
        else {
            return Ok(());
        };
        let given = deal.to(dealer as u32, me as u32).ok_or_else(|| self.nonsense())?;
        if secret.open(&masking.members[dealer].keys, me, &given).is_some() {
            return Err(self.nonsense());
        }
        let complaint = secret.complain(&keys(masking), me, dealer);
        let complaint = complaint.ok_or_else(|| self.nonsense())?;
        tell(MaskedEvent::FalseShare { dealer: masking.members[dealer].trainer })?;
        self.say(MaskStep::Complain(complaint))
    }

    /// Masks and sends the update; nothing where one was masked before and came to nothing.
    fn update(
        &self,
        masking: &Masking,
        file: &mut MaskFile,
        me: usize,
        state: &mut TrainerState,
        make: &mut dyn FnMut(&TrainerState) -> Result<Made>,
    ) -> Result<Option<Sent>> {
        if state.pending().is_none() {
            if file.is_masked() {
                return Ok(None);
            }
            let Made { integers, layout, examples, metrics, control } = make(state)?;
            let Integers { mut values, carried, rest } = integers;
            if let Some(noise) = self.spec.noise() {
                add_noise(&mut values, noise.variance, &mut rand::random);
            }
            let weight = examples.min(self.spec.weight_max);
            let payload = mask(self.spec, &layout, &file.secret(), masking, me, &values, weight);
            let payload = payload.ok_or_else(|| self.nonsense())?;
            file.set_masked()?;
            let (round, base_version) = (Some(self.key.round), self.base_version);
            let transaction = None;
            state.begin(Pending {
                round,
                base_version,
                examples,
                metrics,
                transaction,
                payload,
                carried,
                rest,
                control,
            })?;
        }
        Ok(Some(self.route.send(state)?))
    }

    /// Whether there was anything to release.
    fn release(&self, masking: &Masking, file: &mut MaskFile, me: usize) -> Result<bool> {
        let secret = file.secret();
        let Opened::Good(shares) = self.open_all(masking, &secret, me)? else { return Ok(false) };
        let list: Vec<_> = masking.members.iter().map(|one| (one.trainer, one.sent)).collect();
        if !file.release_for(Digest::of(Tag::MaskShares, &(self.key, list)))? {
            return Err(CliError::failed(
                format!(
                    "masked round {} has two lists of updates: shares were released for the other",
                    self.key.round
                ),
                "a quorum has signed both: tell the consortium's admins, and keep the trainer's folder",
            ));
        }
        self.say(MaskStep::Release(RoundSecret::released(masking, &shares)))?;
        Ok(true)
    }

    /// Says something in the round; that it comes too late, or twice, is no fault.
    fn say(&self, step: MaskStep) -> Result<()> {
        let Route { client, key, timeout, .. } = self.route;
        let action = MaskAction { round: self.key, step };
        let (tx, code) = say(client, key, Action::Mask(Box::new(action)), timeout)?;
        let fine = [
            Code::Ok,
            Code::MaskExists,
            Code::MaskStageOther,
            Code::RoundOther,
            Code::RoundSealed,
            Code::TaskEnded,
        ];
        if fine.contains(&code) { Ok(()) } else { Err(CliError::Chain { tx, code }) }
    }
}

/// The settings of a task that masks updates, proved by its identity: a node could tell of others.
pub fn require_masks(client: &Client, task: &TaskView, timeout: Duration) -> Result<TaskSpec> {
    let proved = prove_task(client, &task.id, timeout)?;
    if proved == task.spec && proved.masks.is_some() {
        return Ok(proved);
    }
    Err(CliError::failed(
        format!("task {:?} does not mask updates", task.spec.name),
        "validators would read what is sent; leave out --masked if they may",
    ))
}

fn keys(masking: &Masking) -> Vec<MaskKeys> {
    masking.members.iter().map(|member| member.keys).collect()
}
