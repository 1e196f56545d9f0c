//! The command line.

use crate::workload::Effort;

pub(crate) const USAGE: &str = "\
Measures tractor beside its peers and beside what the machine allows.

usage: peers [GROUP...] [FILTER] [OPTIONS]    measure, and print a table
       peers page FILE                        print the figures of a JSON file as Markdown
       peers plot FILE                        print the plot of a JSON file as SVG

groups, all of them if none is named:
  local      the runtime alone: tasks, scopes, nurseries, channels, timers
  dialogs    two processes that talk: calls, contexts, streams, cancels
  trees      whole processes: starts, ends, deaths, what is left, what idles

  FILTER           only the workloads whose name contains this
  --list           print the names of the workloads
  --only WHO       one side alone (tractor, tokio, smol, moro, futures, trio, floor, bare, raw, tarpc),
                   to profile it
  --rounds N       rounds of each side, alternating (15)
  --quick          3 short rounds
  --smoke          everything once, to see that it runs: the figures mean nothing
  --json FILE      also write all figures as JSON
  --markdown FILE  also write what `peers page` prints
  --svg FILE       also write what `peers plot` prints
  --help

The table gives median and 99th percentile of all samples, our median in terms of a peer's
(us/them), and each target, met or MISSED. A missed target is no failure: the exit status is 0.";

pub(crate) const LOCAL: &str = "local";
pub(crate) const DIALOGS: &str = "dialogs";
pub(crate) const TREES: &str = "trees";

const GROUPS: [&str; 3] = [LOCAL, DIALOGS, TREES];

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) json: Option<String>,
    pub(crate) markdown: Option<String>,
    pub(crate) svg: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Action {
    Help,
    List(Measurement),
    Measure(Measurement),
    Page(String),
    Plot(String),
}

/// Which workloads, which sides of them, and how thoroughly.
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) groups: Vec<&'static str>,
    pub(crate) filter: String,
    pub(crate) only: Option<String>,
    pub(crate) effort: Effort,
}

impl Request {
    /// # Errors
    ///
    /// What is wrong with the arguments.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let mut words = Vec::new();
        let (mut json, mut markdown, mut svg) = (None, None, None);
        let (mut effort, mut rounds, mut only) = (Effort::full(), None, None);
        let (mut help, mut list) = (false, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--help" | "-h" => help = true,
                "--list" => list = true,
                "--quick" => effort = Effort::quick(),
                "--smoke" => effort = Effort::smoke(),
                "--only" => only = Some(value()?),
                "--json" => json = Some(value()?),
                "--markdown" => markdown = Some(value()?),
                "--svg" => svg = Some(value()?),
                "--rounds" => {
                    let number = value()?.parse().ok().filter(|&number| number > 0);
                    rounds = Some(number.ok_or("--rounds needs a number")?);
                }
                flag if flag.starts_with('-') => return Err(format!("there is no {flag}")),
                _ => words.push(argument),
            }
        }
        effort.rounds = rounds.unwrap_or(effort.rounds);

        let measurement = |words: Vec<String>| {
            let (groups, others): (Vec<_>, Vec<_>) = words
                .iter()
                .map(String::as_str)
                .partition(|word| GROUPS.contains(word));
            if let [_, more, ..] = others[..] {
                return Err(format!(
                    "{more} is no group, and one filter is there already"
                ));
            }
            let is_asked = |group: &&str| groups.is_empty() || groups.contains(group);
            Ok(Measurement {
                groups: GROUPS.into_iter().filter(is_asked).collect(),
                filter: others.first().map_or_else(String::new, ToString::to_string),
                only,
                effort,
            })
        };
        let action = match words.first().map(String::as_str) {
            _ if help => Action::Help,
            Some(what @ ("page" | "plot")) => match (what, &words[1..]) {
                ("page", [file]) => Action::Page(file.clone()),
                ("plot", [file]) => Action::Plot(file.clone()),
                _ => return Err(format!("{what} needs one file")),
            },
            _ if list => Action::List(measurement(words)?),
            _ => Action::Measure(measurement(words)?),
        };
        Ok(Self {
            action,
            json,
            markdown,
            svg,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, DIALOGS, GROUPS, LOCAL, Measurement, Request, TREES};

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(line.split_whitespace().map(str::to_owned))
    }

    fn measurement(line: &str) -> Measurement {
        match parse(line).unwrap().action {
            Action::Measure(measurement) => measurement,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn nothing_asks_for_everything() {
        let all = measurement("");
        assert_eq!(all.groups, GROUPS);
        assert_eq!(all.filter, "");
        assert_eq!(all.effort.rounds, 15);
        assert!(all.only.is_none());
    }

    #[test]
    fn groups_are_picked_by_name_and_the_rest_is_a_filter() {
        assert_eq!(measurement("trees local").groups, [LOCAL, TREES]);
        let some = measurement("dialogs cancel --only tractor");
        assert_eq!(some.groups, [DIALOGS]);
        assert_eq!(some.filter, "cancel");
        assert_eq!(some.only.as_deref(), Some("tractor"));
        assert_eq!(measurement("cancel").groups, GROUPS);
    }

    #[test]
    fn rounds_count_wherever_they_stand() {
        assert_eq!(measurement("--quick --rounds 7").effort.rounds, 7);
        assert_eq!(measurement("--rounds 7 --quick").effort.rounds, 7);
        assert_eq!(measurement("--smoke").effort.rounds, 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--nonsense",
            "--rounds",
            "--rounds 0",
            "--rounds many",
            "one two",
            "page",
            "plot one two",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn files_and_other_actions() {
        let request = parse("local --json a --svg b --markdown c").unwrap();
        let files = (request.json, request.svg, request.markdown);
        assert_eq!(
            files,
            (Some("a".into()), Some("b".into()), Some("c".into()))
        );
        assert!(matches!(parse("--help").unwrap().action, Action::Help));
        assert!(matches!(parse("--list").unwrap().action, Action::List(_)));
        assert!(matches!(parse("page f").unwrap().action, Action::Page(file) if file == "f"));
        assert!(matches!(parse("plot f").unwrap().action, Action::Plot(file) if file == "f"));
    }
}
