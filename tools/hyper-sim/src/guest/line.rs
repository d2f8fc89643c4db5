//! WebSockets to a guest: its serial line and its screen. Bytes go in binary messages, text
//! messages are skipped, and of several clients the last one wins.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Guest;
use crate::body::Reply;

/// A connection to a client, which may break off after so many bytes.
pub struct Line {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    left: Option<u64>,
}

impl Line {
    /// The server's end of a connection that was handed over, which breaks off after `left` bytes.
    pub async fn over(upgraded: Upgraded, left: Option<u64>) -> Self {
        let stream = TokioIo::new(upgraded);
        Self { stream: WebSocketStream::from_raw_socket(stream, Role::Server, None).await, left }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the client is gone, or the connection breaks off as asked.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // As much as a message holds for KubeVirt's own relay.
        for part in bytes.chunks(10_240) {
            let len = self.left.map_or(part.len(), |left| part.len().min(left as usize));
            if let Some(left) = &mut self.left {
                *left -= len as u64;
            }
            self.stream.send(Message::Binary(Bytes::copy_from_slice(&part[..len]))).await?;
            if self.left == Some(0) {
                let _ = self.stream.get_mut().shutdown().await;
                return Err(Error::ConnectionClosed);
            }
        }
        Ok(())
    }

    /// The next bytes from the client; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.stream.next().await?.ok()? {
                Message::Binary(bytes) => return Some(bytes),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Ends it in order.
    pub async fn close(mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
        let _ = self.stream.close(Some(frame)).await;
    }
}

/// The answer that makes a WebSocket of a connection, and the protocols that the client offers;
/// `None` where it wants none.
pub fn handshake(request: &Request<Incoming>) -> Option<(Response<Reply>, Vec<String>)> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let mut answer = Response::new(Reply::Text(None));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let all = answer.headers_mut();
    all.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    all.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        all.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
    let offered = offered.map(|it| it.trim().to_owned()).collect();
    Some((answer, offered))
}

/// Waits until a number is as wanted, or will never change again.
pub async fn until(number: &mut watch::Receiver<u64>, wanted: impl Fn(u64) -> bool) {
    let _ = number.wait_for(|it| wanted(*it)).await;
}

/// A session on the serial line.
pub async fn console(mut line: Line, guest: &Guest) {
    let mut session = guest.console.subscribe();
    let mut number = 0;
    guest.console.send_modify(|newest| {
        *newest += 1;
        number = *newest;
    });
    let mut output = guest.listen();
    loop {
        tokio::select! {
            // A newer session, or the end of the guest.
            () = until(&mut session, |newest| newest != number) => return line.close().await,
            text = output.recv() => match text {
                Ok(text) => {
                    if line.send(&text).await.is_err() {
                        return;
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(_) => return line.close().await,
            },
            typed = line.next() => match typed {
                Some(bytes) => {
                    guest.take(&bytes);
                }
                None => return,
            },
        }
    }
}
