//! A task's learning curve as an SVG picture: the figures that trainers report of the
//! model they start a round from, averaged by their examples. Nobody checks them, and
//! the picture says so.

use crate::api::view::mean_metrics;
use parking_lot::Mutex;
use plotters::prelude::*;
use std::collections::BTreeMap;
use twinfold_ledger::{LedgerError, Reader};
use twinfold_types::{
    ClusterId, TaskId,
    round::{Metrics, RoundKey, RoundState},
    task::Task,
};

/// Newest rounds of a cluster in the picture.
const ROUNDS_MAX: u64 = 200;
/// Clusters that go into it.
const CLUSTERS_MAX: u16 = 16;
/// Clusters with a line of their own beside the mean.
const LINES_MAX: usize = 4;
/// Ended rounds whose means are kept: they never change.
const KEPT_MAX: usize = 20_000;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 260;
const COLOURS: [RGBColor; LINES_MAX] =
    [RGBColor(214, 120, 40), RGBColor(60, 140, 90), RGBColor(150, 90, 190), RGBColor(190, 70, 90)];
const MEAN: RGBColor = RGBColor(40, 110, 210);
const GREY: RGBColor = RGBColor(128, 128, 128);

/// Means of ended rounds, so that a page does not read every update again.
#[derive(Default)]
pub struct Curves {
    ended: Mutex<BTreeMap<RoundKey, Point>>,
}

/// One cluster's round.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    round: u64,
    weight: u64,
    metrics: Metrics,
}

/// What the picture shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Accuracy where trainers report it, else loss.
    pub what: &'static str,
    pub is_accuracy: bool,
    /// Over all clusters, by round.
    pub mean: Vec<(u64, f64)>,
    clusters: Vec<(ClusterId, Vec<(u64, f64)>)>,
}

impl Curves {
    /// The curve of a task; none before the first update.
    pub fn of(&self, reader: &Reader, task: &Task) -> Result<Option<Curve>, LedgerError> {
        let mut clusters = Vec::new();
        for id in (0..task.spec.clusters.min(CLUSTERS_MAX)).map(ClusterId) {
            clusters.push((id, self.points(reader, task.id, id)?));
        }
        Ok(curve(&clusters))
    }

    fn points(
        &self,
        reader: &Reader,
        task: TaskId,
        id: ClusterId,
    ) -> Result<Vec<Point>, LedgerError> {
        let Some(cluster) = reader.cluster(&task, id)? else { return Ok(vec![]) };
        let newest = cluster.collecting;
        let first = newest.0.saturating_sub(ROUNDS_MAX - 1);
        let mut points = Vec::new();
        for round in first..=newest.0 {
            let key = RoundKey { task, cluster: id, round: twinfold_types::RoundNumber(round) };
            points.extend(self.point(reader, key)?);
        }
        Ok(points)
    }

    fn point(&self, reader: &Reader, key: RoundKey) -> Result<Option<Point>, LedgerError> {
        if let Some(kept) = self.ended.lock().get(&key) {
            return Ok(Some(*kept));
        }
        let Some((round, entries)) = reader.round_with_entries(&key)? else { return Ok(None) };
        let Some((weight, metrics)) = mean_metrics(&entries) else { return Ok(None) };
        let point = Point { round: key.round.0, weight, metrics };
        if !matches!(round.state, RoundState::Open | RoundState::Collecting { .. }) {
            let mut ended = self.ended.lock();
            if ended.len() >= KEPT_MAX {
                ended.clear();
            }
            ended.insert(key, point);
        }
        Ok(Some(point))
    }
}

fn curve(clusters: &[(ClusterId, Vec<Point>)]) -> Option<Curve> {
    let points = || clusters.iter().flat_map(|(_, points)| points);
    let is_accuracy = points().any(|point| point.metrics.accuracy.is_some());
    let value = |point: &Point| match is_accuracy {
        true => point.metrics.accuracy(),
        false => Some(point.metrics.loss()),
    };
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for point in points() {
        if let Some(value) = value(point) {
            let (sum, weight) = sums.entry(point.round).or_default();
            *sum += value * point.weight as f64;
            *weight += point.weight as f64;
        }
    }
    let mean: Vec<_> = sums
        .into_iter()
        .filter(|(_, (_, weight))| *weight > 0.0)
        .map(|(round, (sum, weight))| (round, sum / weight))
        .collect();
    if mean.is_empty() {
        return None;
    }
    let line = |points: &[Point]| {
        points.iter().filter_map(|point| Some((point.round, value(point)?))).collect()
    };
    let single = clusters.len() < 2 || clusters.len() > LINES_MAX;
    let own = if single { &[] } else { clusters };
    let clusters = own.iter().map(|(id, points)| (*id, line(points))).collect();
    let what = if is_accuracy { "accuracy" } else { "loss" };
    Some(Curve { what, is_accuracy, mean, clusters })
}

impl Curve {
    /// The newest mean.
    pub fn newest(&self) -> Option<f64> {
        self.mean.last().map(|(_, value)| *value)
    }

    /// The picture. It holds numbers and fixed words only.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        if let Err(error) = self.draw(&mut svg) {
            tracing::error!(%error, "a curve could not be drawn");
            return String::new();
        }
        svg
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
        let (rounds, values) = self.ranges();
        let font = ("sans-serif", 14).into_font().color(&GREY);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(48)
            .build_cartesian_2d(rounds, values)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.25))
            .axis_style(GREY)
            .label_style(font.clone())
            .axis_desc_style(font)
            .x_desc("round")
            .y_desc(self.what)
            .x_labels(10)
            .y_labels(5)
            .y_label_formatter(&|value| format!("{value:.2}"))
            .draw()?;
        for (colour, (_, line)) in COLOURS.iter().zip(&self.clusters) {
            let line = line.iter().copied();
            chart.draw_series(LineSeries::new(line, colour.stroke_width(1)))?;
        }
        let mean = || self.mean.iter().copied();
        chart.draw_series(LineSeries::new(mean(), MEAN.stroke_width(2)))?;
        // A line of one point would not be seen.
        chart.draw_series(mean().map(|point| Circle::new(point, 2, MEAN.filled())))?;
        area.present()?;
        drop(chart);
        Ok(())
    }

    /// Never empty: a picture of one round has a width too.
    fn ranges(&self) -> (std::ops::Range<u64>, std::ops::Range<f64>) {
        let lines = || self.clusters.iter().flat_map(|(_, line)| line).chain(&self.mean);
        let rounds = lines().map(|(round, _)| *round);
        let (first, last) = rounds.fold((u64::MAX, 0), |(a, b), x| (a.min(x), b.max(x)));
        let highest = lines().map(|(_, value)| *value).fold(0.0, f64::max);
        let top = if self.is_accuracy { 1.0 } else { (highest * 1.1).max(0.1) };
        (first..last.max(first.saturating_add(1)), 0.0..top.max(highest))
    }

    /// Which colour is which, for the legend: (colour, name).
    pub fn legend(&self) -> Vec<(&'static str, String)> {
        const NAMES: [&str; LINES_MAX] = ["orange", "green", "violet", "red"];
        let clusters = NAMES.iter().zip(&self.clusters);
        let clusters = clusters.map(|(colour, (id, _))| (*colour, format!("cluster {id}")));
        std::iter::once(("blue", "all clusters".to_string())).chain(clusters).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(round: u64, weight: u64, loss: f64, accuracy: Option<f64>) -> Point {
        Point { round, weight, metrics: Metrics::from_reals(loss, accuracy) }
    }

    fn two_clusters() -> Curve {
        let first = vec![point(0, 100, 2.0, Some(0.25)), point(1, 100, 1.0, Some(0.5))];
        let second = vec![point(0, 300, 2.0, Some(0.75))];
        curve(&[(ClusterId(0), first), (ClusterId(1), second)]).unwrap()
    }

    #[test]
    fn the_mean_over_clusters_is_weighted_by_examples() {
        let curve = two_clusters();
        assert_eq!(curve.what, "accuracy");
        assert_eq!(curve.mean, [(0, 0.625), (1, 0.5)]);
        assert_eq!(curve.newest(), Some(0.5));
        assert_eq!(curve.legend().len(), 3);
    }

    #[test]
    fn without_accuracies_the_loss_is_shown() {
        let curve = curve(&[(ClusterId(0), vec![point(3, 10, 1.5, None)])]).unwrap();
        assert_eq!((curve.what, curve.mean.clone()), ("loss", vec![(3, 1.5)]));
        assert_eq!(curve.legend().len(), 1, "one cluster needs no line of its own");
    }

    #[test]
    fn a_task_without_updates_has_no_curve() {
        assert_eq!(curve(&[(ClusterId(0), vec![])]), None);
        assert_eq!(curve(&[(ClusterId(0), vec![point(0, 0, 1.0, None)])]), None);
    }

    #[test]
    fn the_picture_is_one_svg_element_with_a_line_for_each_series_and_no_script() {
        let svg = two_clusters().svg();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("viewBox"), "it must shrink on a phone");
        let lines = svg.matches("stroke=\"#286ED2\"").count();
        assert!(lines >= 1, "{svg}");
        assert!(
            !svg.contains("script") && !svg.contains("NaN") && !svg.contains("style="),
            "{svg}"
        );
        // One point alone is drawn too.
        let one = curve(&[(ClusterId(0), vec![point(3, 10, 1.5, None)])]).unwrap().svg();
        assert!(one.contains("<circle"), "{one}");
    }
}
