//! The plot: for each type and number of agents, how many times the limit a rollout takes.

use std::fmt::Write as _;

use crate::report::{Report, Run};

/// The aim.
const AIM: f64 = 1.3;
/// Sizes in pixels.
const BAR: f64 = 46.0;
const GAP: f64 = 14.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 34.0;
const HEIGHT: f64 = 220.0;
const BELOW: f64 = 58.0;

/// A bar for each run, with a line for its repeats, and the aim.
pub fn ratios(report: &Report) -> String {
    let runs: Vec<&Run> = report.all().collect();
    let most = runs.iter().map(|run| run.spread.ratio.most).fold(AIM * 1.5, f64::max);
    let y = |ratio: f64| TOP + HEIGHT * (1.0 - ratio / most);
    // A new type begins after a wider gap.
    let mut places = Vec::new();
    let mut x = LEFT + GAP;
    for (n, run) in runs.iter().enumerate() {
        if n > 0 && runs[n - 1].kind != run.kind {
            x += 2.0 * GAP;
        }
        places.push(x);
        x += BAR + GAP;
    }
    let (width, height) = (x + GAP, TOP + HEIGHT + BELOW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\" text-anchor=\"middle\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"16\" text-anchor=\"start\" font-size=\"13\">Time to the final status, in times of the \
         broker's own limit</text>\n"
    );
    // Writing to a string cannot fail.
    for (run, x) in runs.iter().zip(&places) {
        let (top, bottom, middle) = (y(run.ratio), y(0.0), x + BAR / 2.0);
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"{top:.1}\" width=\"{BAR}\" height=\"{:.1}\" fill=\"#4a7aa7\"/>\n\
             <line x1=\"{middle:.0}\" x2=\"{middle:.0}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#222\"/>\n\
             <text x=\"{middle:.0}\" y=\"{:.1}\">{:.2}</text>\n\
             <text x=\"{middle:.0}\" y=\"{:.1}\">{}</text>",
            bottom - top,
            y(run.spread.ratio.most),
            y(run.spread.ratio.least),
            y(run.spread.ratio.most) - 5.0,
            run.ratio,
            bottom + 16.0,
            run.n
        );
    }
    for kind in runs.chunk_by(|a, b| a.kind == b.kind) {
        let first = runs.iter().position(|run| run.kind == kind[0].kind).unwrap_or_default();
        let ends = places.get(first).zip(places.get(first + kind.len() - 1));
        let middle = ends.map_or(0.0, |(a, b)| f64::midpoint(*a, b + BAR));
        let _ = writeln!(out, "<text x=\"{middle:.0}\" y=\"{:.1}\">{}</text>", y(0.0) + 34.0, kind[0].kind);
    }
    let _ = writeln!(
        out,
        "<line x1=\"{LEFT}\" x2=\"{width:.0}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#b03030\" stroke-dasharray=\"4 3\"/>\n\
         <text x=\"{LEFT}\" y=\"{0:.1}\" text-anchor=\"end\" dx=\"-4\" dy=\"4\" fill=\"#b03030\">{AIM}</text>\n\
         <text x=\"{1:.0}\" y=\"{2:.1}\">agents, and type of the task</text>\n</svg>",
        y(AIM),
        width / 2.0,
        height - 8.0
    );
    out
}
