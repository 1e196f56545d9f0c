//! How long a cancel takes, against how many it reaches and how deep it goes, as SVG.

use std::fmt::{self, Write};
use std::ops::RangeInclusive;

use crate::report::Report;
use crate::workload::US;

/// What is plotted, from the workloads of some curves.
struct Panel {
    title: &'static str,
    across: &'static str,
    /// The name of a curve, what is added to a peer's name in the legend, and how it is drawn.
    curves: &'static [(&'static str, &'static str, &'static str)],
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "Cancel of blocked tasks, until all are joined",
        across: "tasks",
        curves: &[("tasks", "", "none")],
    },
    Panel {
        title: "Cancel from outside, until all are left",
        across: "depth",
        curves: &[
            ("nurseries", ", nurseries", "none"),
            ("scopes", ", scopes", "5 4"),
        ],
    },
];

/// Who is shown: everybody in one colour, ours the one to see first. Interpreted trio is a hundred
/// times slower than all these, which could not be told apart beside it.
const COLOURS: [(&str, &str); 5] = [
    (US, "#c8102e"),
    ("tokio", "#1f5fbf"),
    ("smol", "#1b8a5a"),
    ("moro", "#8a3ab9"),
    ("futures", "#7a7a7a"),
];

/// Those whose tasks are dropped and told nothing.
const DROP: [&str; 3] = ["smol", "moro", "futures"];

const WIDTH: f64 = 490.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 82.0;
const RIGHT: f64 = 124.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 52.0;

/// The height of a name.
const NAME: f64 = 15.0;

/// One line.
#[derive(Debug, PartialEq)]
struct Line {
    who: String,
    colour: &'static str,
    dashes: &'static str,
    /// How many, and nanoseconds.
    points: Vec<(f64, f64)>,
}

pub(crate) fn svg(report: &Report) -> String {
    let mut text = String::new();
    write(&mut text, report).expect("a text has room");
    text
}

fn write(text: &mut String, report: &Report) -> fmt::Result {
    let width = WIDTH * PANELS.len() as f64;
    writeln!(
        text,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#222">
<rect width="100%" height="100%" fill="white"/>"##
    )?;
    for (index, panel) in PANELS.iter().enumerate() {
        let lines = lines(report, panel);
        writeln!(
            text,
            r#"<g transform="translate({} 0)">"#,
            WIDTH * index as f64
        )?;
        draw(text, panel, &lines)?;
        writeln!(text, "</g>")?;
    }
    writeln!(text, "</svg>")
}

fn lines(report: &Report, panel: &Panel) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for &(curve, suffix, dashes) in panel.curves {
        for entry in &report.workloads {
            let Some(point) = entry.point.as_ref().filter(|point| point.curve == curve) else {
                continue;
            };
            for side in &entry.sides {
                let Some(colour) = colour(&side.who) else {
                    continue;
                };
                let drops = DROP.contains(&side.who.as_str());
                let drops = if drops { " (drops)" } else { "" };
                let who = format!("{}{suffix}{drops}", side.who);
                let time = entry.unit.to_base(side.median) * point.parts as f64;
                let point = (point.at as f64, time);
                match lines.iter_mut().find(|line| line.who == who) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line {
                        colour,
                        who,
                        dashes,
                        points: vec![point],
                    }),
                }
            }
        }
    }
    lines
}

fn colour(who: &str) -> Option<&'static str> {
    let known = COLOURS.iter().find(|(name, _)| *name == who)?;
    Some(known.1)
}

fn draw(text: &mut String, panel: &Panel, lines: &[Line]) -> fmt::Result {
    let all = || lines.iter().flat_map(|line| &line.points);
    let (xs, ys) = (
        decades(all().map(|point| point.0)),
        decades(all().map(|point| point.1)),
    );
    let x = |at: f64| LEFT + share(&xs, at) * (WIDTH - LEFT - RIGHT);
    let y = |time: f64| HEIGHT - BOTTOM - share(&ys, time) * (HEIGHT - TOP - BOTTOM);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);

    writeln!(
        text,
        r#"<text x="{LEFT}" y="24" font-size="14" font-weight="bold">{}</text>"#,
        panel.title
    )?;
    for exponent in xs.clone() {
        let at = x(10f64.powi(exponent));
        writeln!(
            text,
            r##"<path d="M{at:.1} {TOP}V{bottom}" stroke="#ddd"/>"##
        )?;
        let label = many(exponent);
        writeln!(
            text,
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            bottom + 18.0
        )?;
    }
    for exponent in ys.clone() {
        let at = y(10f64.powi(exponent));
        writeln!(
            text,
            r##"<path d="M{LEFT} {at:.1}H{right}" stroke="#ddd"/>"##
        )?;
        let label = time(exponent);
        writeln!(
            text,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
            LEFT - 8.0,
            at + 4.0
        )?;
    }
    writeln!(
        text,
        r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#222"/>"##
    )?;
    writeln!(
        text,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        (LEFT + right) / 2.0,
        HEIGHT - 12.0,
        panel.across
    )?;

    let middle = (TOP + bottom) / 2.0;
    writeln!(
        text,
        r#"<text x="16" y="{middle:.1}" text-anchor="middle" transform="rotate(-90 16 {middle:.1})">time (median)</text>"#
    )?;

    // Ours is drawn last, above all others.
    for line in lines.iter().rev() {
        let width = if line.colour == COLOURS[0].1 {
            3.0
        } else {
            1.8
        };
        let points = line.points.iter();
        let points: Vec<_> = points
            .map(|&(at, time)| format!("{:.1},{:.1}", x(at), y(time)))
            .collect();
        writeln!(
            text,
            r#"<polyline points="{}" fill="none" stroke="{}" stroke-width="{width}" stroke-dasharray="{}" stroke-linejoin="round"/>"#,
            points.join(" "),
            line.colour,
            line.dashes
        )?;
        for point in &points {
            let (x, y) = point.split_once(',').expect("it is a pair");
            writeln!(
                text,
                r#"<circle cx="{x}" cy="{y}" r="{:.1}" fill="{}"/>"#,
                width + 0.6,
                line.colour
            )?;
        }
    }

    let mut named: Vec<_> = lines.iter().collect();
    let end = |line: &Line| line.points.last().map_or(bottom, |&(_, time)| y(time));
    named.sort_by(|one, other| end(one).total_cmp(&end(other)));
    let heights = spread(named.iter().map(|line| end(line)).collect());
    for (line, height) in named.into_iter().zip(heights) {
        writeln!(
            text,
            r#"<text x="{:.1}" y="{:.1}" fill="{}">{}</text>"#,
            right + 10.0,
            height + 4.0,
            line.colour,
            line.who
        )?;
    }
    Ok(())
}

/// The heights of names that would stand at these, from the top down, but for standing on each
/// other: neighbours give way in equal parts.
fn spread(mut heights: Vec<f64>) -> Vec<f64> {
    for _ in 0..100 {
        for index in 1..heights.len() {
            let overlap = NAME - (heights[index] - heights[index - 1]);
            if overlap > 0.0 {
                heights[index - 1] -= overlap / 2.0;
                heights[index] += overlap / 2.0;
            }
        }
    }
    heights
}

/// The exponents of ten from below all of these to above.
fn decades(values: impl Iterator<Item = f64>) -> RangeInclusive<i32> {
    let (mut least, mut most) = (f64::MAX, f64::MIN_POSITIVE);
    for value in values {
        least = least.min(value);
        most = most.max(value);
    }
    if least > most {
        return 0..=1;
    }
    let first = least.log10().floor() as i32;
    first..=(most.log10().ceil() as i32).max(first + 1)
}

/// How far up between the ends this is.
fn share(decades: &RangeInclusive<i32>, value: f64) -> f64 {
    let (first, last) = (f64::from(*decades.start()), f64::from(*decades.end()));
    (value.log10() - first) / (last - first)
}

/// `10k`.
fn many(exponent: i32) -> String {
    scaled(exponent, &["", "k", "M"])
}

/// So many nanoseconds: `10 us`.
fn time(exponent: i32) -> String {
    scaled(exponent, &[" ns", " us", " ms", " s"])
}

fn scaled(exponent: i32, units: &[&str]) -> String {
    let unit = (exponent / 3).clamp(0, units.len() as i32 - 1);
    format!(
        "{}{}",
        10f64.powi(exponent - 3 * unit),
        units[unit as usize]
    )
}

#[cfg(test)]
mod tests {
    use super::{NAME, PANELS, decades, lines, many, share, spread, svg, time};
    use crate::machine::Machine;
    use crate::report::{Entry, Figures, Point, Report};
    use crate::workload::Unit;

    /// Two sides, at 10 and at 1000, of a curve whose medians are those of one of many.
    fn report() -> Report {
        let entry = |at: usize, medians: [f64; 2]| Entry {
            group: "local".into(),
            name: "cancel".into(),
            unit: Unit::Microseconds,
            point: Some(Point {
                curve: "tasks".into(),
                at,
                parts: at,
            }),
            sides: [("tractor", medians[0]), ("tokio", medians[1])]
                .map(|(who, median)| Figures {
                    who: who.into(),
                    median,
                    p99: median,
                    samples: 1,
                    rounds: 1,
                    ratio: None,
                    counts: Vec::new(),
                })
                .into(),
            verdicts: Vec::new(),
        };
        Report {
            machine: Machine::here(),
            rounds: 1,
            workloads: vec![entry(10, [0.5, 2.0]), entry(1000, [0.25, 1.0])],
        }
    }

    #[test]
    fn lines_go_through_the_times_of_all() {
        let lines = lines(&report(), &PANELS[0]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].who, "tractor");
        assert_eq!(lines[0].points, [(10.0, 5e3), (1000.0, 250e3)]);
        assert_eq!(lines[1].points, [(10.0, 20e3), (1000.0, 1e6)]);
        assert!(super::lines(&report(), &PANELS[1]).is_empty());
    }

    #[test]
    fn axes_are_whole_decades_around_all_points() {
        assert_eq!(decades([5e3, 1e6].into_iter()), 3..=6);
        assert_eq!(decades([10.0, 10.0].into_iter()), 1..=2);
        assert_eq!(decades([].into_iter()), 0..=1);
        assert_eq!(share(&(3..=5), 1e4), 0.5);
    }

    #[test]
    fn labels_have_units() {
        assert_eq!([0, 2, 3, 5].map(many), ["1", "100", "1k", "100k"]);
        assert_eq!(
            [0, 3, 5, 6, 10].map(time),
            ["1 ns", "1 us", "100 us", "1 ms", "10 s"]
        );
    }

    #[test]
    fn names_do_not_stand_on_each_other() {
        assert!(spread(Vec::new()).is_empty());
        assert_eq!(spread(vec![10.0, 50.0]), [10.0, 50.0]);
        assert_eq!(spread(vec![10.0, 15.0]), [5.0, 20.0]);
        let heights = spread(vec![10.0, 10.0, 12.0, 12.0, 100.0]);
        let mut gaps = heights.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.all(|gap| gap > NAME - 0.1), "{heights:?}");
    }

    #[test]
    fn every_line_is_drawn_and_named() {
        let text = svg(&report());
        assert_eq!(text.matches("<polyline").count(), 2);
        assert_eq!(text.matches("<circle").count(), 4);
        for name in [">tractor<", ">tokio<", ">tasks<", ">depth<"] {
            assert_eq!(text.matches(name).count(), 1, "{name}: {text}");
        }
        assert_eq!(text.matches("<g ").count(), text.matches("</g>").count());
    }

    #[test]
    fn nothing_measured_is_an_empty_plot() {
        let mut report = report();
        report.workloads.clear();
        let text = svg(&report);
        assert_eq!(text.matches("<polyline").count(), 0);
        assert!(!text.contains("NaN"), "{text}");
    }
}
