//! How many trainers are worth having: a round's time against their number, from what was measured.
//! Local work is shared out among them; what goes over the network and what validators fold grows with
//! each. Beyond the knee another trainer saves less than it costs.

use serde::Serialize;

/// What one round costs, in seconds, bytes and bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// One machine's local work on all data.
    pub compute_s: f64,
    pub update_bytes: f64,
    pub model_bytes: f64,
    /// A validator's work on one update.
    pub fold_s: f64,
    /// From the last update until its round's result is agreed, network and folding aside.
    pub agreement_s: f64,
    /// A trainer's line, each way.
    pub trainer_rate: f64,
    /// A validator's line: every update comes to it, and the model goes out to every trainer.
    pub validator_rate: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    pub trainers: u32,
    pub compute_s: f64,
    pub communication_s: f64,
    pub total_s: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub costs: Costs,
    /// Powers of two, and the knee.
    pub points: Vec<Point>,
    /// The fewest trainers with which a round takes at most a twentieth longer than with the best
    /// number of them.
    pub knee: u32,
}

const NEAR: f64 = 1.05;

impl Costs {
    pub fn point(&self, trainers: u32) -> Point {
        let n = f64::from(trainers);
        let compute_s = self.compute_s / n;
        let payload = self.update_bytes + self.model_bytes;
        let communication_s = payload / self.trainer_rate
            + n * payload / self.validator_rate
            + n * self.fold_s
            + self.agreement_s;
        Point { trainers, compute_s, communication_s, total_s: compute_s + communication_s }
    }

    /// Up to so many trainers, at least one.
    pub fn plan(self, trainers_max: u32) -> Plan {
        let all: Vec<_> = (1..=trainers_max.max(1)).map(|n| self.point(n)).collect();
        let least = all.iter().map(|point| point.total_s).fold(f64::INFINITY, f64::min);
        let knee = all.iter().find(|point| point.total_s <= NEAR * least);
        let knee = knee.map_or(1, |point| point.trainers);
        let shown = |point: &Point| point.trainers.is_power_of_two() || point.trainers == knee;
        Plan { costs: self, points: all.into_iter().filter(shown).collect(), knee }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        compute_s: 100.0,
        update_bytes: 1e6,
        model_bytes: 1e6,
        fold_s: 0.1,
        agreement_s: 0.05,
        trainer_rate: 1e7,
        validator_rate: 1e8,
    };

    /// 100/n + 0.12·n is least at √(100/0.12) = 29; a twentieth more is reached before.
    #[test]
    fn the_knee_comes_before_the_least_time() {
        let plan = COSTS.plan(256);
        assert!((18..29).contains(&plan.knee), "{}", plan.knee);
        let near = COSTS.point(plan.knee).total_s;
        assert!(
            near <= 1.05 * COSTS.point(29).total_s && COSTS.point(plan.knee - 1).total_s > near
        );
        let shown: Vec<_> = plan.points.iter().map(|point| point.trainers).collect();
        assert_eq!(shown.iter().filter(|trainers| trainers.is_power_of_two()).count(), 9);
        assert!(shown.contains(&plan.knee));
    }

    #[test]
    fn work_that_is_smaller_than_its_update_is_for_one() {
        let small = Costs { compute_s: 0.01, ..COSTS };
        assert_eq!(small.plan(64).knee, 1);
        assert_eq!(COSTS.plan(0).points.len(), 1);
    }
}
