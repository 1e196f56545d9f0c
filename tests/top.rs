//! The example `top` shows the tree of a registrar.

mod common;
#[path = "common/places.rs"]
mod places;
#[path = "common/programs.rs"]
mod programs;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};

use common::{HangGuard, MARKER, Marker};
use places::{Directory, Net, Program, play_daemon, role, say};
use programs::example;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tractor::runtime::time;
use tractor::{
    Address, Context, Dialog, Result, RunOptions, SpawnOptions, current_actor, endpoint, exit_code,
};

struct Silent;
impl Dialog for Silent {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

async fn wait(ctx: &mut Context<Silent>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    Ok(time::sleep_forever().await?)
}
endpoint!(wait);

/// Has actors, one of which runs something for it, until it is told to end.
async fn grow(place: Address) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable(wait);
        an.start_actor("idle", options.clone()).await?;
        let busy = an.start_actor("busy", options).await?;
        busy.open_context(wait, (), async |_, ()| {
            say(&place.to_string());
            Ok(time::sleep_forever().await?)
        })
        .await
    })
    .await
}

#[test]
fn plays_its_role() {
    match role() {
        Some((role, place)) if role == "daemon" => play_daemon(place),
        Some((_, place)) => {
            let options = RunOptions::new().be_registrar([place.clone()]);
            let ended = options.run(async || {
                assert!(current_actor()?.addresses().contains(&place));
                grow(place).await
            });
            std::process::exit(exit_code(&ended.unwrap_err()).into());
        }
        None => {}
    }
}

/// A tree whose registrar is at a socket in that directory.
fn tree(directory: &Directory) -> (Program, Address) {
    let place = directory.at(Net::Unix, "registrar.sock");
    let mut tree = Program::new("tree", &place);
    assert_eq!(tree.hear(), Some(place.to_string()));
    (tree, place)
}

fn once(address: &Address) -> Output {
    let marker = Marker::new();
    let output = Command::new(example("top"))
        .args(["--once", &address.to_string()])
        .env(MARKER, marker.text())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(marker.processes(), []);
    output
}

#[test]
fn shows_a_tree_once() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    let (tree, place) = tree(&directory);
    let output = once(&place);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let summary = lines.next().unwrap();
    // Both sides of the one context.
    let counts = format!("{place}: 3 actors, 2 contexts, ");
    assert!(summary.starts_with(&counts), "{text}");
    let actors: Vec<_> = text
        .lines()
        .filter(|line| line.trim_start().starts_with("actor "))
        .collect();
    assert!(actors[0].starts_with("actor root@"), "{text}");
    for name in ["idle", "busy"] {
        let below = format!("  actor {name}@");
        assert!(
            actors[1..].iter().any(|line| line.starts_with(&below)),
            "{text}"
        );
    }
    let opened = text.find("  context opened at busy@").unwrap();
    let run = text.find("    context run for root@").unwrap();
    assert!(opened < run, "{text}");
    assert!(text.contains("blocked on "), "{text}");
    tree.stop();
}

#[test]
fn says_why_it_shows_nothing() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    let nobody = once(&directory.at(Net::Unix, "nobody.sock"));
    assert_eq!(nobody.status.code(), Some(1));
    assert_eq!(nobody.stdout, b"");
    let text = String::from_utf8(nobody.stderr).unwrap();
    assert!(text.starts_with("top: cannot connect to "), "{text}");
    // Over TCP nobody may look who may not cancel.
    let mut daemon = Program::new("daemon", &directory.at(Net::Tcp, ""));
    let place = daemon.hear().unwrap().parse().unwrap();
    let denied = once(&place);
    assert_eq!(denied.status.code(), Some(1));
    assert_eq!(denied.stdout, b"");
    let text = String::from_utf8(denied.stderr).unwrap();
    assert!(
        text.contains("PermissionDenied") && text.contains("may not look into"),
        "{text}"
    );
    daemon.stop();
}

/// `top` at a terminal of its own.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    top: Child,
    screen: Screen,
    _marker: Marker,
}

/// What is to be seen at a terminal that knows as much as this program needs.
#[derive(Default)]
struct Screen {
    rows: BTreeMap<usize, BTreeMap<usize, char>>,
    row: usize,
    column: usize,
    /// Whether it is the one for programs that draw.
    is_other: bool,
    /// What has come of something that is not whole.
    rest: Vec<u8>,
}

impl Screen {
    fn feed(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text: Vec<char> = std::str::from_utf8(&self.rest[..whole])
            .unwrap()
            .chars()
            .collect();
        let mut place = 0;
        while let Some(char) = text.get(place) {
            place += 1;
            if *char != '\u{1b}' {
                self.rows
                    .entry(self.row)
                    .or_default()
                    .insert(self.column, *char);
                self.column += 1;
                continue;
            }
            let ends = |char: &char| char.is_ascii_alphabetic();
            let Some(end) = text[place..].iter().position(ends) else {
                place -= 1;
                break;
            };
            let command: String = text[place..=place + end].iter().collect();
            place += end + 1;
            self.obey(&command);
        }
        let used: usize = text[..place].iter().map(|char| char.len_utf8()).sum();
        self.rest.drain(..used);
    }

    fn obey(&mut self, command: &str) {
        match command {
            "[?1049h" => self.is_other = true,
            "[?1049l" => self.is_other = false,
            "[2J" => self.rows.clear(),
            _ => {
                let to = command
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix('H'));
                if let Some((row, column)) = to.and_then(|to| to.split_once(';')) {
                    self.row = row.parse().unwrap();
                    self.column = column.parse().unwrap();
                }
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for row in self.rows.values() {
            let end = row.keys().last().map_or(0, |last| last + 1);
            // What was never written to is empty; the first column is 1.
            text.extend((1..end).map(|column| row.get(&column).unwrap_or(&' ')));
            text.push('\n');
        }
        text
    }
}

impl Terminal {
    fn new(address: &Address) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = open(name, flags, Mode::empty()).unwrap();
        let marker = Marker::new();
        let top = Command::new("env")
            .args(["--default-signal", "setsid", "--ctty", "--wait"])
            .arg(example("top"))
            .arg(address.to_string())
            .env(MARKER, marker.text())
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut terminal = Self {
            ours: ours.into(),
            theirs,
            top,
            screen: Screen::default(),
            _marker: marker,
        };
        terminal.resize(120, 40);
        terminal
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.ours, size).unwrap();
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is so.
    fn wait_until(&mut self, is_so: impl Fn(&Screen) -> bool) {
        while !is_so(&self.screen) {
            let mut bytes = [0; 4096];
            let count = self.ours.read(&mut bytes).unwrap();
            self.screen.feed(&bytes[..count]);
        }
    }

    fn wait_for(&mut self, what: &str) {
        self.wait_until(|screen| screen.text().contains(what));
    }

    /// The terminal is as it was, and this is how it has ended.
    fn ended(mut self) -> Option<i32> {
        self.wait_until(|screen| !screen.is_other);
        let code = self.top.wait().unwrap().code();
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        code
    }

    /// The program itself, of which the other is the parent.
    fn pid(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.top.id());
        let children = std::fs::read_to_string(path).unwrap();
        let child = children.split_whitespace().next();
        // Where there was no need for another process it is that itself.
        let pid = child.map_or(self.top.id() as i32, |child| child.parse().unwrap());
        Pid::from_raw(pid).unwrap()
    }
}

#[test]
fn shows_a_tree_at_a_terminal_and_takes_keys() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    let (tree, place) = tree(&directory);
    for end in ["q", "\u{3}"] {
        let mut terminal = Terminal::new(&place);
        terminal.wait_for("3 actors, 2 contexts");
        terminal.wait_for("task `main`");
        terminal.press("t");
        terminal.wait_for("actor idle@");
        terminal.wait_for("actor busy@");
        terminal.wait_for("context opened at busy@");
        assert!(!terminal.screen.text().contains("task `main`"));
        // One down, to the first, and what is below that is folded.
        terminal.press("\u{1b}[Bg ");
        terminal.wait_until(|screen| {
            let text = screen.text();
            text.contains("+ actor root@") && !text.contains("actor idle@")
        });
        terminal.press("\u{1b}[C");
        terminal.wait_for("actor idle@");
        // There is room for the head, two lines and the foot.
        terminal.resize(60, 4);
        terminal.wait_until(|screen| {
            let text = screen.text();
            text.lines().count() == 4 && text.contains("q quit")
        });
        terminal.press("G");
        terminal.wait_for("context run for root@");
        assert!(!terminal.screen.text().contains("actor root@"));
        terminal.press(end);
        assert_eq!(terminal.ended(), Some(0));
    }
    tree.stop();
}

#[test]
fn restores_the_terminal_when_it_is_told_to_end() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    let (tree, place) = tree(&directory);
    let mut terminal = Terminal::new(&place);
    terminal.wait_for("3 actors");
    kill_process(terminal.pid(), Signal::TERM).unwrap();
    assert_eq!(terminal.ended(), Some(143));
    tree.stop();
}

#[test]
fn waits_for_a_registrar_that_has_gone_away() {
    let _guard = HangGuard::new();
    let directory = Directory::new();
    let (first, place) = tree(&directory);
    let mut terminal = Terminal::new(&place);
    terminal.wait_for("3 actors");
    first.stop();
    terminal.wait_for("tried again: ");
    let (second, _) = tree(&directory);
    terminal.wait_for("3 actors");
    terminal.press("q");
    assert_eq!(terminal.ended(), Some(0));
    second.stop();
}
