//! A report as Markdown.

use std::fmt::{self, Write};

use crate::report::{Entry, Figures, Report};

/// The tables of all groups, the targets that were missed, and the peers that were faster.
pub(crate) fn markdown(report: &Report) -> String {
    let mut page = String::new();
    write(&mut page, report).expect("a text has room");
    page
}

fn write(page: &mut String, report: &Report) -> fmt::Result {
    let (targets, missed) = report.targets();
    writeln!(page, "## Figures\n\n{}.", report.machine)?;
    writeln!(
        page,
        "{} rounds; {} of {targets} targets met.",
        report.rounds,
        targets - missed
    )?;
    for group in report
        .workloads
        .chunk_by(|one, next| one.group == next.group)
    {
        writeln!(page, "\n### `{}`\n", group[0].group)?;
        writeln!(
            page,
            "| workload | tractor, median (p99) | beside it, median (us/them) | targets |"
        )?;
        writeln!(page, "| --- | --- | --- | --- |")?;
        for entry in group {
            row(page, entry)?;
        }
    }

    writeln!(page, "\n### Targets missed\n")?;
    let entries = report.workloads.iter();
    let missed = entries.flat_map(|entry| {
        let missed = entry.verdicts.iter().filter(|verdict| !verdict.met);
        missed.filter_map(move |verdict| Some((entry, entry.ours()?, verdict)))
    });
    let lines = missed.map(|(entry, ours, verdict)| {
        let (name, target) = (&entry.name, &verdict.target);
        match verdict.limit {
            Some(limit) => {
                let (median, limit) = (entry.show(ours.median), entry.show(limit));
                format!("{name}: {median}, {target} is {limit}")
            }
            None => format!("{name}: {target}"),
        }
    });
    list(page, lines)?;

    writeln!(page, "\n### Where a peer is faster\n")?;
    let entries = report.workloads.iter();
    let behind = entries.flat_map(|entry| {
        let peers = entry.peers().filter(|peer| !is_floor(peer));
        peers.filter_map(move |peer| Some((entry, peer, peer.ratio.filter(|&ratio| ratio > 1.0)?)))
    });
    let lines =
        behind.map(|(entry, peer, ratio)| format!("{}: {ratio:.2}x {}", entry.name, peer.who));
    list(page, lines)
}

/// Whether this is what the machine allows, which is no peer.
fn is_floor(side: &Figures) -> bool {
    ["floor", "bare", "raw"].contains(&side.who.as_str())
}

fn row(page: &mut String, entry: &Entry) -> fmt::Result {
    let ours = entry
        .ours()
        .map(|ours| format!("{} ({})", entry.show(ours.median), entry.show(ours.p99)));
    let peers = entry.peers().map(|peer| {
        let ratio = peer.ratio.map(|ratio| format!(" ({ratio:.2}x)"));
        format!(
            "{} {}{}",
            peer.who,
            entry.show(peer.median),
            ratio.unwrap_or_default()
        )
    });
    let verdicts = entry.verdicts.iter().map(|verdict| match verdict.met {
        true => format!("{} met", verdict.target),
        false => format!("**{} missed**", verdict.target),
    });
    writeln!(
        page,
        "| {} | {} | {} | {} |",
        entry.name,
        ours.unwrap_or_default(),
        peers.collect::<Vec<_>>().join(", "),
        verdicts.collect::<Vec<_>>().join(", "),
    )
}

fn list(page: &mut String, lines: impl Iterator<Item = String>) -> fmt::Result {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return writeln!(page, "None.");
    }
    lines.try_for_each(|line| writeln!(page, "* {line}"))
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::machine::Machine;
    use crate::report::Report;

    /// Two groups, a target met and one missed, a peer that is faster and a floor that is.
    const RESULTS: &str = r#"{
        "machine": {
            "processor": "a processor", "cores": 2, "kernel": "6.1", "load": 0.5,
            "commit": "0123456789ab", "date": "2026-01-02T03:04:05Z"
        },
        "rounds": 15,
        "workloads": [
            {
                "group": "local", "name": "yield", "unit": "ns",
                "sides": [
                    {"who": "tractor", "median": 20.0, "p99": 31.5, "samples": 9, "rounds": 15},
                    {"who": "tokio", "median": 40.0, "p99": 44.0, "samples": 9, "rounds": 15, "ratio": 0.5},
                    {"who": "smol", "median": 10.0, "p99": 12.0, "samples": 9, "rounds": 15, "ratio": 2.0}
                ],
                "verdicts": [
                    {"of": "tokio", "target": "<= 0.35x tokio", "limit": 14.0, "met": false}
                ]
            },
            {
                "group": "trees", "name": "cancelled", "unit": "ms",
                "sides": [
                    {
                        "who": "tractor", "median": 1.5, "p99": 2.0, "samples": 9, "rounds": 15,
                        "counts": [{"what": "alive at exit", "count": 0, "of": 13}]
                    },
                    {"who": "floor", "median": 1.0, "p99": 2.0, "samples": 9, "rounds": 15, "ratio": 1.5}
                ],
                "verdicts": [
                    {"of": "tractor", "target": "0 of 13 alive at exit", "met": true}
                ]
            }
        ]
    }"#;

    fn report() -> Report {
        serde_json::from_str(RESULTS).unwrap()
    }

    #[test]
    fn all_there_is_to_say() {
        let expected = "\
## Figures

2026-01-02T03:04:05Z, commit 0123456789ab, a processor, 2 cores, Linux 6.1, load 0.5.
15 rounds; 1 of 2 targets met.

### `local`

| workload | tractor, median (p99) | beside it, median (us/them) | targets |
| --- | --- | --- | --- |
| yield | 20.0 ns (31.5 ns) | tokio 40.0 ns (0.50x), smol 10.0 ns (2.00x) | **<= 0.35x tokio missed** |

### `trees`

| workload | tractor, median (p99) | beside it, median (us/them) | targets |
| --- | --- | --- | --- |
| cancelled | 1.50 ms (2.00 ms) | floor 1.00 ms (1.50x) | 0 of 13 alive at exit met |

### Targets missed

* yield: 20.0 ns, <= 0.35x tokio is 14.0 ns

### Where a peer is faster

* yield: 2.00x smol
";
        assert_eq!(markdown(&report()), expected);
    }

    #[test]
    fn nothing_to_confess() {
        let mut report = report();
        report.workloads.remove(0);
        let page = markdown(&report);
        assert!(page.contains("### Targets missed\n\nNone.\n"), "{page}");
        assert!(
            page.ends_with("### Where a peer is faster\n\nNone.\n"),
            "{page}"
        );
    }

    #[test]
    fn reports_come_back_from_json_as_they_were() {
        let report = Report {
            machine: Machine::here(),
            ..report()
        };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn the_page_is_what_the_results_come_to() {
        let results = serde_json::from_str(include_str!("../results.json")).unwrap();
        assert_eq!(include_str!("../figures.md"), markdown(&results));
        assert_eq!(include_str!("../cancel.svg"), crate::plot::svg(&results));
    }
}
