//! A stream of bytes both ways, mostly inside a WebSocket (RFC 6455): binary messages are the bytes, and
//! pings keep whatever stands between from taking it for dead.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error as Broken, Message};

use crate::error::{Error, ErrorKind, Result};

/// How often a ping is sent. Load balancers forget connections after 20 s of silence and more.
const PING: Duration = Duration::from_secs(10);

/// How long a peer may say nothing, not even an answer to pings, before it counts as gone.
const SILENCE: Duration = Duration::from_secs(45);

/// Most bytes of a message: KubeVirt's relay holds no more.
const PART: usize = 10_240;

/// Messages that wait for their reader or their writer.
pub(super) const QUEUE: usize = 64;

/// A connection. Dropped, it is closed.
#[derive(Debug)]
pub struct Line {
    reader: LineReader,
    writer: LineWriter,
}

/// What comes from the other side.
#[derive(Debug)]
pub struct LineReader(mpsc::Receiver<Result<Bytes>>);

/// What goes to the other side. Once all of them are dropped the connection is closed.
#[derive(Debug, Clone)]
pub struct LineWriter(mpsc::Sender<Bytes>);

/// A key for the request that asks for a WebSocket.
pub fn nonce() -> String {
    generate_key()
}

/// Whether an answer to that key says that the server understood.
pub fn accepts(nonce: &str, answer: &[u8]) -> bool {
    derive_accept_key(nonce.as_bytes()).as_bytes() == answer
}

impl Line {
    /// Speaks over a connection on which a server has agreed to be one end of a WebSocket.
    pub async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::carried(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    /// Speaks inside a WebSocket that is open.
    pub(super) fn carried<S>(socket: WebSocketStream<S>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, stream) = socket.split();
        let (come, reader) = mpsc::channel(QUEUE);
        let (writer, go) = mpsc::channel(QUEUE);
        let (pulse, pulses) = mpsc::channel(1);
        tokio::spawn(receive(stream, come, pulse));
        tokio::spawn(send(sink, go, pulses));
        Self::of(reader, writer)
    }

    /// What comes by one queue and goes by another.
    pub(super) fn of(reader: mpsc::Receiver<Result<Bytes>>, writer: mpsc::Sender<Bytes>) -> Self {
        Self { reader: LineReader(reader), writer: LineWriter(writer) }
    }

    /// Both directions by themselves.
    pub fn split(self) -> (LineReader, LineWriter) {
        (self.reader, self.writer)
    }
}

impl LineReader {
    /// The next bytes; `None` where the other side ended the connection in order.
    ///
    /// # Errors
    /// `Unavailable` when it broke.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        self.0.recv().await
    }
}

impl LineWriter {
    /// Sends bytes.
    ///
    /// # Errors
    /// `Unavailable` when the connection is no more; the reader tells why.
    pub async fn send(&self, bytes: Bytes) -> Result<()> {
        self.0.send(bytes).await.map_err(|_| broke("it has ended"))
    }
}

/// The error of a connection that is no more.
pub(super) fn broke(why: impl ToString) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the machine broke")
        .with_source(why.to_string())
}

/// Passes on what comes, until an end of either side. A pulse for each sign of life.
async fn receive<S>(
    mut stream: SplitStream<WebSocketStream<S>>,
    come: mpsc::Sender<Result<Bytes>>,
    pulse: mpsc::Sender<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = tokio::select! {
            message = tokio::time::timeout(SILENCE, stream.next()) => message,
            // Nobody wants to hear the rest.
            () = come.closed() => return,
        };
        let _ = pulse.try_send(());
        let end = match message {
            Err(_) => Some(broke("nothing was heard of it, not even an answer to pings")),
            Ok(
                None | Some(Ok(Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. })))),
            ) => None,
            Ok(Some(Ok(Message::Close(frame)))) => {
                let reason = frame.map(|it| it.reason.to_string()).filter(|it| !it.is_empty());
                Some(broke(reason.unwrap_or_else(|| "the server closed it".to_owned())))
            }
            Ok(Some(Err(Broken::ConnectionClosed))) => None,
            Ok(Some(Err(error))) => Some(broke(error)),
            Ok(Some(Ok(Message::Binary(bytes)))) => match come.send(Ok(bytes)).await {
                Ok(()) => continue,
                Err(_) => return,
            },
            Ok(Some(Ok(_))) => continue,
        };
        if let Some(error) = end {
            let _ = come.send(Err(error)).await;
        }
        return;
    }
}

/// Sends what is to go, and pings where nothing is; closes the connection at the end.
async fn send<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut go: mpsc::Receiver<Bytes>,
    mut pulses: mpsc::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = tokio::time::interval(PING);
    pings.tick().await;
    let mut hears = true;
    loop {
        tokio::select! {
            bytes = go.recv() => {
                let Some(mut bytes) = bytes else { break };
                while !bytes.is_empty() {
                    let part = bytes.split_to(bytes.len().min(PART));
                    if sink.send(Message::Binary(part)).await.is_err() {
                        return;
                    }
                }
            }
            _ = pings.tick() => {
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
            }
            // Answers to the peer's pings leave with the next flush.
            pulse = pulses.recv(), if hears => {
                hears = pulse.is_some();
                if sink.flush().await.is_err() {
                    return;
                }
            }
        }
    }
    let frame = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
    let _ = sink.send(Message::Close(Some(frame))).await;
    let _ = sink.close().await;
}
