//! The way to a guest's serial line and its screen.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use serde_json::Value;

use super::answer::{Answer, refusal};
use super::json::text;
use super::kind::{Key, Kind};
use super::proxy::{parameter, upgrades};
use super::sim::Sim;
use super::subresource::fetch;
use crate::guest::line::{self, Line};
use crate::guest::vnc;
use crate::rule::Action;

/// The protocol that is spoken inside.
const PROTOCOL: &str = "plain.kubevirt.io";

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
        let line = Line::over(upgraded, left).await;
        match screen {
            true => vnc::serve(line, &guest, true).await,
            false => line::console(line, &guest).await,
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
    let agreed = Some(request).filter(|it| upgrades(it)).and_then(line::handshake);
    agreed.ok_or_else(|| refusal(400, "websocket: the client is not using the websocket protocol"))
}
