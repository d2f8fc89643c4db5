//! What runs inside an instance: a login on the serial line, and a screen.

pub mod line;
pub mod screen;
pub mod vnc;

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use self::screen::Screen;

/// Text that is kept for the log of the console.
const LOG: usize = 1 << 20;

/// Where the login on the serial line is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Login,
    Password(String),
    Shell(String),
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was written.
    pub at: Timestamp,
    /// Its text, without the end.
    pub text: String,
}

#[derive(Debug)]
struct State {
    on: bool,
    off: bool,
    stage: Stage,
    typed: String,
    /// Rows and columns of the terminal, as it was told.
    size: (u16, u16),
    lines: Vec<Line>,
    last: String,
    kept: usize,
    /// Lines that were dropped before those that are kept.
    dropped: usize,
}

/// A guest.
#[derive(Debug)]
pub struct Guest {
    name: String,
    state: Mutex<State>,
    /// Everything it writes, for whoever is connected.
    output: tokio::sync::broadcast::Sender<Vec<u8>>,
    /// The console session at work; a new one ends it.
    pub console: watch::Sender<u64>,
    /// The same for the screen, and whether there is one.
    pub viewer: watch::Sender<u64>,
    /// Viewers that are connected.
    pub viewers: std::sync::atomic::AtomicUsize,
    /// Its screen.
    pub screen: Screen,
}

impl Guest {
    /// A guest that is off.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::new(State {
                on: false,
                off: false,
                stage: Stage::Login,
                typed: String::new(),
                size: (24, 80),
                lines: Vec::new(),
                last: String::new(),
                kept: 0,
                dropped: 0,
            }),
            output: tokio::sync::broadcast::channel(1024).0,
            console: watch::channel(0).0,
            viewer: watch::channel(0).0,
            viewers: std::sync::atomic::AtomicUsize::new(0),
            screen: Screen::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it writes from now on.
    pub fn listen(&self) -> tokio::sync::broadcast::Receiver<Vec<u8>> {
        self.output.subscribe()
    }

    /// Starts it.
    pub fn boot(&self) {
        let mut state = self.lock();
        if state.on {
            return;
        }
        state.on = true;
        state.stage = Stage::Login;
        let text = format!(
            "[    0.000000] Linux version 6.1.0-26-amd64\r\n[    0.412000] Run /init as init \
             process\r\n\r\nDebian GNU/Linux 12 {0} ttyS0\r\n\r\n{0} login: ",
            self.name
        );
        self.write(&mut state, &text);
    }

    /// Starts it again.
    pub fn reboot(&self) {
        self.lock().on = false;
        self.boot();
    }

    /// Switches it off and ends all sessions.
    pub fn power_off(&self) {
        let mut state = self.lock();
        if state.on {
            self.write(&mut state, "\r\n[  OK  ] Reached target poweroff.target\r\n");
        }
        state.on = false;
        drop(state);
        self.console.send_modify(|number| *number += 1);
        self.viewer.send_modify(|number| *number += 1);
    }

    /// Whether the guest has switched itself off.
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    fn write(&self, state: &mut State, text: &str) {
        let _ = self.output.send(text.as_bytes().to_vec());
        for part in text.split_inclusive('\n') {
            state.last.push_str(part);
            if part.ends_with('\n') {
                let text = std::mem::take(&mut state.last);
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                state.kept += text.len() + 1;
                state.lines.push(Line { at: Timestamp::now(), text });
            }
        }
        while state.kept > LOG {
            state.kept -= state.lines[0].text.len() + 1;
            state.lines.remove(0);
            state.dropped += 1;
        }
    }

    /// The lines of its log from a number on, and the number after the last one. A line counts
    /// once it is ended.
    pub fn log(&self, from: usize) -> (Vec<Line>, usize) {
        let state = self.lock();
        let next = state.dropped + state.lines.len();
        let skip = from.saturating_sub(state.dropped);
        (state.lines.iter().skip(skip).cloned().collect(), next)
    }

    /// Takes what someone types; whether the guest has switched itself off.
    pub fn take(&self, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut state.typed);
                    self.line(&mut state, line.trim());
                }
                0x03 => {
                    state.typed.clear();
                    let prompt = self.prompt(&state.stage);
                    self.write(&mut state, &format!("^C\r\n{prompt}"));
                }
                0x7f | 0x08 => {
                    if state.typed.pop().is_some() && !matches!(state.stage, Stage::Password(_)) {
                        self.write(&mut state, "\u{8} \u{8}");
                    }
                }
                byte => {
                    let letter = char::from(*byte);
                    state.typed.push(letter);
                    if !matches!(state.stage, Stage::Password(_)) {
                        self.write(&mut state, &letter.to_string());
                    }
                }
            }
        }
        state.off
    }

    fn prompt(&self, stage: &Stage) -> String {
        match stage {
            Stage::Login => format!("{} login: ", self.name),
            Stage::Password(_) => "Password: ".to_owned(),
            Stage::Shell(user) => {
                let sign = if user == "root" { '#' } else { '$' };
                format!("{user}@{}:~{sign} ", self.name)
            }
        }
    }

    fn line(&self, state: &mut State, line: &str) {
        let mut said = String::new();
        let next = match state.stage.clone() {
            Stage::Login if line.is_empty() => Stage::Login,
            Stage::Login => Stage::Password(line.to_owned()),
            Stage::Password(user) => {
                said.push_str("Linux 6.1.0-26-amd64 x86_64\r\n");
                Stage::Shell(user)
            }
            Stage::Shell(user) => match line.split_once(' ').unwrap_or((line, "")) {
                ("", _) => Stage::Shell(user),
                ("exit" | "logout", _) => Stage::Login,
                ("echo", rest) => {
                    said = format!("{}\r\n", rest.trim_matches(['"', '\'']));
                    Stage::Shell(user)
                }
                ("stty", "size") => {
                    said = format!("{} {}\r\n", state.size.0, state.size.1);
                    Stage::Shell(user)
                }
                ("stty", rest) => {
                    let words: Vec<&str> = rest.split_whitespace().collect();
                    for pair in words.chunks_exact(2) {
                        match (pair[0], pair[1].parse()) {
                            ("rows", Ok(rows)) => state.size.0 = rows,
                            ("cols" | "columns", Ok(columns)) => state.size.1 = columns,
                            _ => said = format!("stty: invalid argument {:?}\r\n", pair[0]),
                        }
                    }
                    Stage::Shell(user)
                }
                ("hostname", _) => {
                    said = format!("{}\r\n", self.name);
                    Stage::Shell(user)
                }
                ("poweroff" | "halt", _) => {
                    state.off = true;
                    Stage::Login
                }
                (word, _) => {
                    said = format!("-bash: {word}: command not found\r\n");
                    Stage::Shell(user)
                }
            },
        };
        state.stage = next;
        let prompt = self.prompt(&state.stage);
        self.write(state, &format!("\r\n{said}{prompt}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_asks_answers_and_ends() {
        let guest = Guest::new("web01");
        guest.boot();
        assert!(!guest.take(b"root\rsecret\recho hello\rnothing\r"));
        assert!(guest.take(b"poweroff\r"));
        let text: Vec<String> = guest.log(0).0.into_iter().map(|line| line.text).collect();
        assert!(text.contains(&"web01 login: root".to_owned()), "{text:?}");
        assert!(text.contains(&"hello".to_owned()), "{text:?}");
        assert!(text.iter().any(|line| line.contains("nothing: command not found")));
        assert!(!text.iter().any(|line| line.contains("secret")), "a password is not shown");
    }
}
