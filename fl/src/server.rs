//! Server optimisers: a cluster takes the change that its rule gives for a gradient, and remembers
//! (Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar and McMahan, *Adaptive Federated
//! Optimization*, ICLR 2021, algorithm 2; FedAvgM: Hsu, Qi and Brown 2019). m and v start at zero.
//!
//! This is the one place where nodes compute in floating point, and it gives the same bits everywhere:
//! only additions, multiplications, divisions and square roots of f64, which IEEE 754 rounds in one
//! way, in a stated order, none fused. A value smaller than 2^−200 becomes zero, so subnormals do not
//! occur where they could be flushed; one that is not finite voids the step.
//!
//! ```text
//! magic "TFO1" · task · cluster u16 · rounds u64 · β₁ᵗ f64 · β₂ᵗ f64 · m, f64 for each trained value · v the same, adaptive ones
//! · where the way down is compressed ([`crate::down`]) what was left out, i32 for each trained value
//! ```

use crate::{
    Layout, down,
    fixed::{add_saturating, power_of_two},
    rule::{BLOCK, Change},
};
use twinfold_types::{
    ClusterId, TaskId,
    task::{Adaptive, ServerOptimiser, Stepping},
};

const MAGIC: [u8; 4] = *b"TFO1";
const OWNER_BYTES: usize = 32 + 2;
const HEADER_BYTES: usize = 4 + OWNER_BYTES + 3 * 8;
/// What is smaller is zero.
const SMALLEST: i32 = -200;

/// Whose memory it is: no two clusters have the same bytes, so one that is no longer wanted can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub task: TaskId,
    pub cluster: ClusterId,
}

impl Owner {
    fn bytes(&self) -> [u8; OWNER_BYTES] {
        let mut bytes = [0; OWNER_BYTES];
        bytes[..32].copy_from_slice(&self.task.0.0);
        bytes[32..].copy_from_slice(&self.cluster.0.to_le_bytes());
        bytes
    }
}

/// What an optimiser remembers between rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    owner: Owner,
    rounds: u64,
    /// β₁ and β₂ to the power of the rounds: one multiplication a round.
    decay1: f64,
    decay2: f64,
    m: Vec<f64>,
    /// Empty where the optimiser has no second moment.
    v: Vec<f64>,
    /// What was left out of what came down; empty where that is whole.
    rest: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory of the task's server optimiser: {0}")]
pub struct MemoryError(&'static str);

/// Bytes that a task's memory takes; 0 where it remembers nothing.
pub fn memory_bytes(by: Stepping, layout: &Layout) -> usize {
    if !by.remembers() {
        return 0;
    }
    HEADER_BYTES + by.remembered_bytes() as usize * layout.trained_values()
}

impl Memory {
    fn new(owner: Owner, by: Stepping, layout: &Layout) -> Self {
        let values = |there: bool| if there { layout.trained_values() } else { 0 };
        let m = vec![0.0; values(!by.server.is_none())];
        let v = vec![0.0; values(by.server.adaptive().is_some())];
        let rest = vec![0; values(by.down.is_some())];
        Self { owner, rounds: 0, decay1: 1.0, decay2: 1.0, m, v, rest }
    }

    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 8 * (self.m.len() + self.v.len()));
        bytes.extend(MAGIC);
        bytes.extend(self.owner.bytes());
        bytes.extend(self.rounds.to_le_bytes());
        for value in [&self.decay1, &self.decay2].into_iter().chain(&self.m).chain(&self.v) {
            bytes.extend(value.to_bits().to_le_bytes());
        }
        bytes.extend(self.rest.iter().flat_map(|step| step.to_le_bytes()));
        bytes
    }

    /// Reads exactly what [`Memory::encode`] writes for such a task.
    pub fn decode(
        bytes: &[u8],
        owner: Owner,
        by: Stepping,
        layout: &Layout,
    ) -> Result<Self, MemoryError> {
        if !by.remembers() || bytes.len() != memory_bytes(by, layout) {
            return Err(MemoryError("its length"));
        }
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(MemoryError("its first bytes"));
        }
        let (named, rest) = rest.split_at(OWNER_BYTES);
        if named != owner.bytes() {
            return Err(MemoryError("another cluster's"));
        }
        let mut memory = Self::new(owner, by, layout);
        let (numbers, left_out) = rest.split_at(rest.len() - 4 * memory.rest.len());
        let mut numbers =
            numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let rounds = numbers.next().unwrap_or(0);
        let mut reals = numbers.map(f64::from_bits);
        memory.rounds = rounds;
        let Memory { decay1, decay2, m, v, .. } = &mut memory;
        for place in [decay1, decay2].into_iter().chain(m).chain(v) {
            let value = reals.next().ok_or(MemoryError("its length"))?;
            if settled(value).map(f64::to_bits) != Some(value.to_bits()) {
                return Err(MemoryError("a number that is none"));
            }
            *place = value;
        }
        let steps = left_out.as_chunks::<4>().0.iter().map(|step| i32::from_le_bytes(*step));
        memory.rest.iter_mut().zip(steps).for_each(|(place, step)| *place = step);
        Ok(memory)
    }
}

/// A finite number, zero where it is all but that; never −0.
fn settled(value: f64) -> Option<f64> {
    if value.abs() < power_of_two(SMALLEST) {
        return Some(0.0);
    }
    value.is_finite().then_some(value)
}

/// What a change comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Stepped {
    pub steps: Vec<i32>,
    /// Values that were clamped.
    pub saturations: u64,
    /// What is remembered, where the task remembers anything.
    pub memory: Option<Memory>,
}

/// The next model: the change through the server optimiser, where there is one, and of that what comes down.
/// `None` where a number left the finite ones.
pub fn step(
    owner: Owner,
    by: Stepping,
    layout: &Layout,
    before: Option<&Memory>,
    base: &[i32],
    change: &Change,
) -> Option<Stepped> {
    if !by.remembers() {
        let (steps, saturations) = add(base, change);
        return Some(Stepped { steps, saturations, memory: None });
    }
    let mut memory = before.cloned().unwrap_or_else(|| Memory::new(owner, by, layout));
    let (mut steps, mut saturations) = match by.server.is_none() {
        true => add(base, change),
        false => optimise(&by.server, layout, &mut memory, base, change)?,
    };
    if let Some(down) = by.down {
        saturations += down::send(down, layout, base, &mut steps, &mut memory.rest);
    }
    Some(Stepped { steps, saturations, memory: Some(memory) })
}

/// base + change, and how many values were clamped.
fn add(base: &[i32], change: &Change) -> (Vec<i32>, u64) {
    let (mut steps, mut saturations) = (base.to_vec(), 0);
    let mut block = [0; BLOCK];
    for range in change.blocks() {
        change.read(range.clone(), &mut block[..range.len()]);
        for (step, change) in steps[range].iter_mut().zip(&block) {
            let (next, clamped) = add_saturating(*step, i64::from(*change));
            saturations += u64::from(clamped);
            *step = next;
        }
    }
    (steps, saturations)
}

fn optimise(
    server: &ServerOptimiser,
    layout: &Layout,
    memory: &mut Memory,
    base: &[i32],
    change: &Change,
) -> Option<(Vec<i32>, u64)> {
    let rule = Rule::next(server, memory)?;
    let (mut steps, mut saturations) = (base.to_vec(), 0);
    let (mut block, mut at) = ([0; BLOCK], 0);
    for slot in layout.trained() {
        let (unit, one) = (power_of_two(-i32::from(slot.scale)), power_of_two(slot.scale.into()));
        for start in slot.range().step_by(BLOCK) {
            let range = start..slot.range().end.min(start + BLOCK);
            change.read(range.clone(), &mut block[..range.len()]);
            for (steps, change) in steps[range.clone()].iter_mut().zip(&block) {
                let (m, v) = (&mut memory.m[at], memory.v.get_mut(at));
                let moved = rule.step(f64::from(*change) * unit, m, v)?;
                at += 1;
                let next = ((f64::from(*steps) * unit + moved) * one).round_ties_even();
                let kept = next.clamp(f64::from(i32::MIN), f64::from(i32::MAX));
                saturations += u64::from(kept != next);
                *steps = kept as i32;
            }
        }
    }
    Some((steps, saturations))
}

/// An optimiser's numbers in one round.
enum Rule {
    Momentum { rate: f64, momentum: f64 },
    Adaptive { numbers: Numbers, second: Second },
}

/// How v takes a new square.
enum Second {
    Adagrad,
    Adam,
    Yogi,
}

struct Numbers {
    rate: f64,
    beta1: f64,
    beta2: f64,
    tau: f64,
    /// What m and v are divided by.
    correct1: f64,
    correct2: f64,
}

impl Rule {
    /// Counts the round.
    fn next(server: &ServerOptimiser, memory: &mut Memory) -> Option<Self> {
        memory.rounds = memory.rounds.checked_add(1)?;
        let second = match server {
            ServerOptimiser::None => return None,
            ServerOptimiser::FedAvgM { rate, momentum } => {
                return Some(Self::Momentum { rate: rate.get(), momentum: momentum.get() });
            }
            ServerOptimiser::FedAdagrad(_) => Second::Adagrad,
            ServerOptimiser::FedAdam(_) => Second::Adam,
            ServerOptimiser::FedYogi(_) => Second::Yogi,
        };
        let Adaptive { rate, beta1, beta2, tau, correct } = *server.adaptive()?;
        let (beta1, beta2) = (beta1.get(), beta2.get());
        memory.decay1 = settled(memory.decay1 * beta1)?;
        memory.decay2 = settled(memory.decay2 * beta2)?;
        let (correct1, correct2) = match (correct, &second) {
            (false, _) => (1.0, 1.0),
            // A sum is not a mean: it has nothing to correct.
            (true, Second::Adagrad) => (1.0 - memory.decay1, 1.0),
            (true, _) => (1.0 - memory.decay1, 1.0 - memory.decay2),
        };
        let (rate, tau) = (rate.get(), tau.get());
        Some(Self::Adaptive {
            numbers: Numbers { rate, beta1, beta2, tau, correct1, correct2 },
            second,
        })
    }

    /// What a value moves by.
    fn step(&self, change: f64, m: &mut f64, v: Option<&mut f64>) -> Option<f64> {
        match (self, v) {
            (Rule::Momentum { rate, momentum }, _) => {
                *m = settled(momentum * *m + change)?;
                settled(rate * *m)
            }
            (Rule::Adaptive { numbers, second }, Some(v)) => {
                let Numbers { rate, beta1, beta2, tau, correct1, correct2 } = numbers;
                let square = change * change;
                *m = settled(beta1 * *m + (1.0 - beta1) * change)?;
                let next = match second {
                    Second::Adagrad => *v + square,
                    Second::Adam => beta2 * *v + (1.0 - beta2) * square,
                    Second::Yogi => *v - (1.0 - beta2) * square * sign(*v - square),
                };
                *v = settled(next)?;
                let root = (*v / correct2).sqrt() + tau;
                settled(rate * (*m / correct1) / root)
            }
            (Rule::Adaptive { .. }, None) => None,
        }
    }
}

/// sign(0) = 0.
fn sign(value: f64) -> f64 {
    f64::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

/// Whether this thread keeps numbers below 2^−1022 apart from zero, as IEEE 754 asks: a program that
/// was told to flush them could get other models.
pub fn keeps_subnormals() -> bool {
    let smallest = std::hint::black_box(f64::MIN_POSITIVE);
    std::hint::black_box(smallest / 2.0) > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold_types::model::{TensorPolicy, TensorSpec};

    fn layout() -> Layout {
        let tensor = |name: &str, len, scale, policy| TensorSpec {
            name: name.into(),
            shape: vec![len],
            scale,
            policy,
        };
        Layout::of(&[
            tensor("a", 2, 20, TensorPolicy::Train),
            tensor("still", 1, 20, TensorPolicy::Frozen),
            tensor("b", 1, 10, TensorPolicy::Train),
        ])
        .unwrap()
    }

    fn spec(text: &str) -> Stepping {
        Stepping { server: text.parse().unwrap(), down: None }
    }

    const OWNER: Owner =
        Owner { task: TaskId(twinfold_types::Digest([7; 32])), cluster: ClusterId(1) };
    const BASE: [i32; 4] = [0, 1 << 20, 77, -1024];
    const HALF: i32 = 1 << 19;

    /// So many rounds that all change by the same.
    fn rounds(text: &str, change: [i32; 4], count: usize) -> (Vec<i32>, Option<Memory>) {
        let spec = spec(text);
        let (layout, change) = (layout(), Change::Steps(change.to_vec()));
        let (mut steps, mut memory) = (BASE.to_vec(), None);
        for _ in 0..count {
            let stepped = step(OWNER, spec, &layout, memory.as_ref(), &steps, &change).unwrap();
            assert_eq!(stepped.saturations, 0);
            let (next, remembered) = (stepped.steps, stepped.memory.unwrap());
            let bytes = remembered.encode();
            assert_eq!(bytes.len(), memory_bytes(spec, &layout));
            let read = Memory::decode(&bytes, OWNER, spec, &layout).unwrap();
            assert_eq!(read, remembered);
            (steps, memory) = (next, Some(read));
        }
        (steps, memory)
    }

    #[test]
    fn momentum_adds_up() {
        let change = [HALF, 0, 0, 512];
        // 0.5, then 0.9 · 0.5 + 0.5 = 0.95; in the third tensor 2^10 is one.
        let (steps, memory) = rounds("fedavgm:lr=1,momentum=0.9", change, 2);
        let one = 1.45 * f64::from(1 << 20);
        assert_eq!(steps, [one.round() as i32, 1 << 20, 77, -1024 + 1485]);
        assert_eq!(memory.unwrap().rounds(), 2);
        assert_eq!(rounds("fedavgm:lr=1,momentum=0", change, 1).0, [HALF, 1 << 20, 77, -512]);
    }

    /// Whatever the size of a change, a value moves by about lr · sign, the paper's point.
    #[test]
    fn adaptive_ones_move_each_value_alike() {
        for text in ["fedadam:lr=0.25,tau=1e-9,correct", "fedadagrad:lr=0.25,tau=1e-9"] {
            let (steps, _) = rounds(text, [HALF, -7, 0, 512], 1);
            let quarter = |value: i32, one: i32| (f64::from(value) / f64::from(one) * 4.0).round();
            let moved = [quarter(steps[0], 1 << 20), quarter(steps[1] - (1 << 20), 1 << 20)];
            assert_eq!(moved, [1.0, -1.0], "{text}: {steps:?}");
            assert_eq!(steps[2], 77);
        }
    }

    #[test]
    fn numbers_that_leave_the_finite_ones_void_the_step() {
        let spec = spec("fedavgm:lr=1000000,momentum=0.9");
        let mut memory = Memory::new(OWNER, spec, &layout());
        memory.m[0] = 1e305;
        let change = Change::Steps(vec![1, 0, 0, 0]);
        assert_eq!(step(OWNER, spec, &layout(), Some(&memory), &BASE, &change), None);
        // A large finite one is clamped, and counted.
        memory.m[0] = 1e30;
        let stepped = step(OWNER, spec, &layout(), Some(&memory), &BASE, &change).unwrap();
        assert_eq!((stepped.steps[0], stepped.saturations), (i32::MAX, 1));
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let adam = spec("fedadam");
        let good = Memory::new(OWNER, adam, &layout()).encode();
        let read = |bytes: &[u8]| Memory::decode(bytes, OWNER, adam, &layout());
        assert!(read(&good).is_ok());
        assert!(read(&good[1..]).is_err() && read(&[]).is_err());
        for (at, number) in [(46, f64::NAN), (62, f64::INFINITY), (62, -0.0), (70, 1e-300)] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&number.to_bits().to_le_bytes());
            assert!(read(&bytes).is_err(), "{number}");
        }
        assert!(Memory::decode(&good, OWNER, spec("fedavgm"), &layout()).is_err());
        let other = Owner { cluster: ClusterId(2), ..OWNER };
        assert!(Memory::decode(&good, other, adam, &layout()).is_err());
        assert!(keeps_subnormals());
    }
}
