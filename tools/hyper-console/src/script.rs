//! `--expect` and `--send`: a talk with a machine, in the order of the command line.

use std::collections::VecDeque;

use bytes::Bytes;
use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use serde::Serialize;

/// Most bytes that are kept of what came, to look for what is expected.
const KEPT: usize = 1 << 20;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Wait until this was written.
    Expect(String),
    /// Type this.
    Send(#[serde(skip)] Text),
}

/// What is typed, which may be a password: it is stored nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// The steps as they stand on the command line.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Script(pub Vec<Step>);

// By hand, because the order among two flags counts.
impl FromArgMatches for Script {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut steps = Vec::new();
        let mut add = |name: &str, step: fn(String) -> Step| {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            let places = matches.indices_of(name).into_iter().flatten();
            steps.extend(places.zip(values).map(|(at, text)| (at, step(text.clone()))));
        };
        add("expect", Step::Expect);
        add("send", |text| Step::Send(Text(text)));
        steps.sort_by_key(|(at, _)| *at);
        Ok(Self(steps.into_iter().map(|(_, step)| step).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Script {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("TEXT")
                .help(help)
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .value_parser(ValueParser::from(unescape))
        };
        command
            .arg(flag("expect", r"Wait until the machine writes this; \r, \n, \t, \\ and \xNN are known"))
            .arg(flag("send", r"Type this, such as 'root\r'; with --expect in the order in which they stand, and then leave"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Text with its escapes taken for what they mean.
fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('r') => plain.push('\r'),
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('e') => plain.push('\u{1b}'),
            Some('\\') => plain.push('\\'),
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                let code = u8::from_str_radix(&digits, 16).ok().filter(u8::is_ascii);
                let code = code.filter(|_| digits.len() == 2);
                plain.push(code.map(char::from).ok_or("\\x takes two digits, 00 to 7f")?);
            }
            _ => return Err("after \\ stands r, n, t, e, \\ or xNN".to_owned()),
        }
    }
    match plain.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(plain),
    }
}

/// A talk under way.
pub struct Talk {
    steps: VecDeque<Step>,
    seen: Vec<u8>,
    heard: bool,
}

impl Talk {
    /// At its first step.
    pub fn new(script: &Script) -> Self {
        Self { steps: script.0.iter().cloned().collect(), seen: Vec::new(), heard: false }
    }

    /// Takes what the machine wrote; what is to be typed now.
    pub fn hear(&mut self, bytes: &[u8]) -> Bytes {
        self.heard |= !bytes.is_empty();
        self.seen.extend_from_slice(bytes);
        let mut typed = Vec::new();
        while let Some(step) = self.steps.front() {
            match step {
                Step::Send(Text(text)) => typed.extend_from_slice(text.as_bytes()),
                Step::Expect(text) => match find(&self.seen, text.as_bytes()) {
                    Some(at) => drop(self.seen.drain(..at + text.len())),
                    None => break,
                },
            }
            self.steps.pop_front();
        }
        if self.seen.len() > KEPT {
            self.seen.drain(..self.seen.len() - KEPT);
        }
        typed.into()
    }

    /// Whether the machine has written nothing at all.
    pub fn heard_nothing(&self) -> bool {
        !self.heard
    }

    /// What is waited for; nothing once all is done.
    pub fn awaited(&self) -> Option<&str> {
        match self.steps.front() {
            Some(Step::Expect(text)) => Some(text),
            _ => None,
        }
    }
}

fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    all.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talk_goes_on_where_it_is_answered() {
        let text = |text: &str| Step::Send(Text(text.to_owned()));
        let steps = vec![text("\r"), Step::Expect("login: ".to_owned()), text("root\r"), text("x")];
        let mut talk = Talk::new(&Script(steps));
        assert_eq!(talk.hear(b""), "\r");
        assert_eq!(talk.awaited(), Some("login: "));
        assert_eq!(talk.hear(b"... log"), "");
        assert_eq!(talk.hear(b"in: "), "root\rx");
        assert_eq!(talk.awaited(), None);
    }

    #[test]
    fn escapes_stand_for_what_they_mean() {
        assert_eq!(unescape(r"root\r\x03\\").unwrap(), "root\r\u{3}\\");
        for wrong in ["", r"\", r"\q", r"\x9", r"\xff", r"\xzz"] {
            unescape(wrong).unwrap_err();
        }
    }
}
