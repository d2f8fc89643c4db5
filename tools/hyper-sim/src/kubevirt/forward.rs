//! Ports of pods, which a kubelet would forward: those of the servers of exports, and that of the
//! upload proxy. A WebSocket holds a channel of data and one of errors for each port; each message
//! begins with its channel.

use std::fmt;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answer::{Answer, refusal};
use super::kind::{Key, Kind};
use super::proxy::parameter;
use super::sim::Sim;
use super::socket::handshake;
use super::subresource::may;
use super::{ingress, upload};
use crate::rule::Action;
use crate::serve::speak;

/// The protocols that are spoken, the newest first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// Bytes that wait on their way.
const ROOM: usize = 1 << 18;

/// Answers a request for a port.
pub async fn answer(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    space: &str,
    pod: &str,
    action: &Action,
) -> Answer {
    match checked(sim, request, space, pod, action).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn checked(
    sim: &Arc<Sim>,
    mut request: Request<Incoming>,
    space: &str,
    pod: &str,
    action: &Action,
) -> Result<Answer, Answer> {
    may(sim, &request, ["get", "", "pods", "portforward", space, pod]).await?;
    let port: Option<u16> = parameter(&request, "ports").and_then(|it| it.parse().ok());
    let port = port.ok_or_else(|| refusal(400, "query parameter \"ports\" is required"))?;
    let behind = Behind::find(sim, space, pod);
    let behind = behind.ok_or_else(|| refusal(404, &format!("pods \"{pod}\" not found")))?;
    let (mut answer, offered) = handshake(&request)?;
    if let Some(protocol) = PROTOCOLS.into_iter().find(|it| offered.iter().any(|one| one == it)) {
        let value = HeaderValue::from_static(protocol);
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let tls = sim.authority.sign(&[&behind.host(), "localhost"]);
    let tls = tls.map_err(|error| refusal(500, &error.to_string()))?.config;
    let upgrade = hyper::upgrade::on(&mut request);
    let (sim, left) = (sim.clone(), action.cut);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (near, far) = tokio::io::duplex(ROOM);
        if port == 8443 {
            tokio::spawn(async move {
                let Ok(stream) = TlsAcceptor::from(tls).accept(far).await else { return };
                let answer = move |_, request| within(sim.clone(), behind.clone(), request);
                speak(stream, [127, 0, 0, 1].into(), answer).await;
            });
        }
        relay(upgraded, near, port, left).await;
    });
    Ok(answer)
}

/// What runs in a pod whose port is forwarded.
#[derive(Debug, Clone)]
pub enum Behind {
    /// The server of an export.
    Export(Key),
    /// CDI's upload proxy.
    Proxy,
}

impl fmt::Display for Behind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Export(key) => key.fmt(to),
            Self::Proxy => to.write_str(upload::POD),
        }
    }
}

impl Behind {
    fn find(sim: &Sim, space: &str, pod: &str) -> Option<Self> {
        if (space, pod) == (upload::HOME, upload::POD) {
            return Some(Self::Proxy);
        }
        let key = Key::new(Kind::Export, space, pod.strip_prefix("virt-export-")?);
        sim.exports.find(&key).map(|_| Self::Export(key))
    }

    /// The name of the service in front of it, which its certificate is for.
    fn host(&self) -> String {
        match self {
            Self::Export(key) => format!("virt-export-{}.{}.svc", key.name, key.namespace),
            Self::Proxy => format!("{}.{}.svc", upload::SERVICE, upload::HOME),
        }
    }
}

/// Answers a request that comes by such a port.
pub async fn within(sim: Arc<Sim>, behind: Behind, request: Request<Incoming>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let answer = match &behind {
        Behind::Export(key) => ingress::serve(&sim, &request, key, &parts).await,
        Behind::Proxy => upload::take(&sim, request).await,
    };
    tracing::info!("{method} {path} {} by a port of {behind}", answer.status().as_u16());
    answer
}

/// Passes bytes both ways until one side ends.
async fn relay(upgraded: Upgraded, near: DuplexStream, port: u16, mut left: Option<u64>) {
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    let (mut reader, mut writer) = tokio::io::split(near);
    for channel in 0..2 {
        let [low, high] = port.to_le_bytes();
        let first = Message::Binary(vec![channel, low, high].into());
        if socket.send(first).await.is_err() {
            return;
        }
    }
    let mut part = vec![0; 32 << 10];
    loop {
        tokio::select! {
            read = reader.read(&mut part) => {
                let Ok(len @ 1..) = read else { break };
                let len = left.map_or(len, |left| len.min(left as usize));
                let mut message = vec![0];
                message.extend(&part[..len]);
                if socket.send(Message::Binary(message.into())).await.is_err() {
                    return;
                }
                if let Some(left) = &mut left {
                    *left -= len as u64;
                    if *left == 0 {
                        let _ = socket.get_mut().shutdown().await;
                        return;
                    }
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) if bytes.first() == Some(&0) => {
                    if writer.write_all(&bytes[1..]).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
    let _ = socket.close(None).await;
}
