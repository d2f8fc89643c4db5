//! The log of a pod, which a kubelet would answer: what a guest wrote on its serial line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::answer::{Answer, failed, refusal};
use super::json::{list, text};
use super::kind::{Key, Kind};
use super::proxy::parameter;
use super::sim::Sim;
use super::subresource::may;
use crate::body::Reply;
use crate::guest::Line;
use crate::rule::Action;

/// What is asked of a log.
struct Wanted {
    follow: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    tail: Option<usize>,
    cut: Option<u64>,
}

impl Wanted {
    fn new(request: &Request<Incoming>, action: &Action) -> Self {
        let is = |name| parameter(request, name).is_some_and(|it| it == "true" || it == "1");
        let number = |name| parameter(request, name).and_then(|it| it.parse::<i64>().ok());
        let since = number("sinceSeconds")
            .and_then(|it| Timestamp::now().checked_sub(SignedDuration::from_secs(it)).ok());
        Self {
            follow: is("follow"),
            timestamps: is("timestamps"),
            since: since.or_else(|| parameter(request, "sinceTime")?.parse().ok()),
            tail: number("tailLines").and_then(|it| usize::try_from(it).ok()),
            cut: action.cut,
        }
    }

    fn write(&self, line: &Line) -> Option<String> {
        if self.since.is_some_and(|since| line.at < since) {
            return None;
        }
        Some(match self.timestamps {
            true => format!("{} {}\n", line.at, line.text),
            false => format!("{}\n", line.text),
        })
    }
}

/// Answers a request for the log of a pod.
pub async fn answer(
    sim: &Arc<Sim>,
    request: Request<Incoming>,
    space: &str,
    pod: &str,
    action: &Action,
) -> Answer {
    match checked(sim, &request, space, pod, action).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn checked(
    sim: &Arc<Sim>,
    request: &Request<Incoming>,
    space: &str,
    pod: &str,
    action: &Action,
) -> Result<Answer, Answer> {
    may(sim, request, ["get", "", "pods", "log", space, pod]).await?;
    let path = format!("/api/v1/namespaces/{space}/pods/{pod}");
    let found = sim.control.api.find(&path).await.map_err(|fail| failed(&fail))?;
    let found = found.ok_or_else(|| refusal(404, &format!("pods \"{pod}\" not found")))?;
    let container = parameter(request, "container").unwrap_or_else(|| "compute".to_owned());
    let known = list(&found, "/spec/containers").iter().any(|it| text(it, "/name") == container);
    if !known {
        let words = format!("container {container} is not valid for pod {pod}");
        return Err(refusal(400, &words));
    }
    let name = &found["metadata"]["labels"]["vm.kubevirt.io/name"];
    let Some(name) = name.as_str().filter(|_| container == "guest-console-log") else {
        return Ok(super::answer::bytes(200, "text/plain", "", action));
    };
    let key = Key::new(Kind::Instance, space, name);
    let wanted = Wanted::new(request, action);
    let (sender, parts) = mpsc::channel(16);
    tokio::spawn(send(sim.clone(), key, wanted, sender));
    let mut answer = Response::new(Reply::Parts(parts, None));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(answer)
}

/// Sends the lines, and those that come later where that is asked for, until the pod is gone.
async fn send(
    sim: Arc<Sim>,
    key: Key,
    wanted: Wanted,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
) {
    let guest = sim.guest(&key);
    let mut output = guest.listen();
    let (mut lines, mut next) = guest.log(0);
    let skip = wanted.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    lines.drain(..skip);
    let mut sent = 0;
    loop {
        for text in lines.iter().filter_map(|line| wanted.write(line)) {
            let len = wanted.cut.map_or(text.len(), |cut| text.len().min((cut - sent) as usize));
            sent += len as u64;
            if sender.send(Ok(Bytes::copy_from_slice(&text.as_bytes()[..len]))).await.is_err() {
                return;
            }
            if wanted.cut == Some(sent) {
                let broken = std::io::Error::other("the connection is broken as asked");
                let _ = sender.send(Err(broken)).await;
                return;
            }
        }
        if !wanted.follow {
            return;
        }
        // The end of the instance is the end of its pod.
        let mut ends = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = output.recv() => break,
                _ = ends.tick() => {
                    if sender.is_closed() || sim.control.get(&key).is_none() {
                        return;
                    }
                }
            }
        }
        (lines, next) = guest.log(next);
    }
}
