//! WebSockets to a guest: its serial line and its screen. Bytes go in binary messages, text
//! messages are skipped, and of several clients the last one wins.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::answer::{Answer, refusal};
use super::guest::Guest;
use super::json::text;
use super::kind::{Key, Kind};
use super::proxy::{parameter, upgrades};
use super::sim::Sim;
use super::subresource::fetch;
use super::vnc;
use crate::body::Reply;
use crate::rule::Action;

/// The protocol that is spoken inside.
const PROTOCOL: &str = "plain.kubevirt.io";

/// A connection to a client, which may break off after so many bytes.
pub struct Line {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    left: Option<u64>,
}

impl Line {
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

/// Whether an instance has a screen that runs.
///
/// # Errors
/// The refusal to be passed on.
pub fn has_screen(instance: &Value) -> Result<(), Answer> {
    if instance.pointer("/spec/domain/devices/autoattachGraphicsDevice") == Some(&false.into()) {
        return Err(refusal(400, "No graphics devices are present."));
    }
    runs(instance)
}

fn has_serial(instance: &Value) -> Result<(), Answer> {
    if instance.pointer("/spec/domain/devices/autoattachSerialConsole") == Some(&false.into()) {
        return Err(refusal(400, "No serial consoles are present."));
    }
    runs(instance)
}

fn runs(instance: &Value) -> Result<(), Answer> {
    match text(instance, "/status/phase") {
        "Running" => Ok(()),
        _ => Err(refusal(400, "VMI is not running")),
    }
}

/// Answers a request for a connection to a guest.
///
/// # Errors
/// The refusal to be passed on.
pub async fn open(
    sim: &Arc<Sim>,
    mut request: Request<Incoming>,
    key: &Key,
    verb: &str,
    action: &Action,
) -> Result<Answer, Answer> {
    let key = key.other(Kind::Instance);
    let instance = fetch(sim, &key).await?;
    let guest = sim.guest(&key);
    match verb {
        "console" => has_serial(&instance)?,
        "vnc" => {
            has_screen(&instance)?;
            let preserve = parameter(&request, "preserveSession").is_some_and(|it| it == "true");
            if preserve && guest.viewers.load(Ordering::Acquire) > 0 {
                return Err(refusal(503, "Active VNC connection. Request denied."));
            }
        }
        _ => {
            runs(&instance)?;
            return Err(refusal(500, "dialing VM: connection refused"));
        }
    }
    let answer = shake_hands(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let left = action.cut;
    let screen = verb == "vnc";
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let stream = TokioIo::new(upgraded);
        let stream = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let line = Line { stream, left };
        match screen {
            true => vnc::serve(line, &guest).await,
            false => console(line, &guest).await,
        }
    });
    Ok(answer)
}

fn shake_hands(request: &Request<Incoming>) -> Result<Answer, Answer> {
    let (mut answer, offered) = handshake(request)?;
    // Who does not offer it is not told of any, and finds out.
    if offered.iter().any(|it| it == PROTOCOL) {
        let value = HeaderValue::from_static(PROTOCOL);
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(answer)
}

/// The answer that makes a WebSocket of a connection, and the protocols that the client offers.
///
/// # Errors
/// The refusal to be passed on, where the client wants none.
pub fn handshake(request: &Request<Incoming>) -> Result<(Answer, Vec<String>), Answer> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let Some(key) = key.filter(|_| upgrades(request)) else {
        return Err(refusal(400, "websocket: the client is not using the websocket protocol"));
    };
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
    Ok((answer, offered))
}

/// Waits until a number is as wanted, or will never change again.
pub async fn until(number: &mut watch::Receiver<u64>, wanted: impl Fn(u64) -> bool) {
    let _ = number.wait_for(|it| wanted(*it)).await;
}

/// A session on the serial line.
async fn console(mut line: Line, guest: &Guest) {
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
