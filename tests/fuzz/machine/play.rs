//! The stage: one machine, its log, and a fuzzer that signs for everybody else.

use super::{Bytes, keys, promises::Promises};
use std::collections::VecDeque;
use twinfold_consensus::{Config, Effect, Event, Head, Machine, Record, Recovered};
use twinfold_types::{
    Block, Committee, Digest, Epoch, Height, SeatIndex, TimeMs, View, hash::Tag,
    message::ConsensusMessage, quorum::Seat, vote::Checkpoint,
};

const START: u64 = 1_000_000;
pub const SEATS: u64 = 4;

pub struct Play {
    pub(super) seat: Option<SeatIndex>,
    pub(super) committee: Committee,
    pub(super) chain: Digest,
    machine: Machine,
    promises: Promises,
    pub(super) now: u64,
    /// Everything persisted.
    log: Vec<Record>,
    /// Blocks that were proposed by anybody: the first is what genesis stands for.
    pub(super) blocks: Vec<(Digest, Height, TimeMs)>,
    pub(super) bodies: Vec<Block>,
    /// Committed and not executed yet.
    to_execute: VecDeque<Checkpoint>,
    pub(super) build: Option<(View, Digest, TimeMs)>,
}

impl Play {
    /// Any of the seats, or an observer.
    pub fn new(seat: u8) -> Self {
        let index = u16::from(seat) % (SEATS as u16 + 1);
        let seat = (u64::from(index) < SEATS).then_some(SeatIndex(index));
        let seats = (0..SEATS as usize).map(|index| {
            Seat::of(keys::signer(index, false).public_key(), &format!("organisation {index}"))
        });
        let committee = Committee::new(Epoch(0), seats.collect());
        let chain = Digest::of_bytes(Tag::Genesis, b"play");
        let head = Head { height: Height(0), digest: chain, time: TimeMs(START) };
        let machine = start(
            seat,
            &committee,
            chain,
            Recovered { head, certificate: None, stable: None, records: vec![] },
        );
        Self {
            seat,
            committee,
            chain,
            machine,
            promises: Promises::default(),
            now: START,
            log: Vec::new(),
            blocks: vec![(chain, Height(0), TimeMs(START))],
            bodies: Vec::new(),
            to_execute: VecDeque::new(),
            build: None,
        }
    }

    pub fn end(&self) -> (u64, u64) {
        (self.machine.installed_view().0, self.machine.committed().height.0)
    }

    /// One event; none when the bytes are used up.
    pub fn act(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let event = match bytes.byte()? % 18 {
            0 => self.raw(bytes.piece()?),
            1..=4 => Some(self.message(ConsensusMessage::Vote(self.vote(bytes)?))),
            5 | 6 => Some(self.proposal(bytes)?),
            7 => Some(self.view_change(bytes)?),
            8 => Some(self.new_view(bytes)?),
            9 => Some(self.checkpoint(bytes)?),
            10 => Some(self.stable(bytes)?),
            11 => {
                self.now += bytes.number()? * 40;
                Some(Event::Tick)
            }
            12 => Some(Event::Work { pending: bytes.byte()? % 2 == 0 }),
            13 => self.built(bytes),
            14 => self
                .to_execute
                .pop_front()
                .map(|checkpoint| Event::Executed { checkpoint, ends_at: None }),
            15 => Some(self.status(bytes)?),
            16 => Some(self.committed(bytes)?),
            _ => {
                self.restart();
                Some(Event::Tick)
            }
        };
        event.into_iter().for_each(|event| self.step(event));
        Some(())
    }

    /// Steps through an event and what it sends back to the machine itself.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.machine.step(TimeMs(self.now), event);
            self.promises.stepped(&self.machine, &effects);
            for effect in effects {
                events.extend(self.perform(effect));
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Persist(record) => self.log.push(record),
            Effect::Broadcast(message) => {
                if let ConsensusMessage::PrePrepare { block, .. } = &message {
                    self.know(block);
                }
                return Some(Event::Message { from: self.key(self.seat), message });
            }
            Effect::Build { view, parent, parent_time, .. } => {
                self.build = Some((view, parent, parent_time));
            }
            Effect::Commit { block, .. } => {
                self.to_execute.push_back(checkpoint(block.header.height, block.digest(), 0));
            }
            _ => {}
        }
        None
    }

    /// The process ends and starts again from its log, as far as it had executed.
    fn restart(&mut self) {
        if self.machine.halted().is_some()
            || self.machine.executed() != self.machine.committed().height
        {
            return;
        }
        let (head, stable) = (self.machine.committed(), self.machine.stable().cloned());
        let records = self.log.clone();
        let recovered = Recovered { head, certificate: None, stable, records };
        self.machine = start(self.seat, &self.committee, self.chain, recovered);
        self.log = self.machine.durable_records();
        self.build = None;
    }
}

/// Its own log must always start a machine.
fn start(
    seat: Option<SeatIndex>,
    committee: &Committee,
    chain: Digest,
    recovered: Recovered,
) -> Machine {
    let signer = keys::signer(seat.map_or(SEATS as usize, SeatIndex::index), false);
    let (genesis_time, own) = (TimeMs(START), signer.public_key());
    let config = Config { chain, genesis_time, committee: committee.clone(), own };
    Machine::new(config, signer, keys::verifier(false), recovered).expect("its own log")
}

pub fn checkpoint(height: Height, block: Digest, other: u8) -> Checkpoint {
    Checkpoint {
        epoch: Epoch(0),
        height,
        block,
        state_root: Digest([other; 32]),
        audit_size: height.0,
        audit_root: Digest::ZERO,
        next_committee: None,
    }
}
