//! Ports of pods, which a kubelet would forward: those of the servers of exports. A WebSocket holds
//! a channel of data and one of errors for each port; each message begins with its channel.

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
use super::ingress;
use super::kind::{Key, Kind};
use super::proxy::parameter;
use super::sim::Sim;
use super::socket::handshake;
use super::subresource::may;
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
    let key = pod.strip_prefix("virt-export-").map(|name| Key::new(Kind::Export, space, name));
    let key = key.filter(|key| sim.exports.find(key).is_some());
    let key = key.ok_or_else(|| refusal(404, &format!("pods \"{pod}\" not found")))?;
    let (mut answer, offered) = handshake(&request)?;
    if let Some(protocol) = PROTOCOLS.into_iter().find(|it| offered.iter().any(|one| one == it)) {
        let value = HeaderValue::from_static(protocol);
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    let name = format!("{pod}.{space}.svc");
    let tls = sim.authority.sign(&[&name, "localhost"]);
    let tls = tls.map_err(|error| refusal(500, &error.to_string()))?.config;
    let upgrade = hyper::upgrade::on(&mut request);
    let (sim, left) = (sim.clone(), action.cut);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (near, far) = tokio::io::duplex(ROOM);
        if port == 8443 {
            tokio::spawn(async move {
                let Ok(stream) = TlsAcceptor::from(tls).accept(far).await else { return };
                let answer = move |_, request| within(sim.clone(), key.clone(), request);
                speak(stream, [127, 0, 0, 1].into(), answer).await;
            });
        }
        relay(upgraded, near, port, left).await;
    });
    Ok(answer)
}

/// Answers a request that comes by such a port.
pub async fn within(sim: Arc<Sim>, key: Key, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let answer = ingress::serve(&sim, &request, &key, &parts).await;
    tracing::info!("{} {path} {} by a port of {key}", request.method(), answer.status().as_u16());
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
