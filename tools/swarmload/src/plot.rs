//! One picture of a run: latency by percentile, drawn towards the rare ones, and throughput over time.

use std::fmt::Display;
use std::path::Path;

use hdrhistogram::Histogram;
use plotters::prelude::*;

use crate::failure::Failure;
use crate::run::Findings;

/// Pixels of the whole picture.
const SIZE: (u32, u32) = (900, 760);

/// How many nines the percentile axis has room for.
const MAX_NINES: f64 = 6.0;

/// Steps of the percentile line for each nine.
const STEPS_PER_NINE: u32 = 40;

const LATENCY: RGBColor = RGBColor(31, 95, 160);
const SCHEDULE: RGBColor = RGBColor(200, 90, 30);
const THROUGHPUT: RGBColor = RGBColor(40, 130, 80);

/// Draws into an SVG file. `title` says what was loaded how.
pub(crate) fn draw(path: &Path, title: &str, findings: &Findings, is_open_loop: bool) -> Result<(), Failure> {
    let drawn = |error: &dyn Display| Failure::new(format!("the plot cannot be drawn: {error}"));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| drawn(&error))?;
        let root = root.titled(title, ("sans-serif", 18)).map_err(|error| drawn(&error))?;
        let (upper, lower) = root.split_vertically(420);
        let schedule = is_open_loop.then_some(&findings.tally.schedule_latency);
        percentiles(&upper, &findings.tally.latency, schedule).map_err(|error| drawn(&error))?;
        throughput(&lower, findings).map_err(|error| drawn(&error))?;
        root.present().map_err(|error| drawn(&error))?;
    }
    std::fs::write(path, svg).map_err(|error| Failure::from(error).context(path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// Latency in milliseconds, logarithmic, by nines: 1 is the 90th percentile, 2 the 99th.
fn percentiles(area: &Area<'_>, latency: &Histogram<u64>, schedule: Option<&Histogram<u64>>) -> Result<(), DrawError> {
    let nines = (latency.len().max(10) as f64).log10().min(MAX_NINES);
    let slowest = schedule.map_or(0, Histogram::max).max(latency.max());
    let fastest = latency.min().max(1_000) as f64 * 1e-6;
    let top = (slowest as f64 * 1.2e-6).max(fastest * 10.0);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..nines, (fastest..top).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("block latency, ms")
        .x_labels(nines.floor() as usize + 1)
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|ms| milliseconds(*ms))
        .draw()?;
    let line = |histogram: &Histogram<u64>| {
        let steps = (nines * f64::from(STEPS_PER_NINE)) as u32;
        let at = |step: u32| f64::from(step) / f64::from(STEPS_PER_NINE);
        let value = |nines: f64| histogram.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64 * 1e-6;
        (0..=steps).map(|step| (at(step), value(at(step)).max(fastest))).collect::<Vec<_>>()
    };
    let drawn = chart.draw_series(LineSeries::new(line(latency), LATENCY.stroke_width(2)))?;
    drawn.label("from the request").legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], LATENCY.stroke_width(2)));
    if let Some(schedule) = schedule {
        let drawn = chart.draw_series(LineSeries::new(line(schedule), SCHEDULE.stroke_width(2)))?;
        let legend = |(x, y)| PathElement::new([(x, y), (x + 18, y)], SCHEDULE.stroke_width(2));
        drawn.label("from the schedule").legend(legend);
        let position = SeriesLabelPosition::UpperLeft;
        chart.configure_series_labels().position(position).background_style(WHITE).border_style(BLACK).draw()?;
    }
    Ok(())
}

fn throughput(area: &Area<'_>, findings: &Findings) -> Result<(), DrawError> {
    let mut since_s = 0.0;
    let mut points = Vec::new();
    for sample in &findings.timeline {
        let rate = sample.bytes as f64 * 8e-9 / (sample.t_s - since_s).max(1e-3);
        // A step for each sample: what is between two of them is not known.
        points.extend([(since_s, rate), (sample.t_s, rate)]);
        since_s = sample.t_s;
    }
    let top = points.iter().map(|(_, rate)| *rate).fold(0.01, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..findings.duration_s, 0.0..top)?;
    chart
        .configure_mesh()
        .max_light_lines(2)
        .x_desc("seconds")
        .y_desc("Gbit/s")
        .y_label_formatter(&|rate| format!("{rate:.1}"))
        .draw()?;
    chart.draw_series(AreaSeries::new(points, 0.0, THROUGHPUT.mix(0.25)).border_style(THROUGHPUT.stroke_width(2)))?;
    Ok(())
}

fn percentile(nines: f64) -> String {
    let decimals = (nines.ceil() as usize).saturating_sub(2);
    format!("{:.decimals$}", 100.0 * (1.0 - 10f64.powf(-nines)))
}

fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 0.1 => format!("{ms:.3}"),
        ms if ms < 1.0 => format!("{ms:.2}"),
        ms if ms < 10.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}
