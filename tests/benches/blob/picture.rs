//! What payloads cost the nodes over their size, as a picture, both logarithmic.

use super::Curves;
use color_eyre::eyre::{Result, eyre};
use plotters::prelude::*;

const WIDTH: u32 = 720;
const HEIGHT: u32 = 420;

pub fn svg(curves: &Curves) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, curves).map_err(|error| eyre!("cannot draw: {error}"))?;
    Ok(text)
}

fn draw(text: &mut String, curves: &Curves) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let all = curves.fragments.iter().chain(&curves.whole);
    let most = all.map(|(_, ms)| *ms).fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((1e3..2e9).log_scale(), (1.0..most * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("bytes of a payload")
        .y_desc("CPU of four nodes until it is certified, ms")
        .x_label_formatter(&|bytes| format!("{bytes:.0e}"))
        .y_label_formatter(&|ms| format!("{ms:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    let series = [
        (&curves.fragments, "in fragments", RGBColor(40, 110, 210)),
        (&curves.whole, "whole copies", RGBColor(214, 120, 40)),
    ];
    for (curve, name, colour) in series {
        let mut points: Vec<_> = curve.iter().map(|(bytes, ms)| (*bytes as f64, *ms)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
