//! A stream of bytes both ways over TCP, as it is or by Telnet (RFC 854), which marks its commands
//! by a byte that data has twice.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::line::{Line, QUEUE, broke};
use crate::error::Result;

/// How often a connection without anything to say says so.
const PULSE: Duration = Duration::from_secs(10);

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const BEGIN: u8 = 250;
const NOTHING: u8 = 241;
const END: u8 = 240;

/// Options that are agreed to: binary (RFC 856), echo of the other side (857), no go-aheads (858).
const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SILENT: u8 = 3;

/// Where the reading of commands is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Data,
    Command,
    Option(u8),
    Inside,
    InsideCommand,
}

/// Tells data from commands.
#[derive(Debug)]
struct Telnet {
    place: Place,
    /// What was answered already: servers ask again otherwise, without end.
    answered: Vec<(u8, u8)>,
}

impl Telnet {
    fn new() -> Self {
        Self { place: Place::Data, answered: Vec::new() }
    }

    /// The data in what came, and what is to be answered.
    fn read(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut data, mut answer) = (Vec::with_capacity(bytes.len()), Vec::new());
        for byte in bytes {
            self.place = match (self.place, *byte) {
                (Place::Data, IAC) => Place::Command,
                (Place::Data, byte) => {
                    data.push(byte);
                    Place::Data
                }
                (Place::Command, IAC) => {
                    data.push(IAC);
                    Place::Data
                }
                (Place::Command, WILL..=DONT) => Place::Option(*byte),
                (Place::Command, BEGIN) => Place::Inside,
                (Place::Command, _) => Place::Data,
                (Place::Option(command), option) => {
                    self.answer(command, option, &mut answer);
                    Place::Data
                }
                (Place::Inside, IAC) => Place::InsideCommand,
                (Place::InsideCommand, END) => Place::Data,
                (Place::Inside | Place::InsideCommand, _) => Place::Inside,
            };
        }
        (data, answer)
    }

    fn answer(&mut self, command: u8, option: u8, answer: &mut Vec<u8>) {
        let word = match (command, option) {
            (WILL, BINARY | ECHO | SILENT) => DO,
            (WILL, _) => DONT,
            (DO, BINARY | SILENT) => WILL,
            (DO, _) => WONT,
            // Nothing is left to be said of what the other side does not want.
            _ => return,
        };
        if !self.answered.contains(&(word, option)) {
            self.answered.push((word, option));
            answer.extend([IAC, word, option]);
        }
    }
}

/// Data as it goes over the wire.
fn marked(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| std::iter::repeat_n(*byte, if *byte == IAC { 2 } else { 1 }))
        .collect()
}

impl Line {
    /// Speaks over a connection as it is, or by Telnet.
    pub fn bare<S>(stream: S, telnet: bool) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (from, to) = tokio::io::split(stream);
        let (come, reader) = mpsc::channel(QUEUE);
        let (writer, go) = mpsc::channel(QUEUE);
        let (answer, answers) = mpsc::channel(QUEUE);
        tokio::spawn(receive(from, come, telnet.then(|| (Telnet::new(), answer))));
        tokio::spawn(send(to, go, answers, telnet));
        Self::of(reader, writer)
    }
}

async fn receive<S>(
    mut from: ReadHalf<S>,
    come: mpsc::Sender<Result<Bytes>>,
    mut telnet: Option<(Telnet, mpsc::Sender<Vec<u8>>)>,
) where
    S: AsyncRead,
{
    let mut buffer = vec![0; 8192];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            // Nobody wants to hear the rest.
            () = come.closed() => return,
        };
        let bytes = match read {
            Ok(0) => return,
            Ok(len) => &buffer[..len],
            Err(error) => {
                let _ = come.send(Err(broke(error))).await;
                return;
            }
        };
        let data = match &mut telnet {
            None => Bytes::copy_from_slice(bytes),
            Some((telnet, answers)) => {
                let (data, answer) = telnet.read(bytes);
                if !answer.is_empty() && answers.send(answer).await.is_err() {
                    return;
                }
                data.into()
            }
        };
        if !data.is_empty() && come.send(Ok(data)).await.is_err() {
            return;
        }
    }
}

async fn send<S>(
    mut to: WriteHalf<S>,
    mut go: mpsc::Receiver<Bytes>,
    mut answers: mpsc::Receiver<Vec<u8>>,
    telnet: bool,
) where
    S: AsyncWrite,
{
    let mut pulse = tokio::time::interval(PULSE);
    pulse.tick().await;
    loop {
        let bytes = tokio::select! {
            bytes = go.recv() => match bytes {
                Some(bytes) if telnet => marked(&bytes),
                Some(bytes) => bytes.into(),
                None => break,
            },
            Some(answer) = answers.recv() => answer,
            _ = pulse.tick(), if telnet => vec![IAC, NOTHING],
        };
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_out_and_answered_once() {
        let mut telnet = Telnet::new();
        let (data, answer) = telnet.read(&[b'a', IAC, WILL, ECHO, b'b', IAC]);
        assert_eq!((&data[..], &answer[..]), (&b"ab"[..], &[IAC, DO, ECHO][..]));
        // Over the border of two pieces, and a byte of data that looks like one.
        let (data, answer) = telnet.read(&[IAC, WILL, ECHO, IAC, DO, 24, IAC, DO, BINARY]);
        assert_eq!(data, [IAC, WILL, ECHO]);
        assert_eq!(answer, [IAC, WONT, 24, IAC, WILL, BINARY]);
        let (data, answer) = telnet.read(&[IAC, BEGIN, 24, 1, IAC, IAC, 2, IAC, END, b'c']);
        assert_eq!((&data[..], &answer[..]), (&b"c"[..], &[][..]));
        assert!(telnet.read(&[IAC, WILL, ECHO, IAC, WONT, 1, IAC, NOTHING]).1.is_empty());
        assert_eq!(marked(&[1, IAC, 2]), [1, IAC, IAC, 2]);
    }
}
