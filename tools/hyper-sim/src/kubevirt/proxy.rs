//! What stands in front of the API server: it answers what KubeVirt's own API and a kubelet would
//! answer, and passes everything else on as it is.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::answer::{Answer, before, refusal};
use super::sim::Sim;
use super::subresource::may;
use super::{discovery, forward, log, metrics, subresource, upload};
use crate::body::{Left, Reply};
use crate::rule::Action;

/// A value of a query.
pub fn parameter(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(decode(value))
}

/// A part of a path or a query without its escapes.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = || {
            let pair = [rest.clone().next()?, rest.clone().nth(1)?];
            u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()
        };
        match (byte, (byte == b'%').then(digits).flatten()) {
            (_, Some(code)) => {
                bytes.push(code);
                rest.nth(1);
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a request does, as rules call it.
fn operation(request: &Request<Incoming>, parts: &[&str]) -> String {
    let own = parts.starts_with(&["apis", "subresources.kubevirt.io"]) && parts.len() > 6;
    if own {
        let verb = parts[7..].join("/");
        return if verb.is_empty() { "get".to_owned() } else { verb };
    }
    let watched = parameter(request, "watch").is_some_and(|it| it == "1" || it == "true");
    let resource = match parts {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => &[],
    };
    let resource = match resource {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let word = match (request.method(), resource) {
        (_, []) => "discovery",
        (_, ["pods", _, "log"]) => "log",
        (_, ["pods", _, "portforward"]) => "portforward",
        (&Method::GET, _) if watched => "watch",
        (&Method::GET, [_]) => "list",
        (&Method::GET, _) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, _) => "delete",
        _ => "other",
    };
    word.to_owned()
}

/// Answers a request.
pub async fn answer(sim: Arc<Sim>, mut request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let action = sim.rules.meet(&operation(&request, &parts), &path);
    let answer = match before(&action).await {
        Some(answer) => answer,
        None => {
            swap(&sim, &mut request);
            route(&sim, request, &parts, &action).await
        }
    };
    tracing::info!("{method} {path} {}", answer.status().as_u16());
    answer
}

async fn route(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    parts: &[&str],
    action: &Action,
) -> Answer {
    match parts {
        ["apis"] => discovery::groups(sim, &request, action).await,
        ["apis", "subresources.kubevirt.io", rest @ ..] => {
            subresource::answer(sim, request, rest, action).await
        }
        ["apis", "upload.cdi.kubevirt.io", rest @ ..] => {
            upload::request_token(sim, request, rest, action).await
        }
        ["apis", metrics::GROUP, rest @ ..] if sim.metrics => {
            metrics::answer(sim, request, rest, action).await
        }
        ["api", "v1", "namespaces", space, "pods", pod, "log"] => {
            log::answer(sim, request, space, pod, action).await
        }
        ["api", "v1", "namespaces", space, "pods", pod, "portforward"] => {
            forward::answer(sim, request, space, pod, action).await
        }
        ["hyper-sim", "faults"] => faults(sim, request).await,
        _ => pass(sim, request, action).await,
    }
}

/// Takes a rule from whoever may do everything, for what comes from now on.
async fn faults(sim: &Sim, request: Request<Incoming>) -> Answer {
    if let Err(answer) = may(sim, &request, ["*", "*", "*", "", "", ""]).await {
        return answer;
    }
    let body = super::upstream::all(request.into_body()).await.unwrap_or_default();
    match String::from_utf8_lossy(&body).trim().parse() {
        Ok(rule) => {
            sim.rules.add(rule);
            super::answer::json(201, &serde_json::json!({}), &Action::default())
        }
        Err(error) => refusal(400, &error),
    }
}

/// A client of an attached cluster shows a token of the simulator; there it is someone known.
fn swap(sim: &Sim, request: &mut Request<Incoming>) {
    let Some((own, theirs)) = &sim.swap else { return };
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    if shown != Some(&format!("Bearer {own}")) {
        return;
    }
    let value = theirs.as_ref().and_then(|it| HeaderValue::from_str(&format!("Bearer {it}")).ok());
    match value {
        Some(value) => request.headers_mut().insert(header::AUTHORIZATION, value),
        None => request.headers_mut().remove(header::AUTHORIZATION),
    };
}

/// Whether a connection is to become something else than HTTP.
pub fn upgrades(request: &Request<Incoming>) -> bool {
    let connection = request.headers().get(header::CONNECTION).and_then(|it| it.to_str().ok());
    connection.is_some_and(|it| it.to_ascii_lowercase().contains("upgrade"))
}

/// Passes a request on, and its answer back.
pub async fn pass(sim: &Arc<Sim>, mut request: Request<Incoming>, action: &Action) -> Answer {
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let Ok(uri) = path.parse() else { return refusal(400, "this is no path") };
    let client = upgrades(&request).then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    head.uri = uri;
    let sent =
        sim.control.api.send(Request::from_parts(head, Reply::Passed(body, Left::All))).await;
    let mut answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            tracing::info!("the API server is not there: {error}");
            return refusal(503, "the API server cannot be reached");
        }
    };
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) = (answer.status(), client) {
        let server = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            if let (Ok(client), Ok(server)) = tokio::join!(client, server) {
                let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
    let (mut head, body) = answer.into_parts();
    if action.cut.is_some() {
        // What is broken off has no length that it could be held against beforehand.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    Response::from_parts(head, Reply::Passed(body, action.cut.into()))
}
