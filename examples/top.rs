//! What a tree of actors is doing, as `top` shows it of processes: attaches to the registrar at an
//! address and shows its tree, refreshed every second. All actors, their contexts (who waits for
//! whom), tasks, nurseries and scopes.
//!
//!     cargo run --example top -- /unix/run/user/1000/app/registrar.sock
//!     cargo run --example top -- --once /ip4/127.0.0.1/tcp/1616
//!
//! A registrar shows itself to who comes over a Unix socket, which takes the same user only, and
//! over TCP where `ListenOptions::allow_remote_cancel` says so.
//!
//! With `--once`, or where the output is no terminal, it prints what there is and ends.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};
use tractor::runtime::io::Io;
use tractor::runtime::signals::SignalReceiver;
use tractor::runtime::sync::{Receiver, Sender, channel};
use tractor::runtime::{nursery, time};
use tractor::{Address, RemoteActorError, Result, RunOptions, connect, exit_code};

const PERIOD: Duration = Duration::from_secs(1);

const SIGWINCH: i32 = 28;

const USAGE: &str = "usage: top [--once] [ADDRESS]

The address is that of a registrar, /ip4/127.0.0.1/tcp/1616 if none is given.";

fn main() -> ExitCode {
    let (mut once, mut address) = (!io::stdout().is_terminal(), Address::REGISTRY);
    for arg in std::env::args().skip(1) {
        match (&*arg, arg.parse()) {
            ("--once", _) => once = true,
            (_, Ok(parsed)) => address = parsed,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let options = RunOptions::new().name("top");
    let result = options.run(async || {
        if once {
            print_once(&address).await
        } else {
            watch(&address).await
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // By now the terminal is as it was.
            eprintln!("top: {error}");
            exit_code(&error).into()
        }
    }
}

async fn print_once(address: &Address) -> Result<()> {
    let tree = Tree::of(&connect(address).await?.dump_tree().await?.to_string());
    let mut text = tree.summary(address);
    for node in &tree.nodes {
        text += &format!("\n{:1$}{2}", "", 2 * node.depth, node.text);
    }
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// What there is to be shown, as lines below lines.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
}

struct Node {
    depth: usize,
    text: String,
    /// What it is called in every dump in which it is.
    key: String,
    /// How many of those that follow are below it.
    below: usize,
}

impl Tree {
    fn of(dump: &str) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        // The way to the line before, and how far each is indented.
        let mut way: Vec<(usize, usize)> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for line in dump.lines() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            while way.last().is_some_and(|(other, _)| *other >= indent) {
                way.pop();
            }
            for (_, above) in &way {
                nodes[*above].below += 1;
            }
            // What comes after is how it is now.
            let name = text.split([',', '(']).next().unwrap_or(text);
            let above = way.last().map_or("", |(_, above)| &nodes[*above].key);
            let mut key = format!("{above}/{name}");
            let count = seen.entry(key.clone()).or_default();
            key += &format!("#{count}");
            *count += 1;
            way.push((indent, nodes.len()));
            nodes.push(Node {
                depth: way.len() - 1,
                text: text.to_owned(),
                key,
                below: 0,
            });
        }
        Self { nodes }
    }

    fn summary(&self, address: &Address) -> String {
        let count = |kind: &str| {
            let of_kind = self.nodes.iter().filter(|node| node.is(kind));
            match of_kind.count() {
                1 => format!("1 {kind}"),
                count => format!("{count} {kind}s"),
            }
        };
        let counts = ["actor", "context", "task", "scope"].map(count).join(", ");
        let silent = self.nodes.iter().filter(|node| node.is_silent()).count();
        match silent {
            0 => format!("{address}: {counts}"),
            _ => format!("{address}: {counts}; {silent} do not answer"),
        }
    }
}

impl Node {
    fn is(&self, kind: &str) -> bool {
        let rest = self.text.strip_prefix(kind);
        rest.is_some_and(|rest| rest.starts_with(' '))
    }

    fn is_silent(&self) -> bool {
        self.is("actor") && self.text.ends_with("does not answer")
    }

    fn style(&self) -> Style {
        if self.is_silent() {
            return Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        }
        if self.is("actor") {
            return Style::new().add_modifier(Modifier::BOLD);
        }
        if self.is("context") {
            return Style::new().fg(Color::Cyan);
        }
        Style::new()
    }
}

#[derive(Clone, Copy)]
enum Key {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Fold,
    Unfold,
    Toggle,
    Tasks,
}

/// What a terminal sends for them.
const KEYS: &[(&[u8], Key)] = &[
    (b"q", Key::Quit),
    // Ctrl-C, which is no signal here.
    (b"\x03", Key::Quit),
    (b"\x1b[A", Key::Up),
    (b"\x1bOA", Key::Up),
    (b"k", Key::Up),
    (b"\x1b[B", Key::Down),
    (b"\x1bOB", Key::Down),
    (b"j", Key::Down),
    (b"\x1b[5~", Key::PageUp),
    (b"\x1b[6~", Key::PageDown),
    (b"\x1b[H", Key::Home),
    (b"\x1bOH", Key::Home),
    (b"\x1b[1~", Key::Home),
    (b"g", Key::Home),
    (b"\x1b[F", Key::End),
    (b"\x1bOF", Key::End),
    (b"\x1b[4~", Key::End),
    (b"G", Key::End),
    (b"\x1b[D", Key::Fold),
    (b"\x1bOD", Key::Fold),
    (b"h", Key::Fold),
    (b"\x1b[C", Key::Unfold),
    (b"\x1bOC", Key::Unfold),
    (b"l", Key::Unfold),
    (b" ", Key::Toggle),
    (b"\r", Key::Toggle),
    (b"t", Key::Tasks),
];

/// What may happen while the tree is watched.
enum News {
    Key(Key),
    Resized,
    Seen(Tree),
    /// The registrar is not there, and is looked for again.
    Lost(String),
}

async fn watch(address: &Address) -> Result<()> {
    // On every way out of here the terminal is restored: this is dropped when there is an error, a
    // signal cancels `main`, or something panics.
    let mut screen = Screen::open()?;
    nursery(async |n| {
        let (sender, receiver) = channel(16);
        n.start_soon(follow(address, sender.clone()));
        n.start_soon(read_keys(sender.clone()));
        n.start_soon(watch_size(sender));
        show(&mut screen.terminal, address, receiver).await?;
        n.cancel();
        Ok(())
    })
    .await
}

struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Asks every second, and connects again when the registrar has gone away.
async fn follow(address: &Address, news: Sender<News>) -> Result<()> {
    loop {
        let Err(error) = follow_one(address, &news).await;
        // Who may not see it will not be let in later either.
        if error.is_cancelled() || error.is::<RemoteActorError>() {
            return Err(error);
        }
        news.send(News::Lost(error.to_string())).await?;
        time::sleep(PERIOD).await?;
    }
}

async fn follow_one(address: &Address, news: &Sender<News>) -> Result<Infallible> {
    let portal = connect(address).await?;
    loop {
        let dump = portal.dump_tree().await?;
        news.send(News::Seen(Tree::of(&dump.to_string()))).await?;
        time::sleep(PERIOD).await?;
    }
}

async fn read_keys(news: Sender<News>) -> Result<()> {
    // Opened again, so that nobody else's descriptor of the terminal ceases to block.
    let terminal = Io::new(File::open("/dev/tty")?)?;
    let mut bytes = [0; 64];
    loop {
        let count = terminal.read_with(|mut tty| tty.read(&mut bytes)).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let known = KEYS.iter().find(|(text, _)| rest.starts_with(text));
            rest = &rest[known.map_or(1, |(text, _)| text.len())..];
            if let Some((_, key)) = known {
                news.send(News::Key(*key)).await?;
            }
        }
    }
}

async fn watch_size(news: Sender<News>) -> Result<()> {
    let resized = SignalReceiver::open([SIGWINCH])?;
    loop {
        resized.receive().await?;
        news.send(News::Resized).await?;
    }
}

async fn show(
    terminal: &mut DefaultTerminal,
    address: &Address,
    news: Receiver<News>,
) -> Result<()> {
    let mut view = View::default();
    loop {
        // It asks the terminal how large it is.
        terminal.draw(|frame| view.draw(frame, address))?;
        match news.recv().await? {
            News::Key(key) => {
                if view.press(key) {
                    return Ok(());
                }
            }
            News::Resized => {}
            News::Seen(tree) => view.see(tree),
            News::Lost(reason) => view.lost = Some(reason),
        }
    }
}

/// What is shown of the tree.
#[derive(Default)]
struct View {
    tree: Option<Tree>,
    /// Why the tree is none of now.
    lost: Option<String>,
    /// Without what is within an actor but its contexts.
    is_brief: bool,
    /// The keys of those of which nothing below is shown.
    folded: HashSet<String>,
    /// Which of the lines that are shown is the one that keys are about.
    cursor: usize,
    /// The first line on the screen.
    top: usize,
    /// How many lines there is room for.
    room: usize,
}

impl View {
    /// The cursor stays at what it was at, if that is still there.
    fn see(&mut self, tree: Tree) {
        let at = self.selected_key();
        self.tree = Some(tree);
        self.lost = None;
        self.go_to(at);
    }

    fn selected_key(&self) -> Option<String> {
        self.selected().map(|node| node.key.clone())
    }

    fn go_to(&mut self, key: Option<String>) {
        let shown = self.shown();
        let mut keys = shown.iter().map(|node| &node.key);
        let place = keys.position(|other| Some(other) == key.as_ref());
        self.cursor = place.unwrap_or(self.cursor.min(shown.len().saturating_sub(1)));
    }

    fn shown(&self) -> Vec<&Node> {
        let nodes = self.tree.as_ref().map_or(&[][..], |tree| &tree.nodes);
        let mut shown = Vec::with_capacity(nodes.len());
        let mut next = 0;
        while let Some(node) = nodes.get(next) {
            if !self.is_brief || node.is("actor") || node.is("context") {
                shown.push(node);
            }
            next += 1;
            if self.folded.contains(&node.key) {
                next += node.below;
            }
        }
        shown
    }

    fn selected(&self) -> Option<&Node> {
        self.shown().get(self.cursor).copied()
    }

    /// True if that was the end.
    fn press(&mut self, key: Key) -> bool {
        let last = self.shown().len().saturating_sub(1);
        match key {
            Key::Quit => return true,
            Key::Up => self.cursor = self.cursor.saturating_sub(1),
            Key::Down => self.cursor = last.min(self.cursor + 1),
            Key::PageUp => self.cursor = self.cursor.saturating_sub(self.room),
            Key::PageDown => self.cursor = last.min(self.cursor + self.room),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = last,
            Key::Fold => self.fold(Some(true)),
            Key::Unfold => self.fold(Some(false)),
            Key::Toggle => self.fold(None),
            Key::Tasks => {
                let at = self.selected_key();
                self.is_brief = !self.is_brief;
                self.go_to(at);
            }
        }
        false
    }

    /// Folds what the cursor is at, unfolds it, or what it is not.
    fn fold(&mut self, fold: Option<bool>) {
        let Some(node) = self.selected().filter(|node| node.below > 0) else {
            return;
        };
        let key = node.key.clone();
        if fold.unwrap_or(!self.folded.contains(&key)) {
            self.folded.insert(key);
        } else {
            self.folded.remove(&key);
        }
    }

    fn draw(&mut self, frame: &mut Frame<'_>, address: &Address) {
        let rows = [
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
        self.room = usize::from(body.height).max(1);
        // The cursor is on the screen.
        self.top = self
            .top
            .clamp((self.cursor + 1).saturating_sub(self.room), self.cursor);
        let (summary, style) = match (&self.lost, &self.tree) {
            (Some(reason), _) => {
                let text = format!("not now, and tried again: {reason}");
                (text, Style::new().fg(Color::Red))
            }
            (None, Some(tree)) => (tree.summary(address), Style::new()),
            (None, None) => (format!("connecting to {address}"), Style::new()),
        };
        frame.render_widget(Line::styled(summary, style.reversed()), head);
        let shown = self.shown().into_iter().enumerate();
        let lines = shown.skip(self.top).take(self.room).map(|(place, node)| {
            let mark = match node.below {
                0 => "  ",
                _ if self.folded.contains(&node.key) => "+ ",
                _ => "- ",
            };
            let text = format!("{:1$}{mark}{2}", "", 2 * node.depth, node.text);
            let style = match place == self.cursor {
                true => node.style().reversed(),
                false => node.style(),
            };
            Line::styled(text, style)
        });
        let body_style = match self.lost {
            Some(_) => Style::new().add_modifier(Modifier::DIM),
            None => Style::new(),
        };
        frame.render_widget(
            Paragraph::new(lines.collect::<Vec<_>>()).style(body_style),
            body,
        );
        let keys =
            "q quit   up, down move   left, right fold and unfold   t with and without tasks";
        frame.render_widget(Line::styled(keys, Style::new().reversed()), foot);
    }
}
