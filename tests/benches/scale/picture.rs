//! The curves of `scale` as a picture: time to commit over the number of nodes, both logarithmic;
//! what the links and the leader's bandwidth alone would take is dashed.

use super::Curve;
use color_eyre::eyre::{Result, eyre};
use plotters::prelude::*;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 420;
const COLOURS: [RGBColor; 3] =
    [RGBColor(40, 110, 210), RGBColor(214, 120, 40), RGBColor(60, 140, 90)];

pub fn svg(curves: &[Curve]) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, curves).map_err(|error| eyre!("cannot draw: {error}"))?;
    Ok(text)
}

fn draw(text: &mut String, curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let times = curves.iter().flat_map(|curve| curve.measured.iter().chain(&curve.least));
    let most = times.map(|(_, ms)| *ms).fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((4f64..100f64).log_scale(), (10f64..most * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("nodes, all of them voting")
        .y_desc("ms from proposal to commit everywhere")
        .x_label_formatter(&|nodes| format!("{nodes:.0}"))
        .y_label_formatter(&|ms| format!("{ms:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS) {
        let points = |line: &[(usize, f64)]| -> Vec<(f64, f64)> {
            line.iter().map(|(nodes, ms)| (*nodes as f64, *ms)).collect()
        };
        chart
            .draw_series(LineSeries::new(points(&curve.measured), colour.stroke_width(2)))?
            .label(format!("{} ms links", curve.link_ms))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        let dashed = DashedLineSeries::new(points(&curve.least), 4, 4, colour.stroke_width(1));
        chart.draw_series(dashed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
