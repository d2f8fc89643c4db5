//! Consoles and screens of machines: WebSockets of KubeVirt's own kind
//! (subresources.kubevirt.io/v1), which the `kube` crate refuses to open, and the log of what came
//! over the serial line.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::Value;

use super::Kubevirt;
use super::client::{Place, escape, request};
use super::create::text;
use super::discovery::Resource;
use super::inventory::both;
use super::power::running;
use super::record::parts;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Line, accepts, nonce};
use crate::provider::facets::console::{Console, LogFrom};
use crate::vm::VmId;

/// What is spoken inside: bytes as they are.
const PROTOCOL: &str = "plain.kubevirt.io";

/// The container that writes down what comes over the serial line.
const LOGGER: &str = "guest-console-log";

#[async_trait]
impl Console for Kubevirt {
    async fn serial(&self, vm: &VmId) -> Result<Line> {
        running(both(self, vm).await?.1)?;
        self.connect(vm, "console").await
    }

    async fn screen(&self, vm: &VmId, polite: bool) -> Result<Line> {
        running(both(self, vm).await?.1)?;
        self.connect(vm, &format!("vnc?preserveSession={polite}")).await
    }

    async fn picture(&self, vm: &VmId) -> Result<Option<Bytes>> {
        running(both(self, vm).await?.1)?;
        let path = self.path(vm, "vnc/screenshot?moveCursor=false").await?;
        let mut asked = request(&Method::GET, &path, None)?;
        let png = header::HeaderValue::from_static("image/png, application/json");
        asked.headers_mut().insert(header::ACCEPT, png);
        let answer = match self.client().succeed(asked).await {
            Ok(answer) => answer,
            // Releases without it know no such path.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
                return Ok(None);
            }
            Err(error) => return Err(refused(error)),
        };
        let whole = answer.into_body().collect().await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the picture broke off")
                .with_source(error.to_string())
        })?;
        Ok(Some(whole.to_bytes()))
    }

    async fn press(&self, _: &VmId, _: &[&[u32]]) -> Result<bool> {
        Ok(false)
    }

    async fn log(&self, vm: &VmId, from: LogFrom) -> Result<BoxStream<'static, Result<Bytes>>> {
        running(both(self, vm).await?.1)?;
        let (namespace, _) = parts(vm);
        let place = Place { resource: Resource::core("pods"), namespace: Some(namespace) };
        let pod = self.pod(place, vm).await?;
        let mut path = format!("{}/log?container={LOGGER}", place.path(Some(&pod)));
        if from.follow {
            path.push_str("&follow=true");
        }
        if let Some(since) = from.since {
            path.push_str(&format!("&sinceTime={}", escape(&since.to_string())));
        }
        let mut asked = request(&Method::GET, &path, None)?;
        let any = header::HeaderValue::from_static("*/*");
        asked.headers_mut().insert(header::ACCEPT, any);
        let answer = self.client().succeed(asked).await.map_err(|error| match error.kind() {
            ErrorKind::Usage => nobody_logs(),
            _ => error,
        })?;
        let parts = TryStreamExt::map_err(BodyStream::new(answer.into_body()), |error| {
            Error::new(ErrorKind::Unavailable, "the log broke off").with_source(error.to_string())
        });
        let parts = parts.try_filter_map(|frame| async { Ok(frame.into_data().ok()) });
        Ok(parts.boxed())
    }

    async fn runs(&self, vm: &VmId) -> Result<bool> {
        match both(self, vm).await {
            Ok((_, instance)) => Ok(instance.is_some_and(|it| it.status.phase == "Running")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn nobody_logs() -> Error {
    Error::unsupported("nobody keeps what this machine writes on its serial line")
        .with_hint(format!("KubeVirt does unless logSerialConsole is off (its container {LOGGER})"))
}

/// KubeVirt answers 400 for a machine without the device.
fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Usage => Error::unsupported(error.message().to_owned()),
        _ => error,
    }
}

fn strange(words: &str) -> Error {
    Error::new(ErrorKind::Protocol, words.to_owned())
}

/// Whether a server's answer makes a WebSocket of the connection, with what is spoken inside.
fn agreed(answer: &Response<Body>, key: &str) -> Result<()> {
    let says = |name| answer.headers().get(name).map(header::HeaderValue::as_bytes);
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS
        || !says(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|it| accepts(key, it))
    {
        return Err(strange("the API server opens no WebSocket")
            .with_hint("a proxy in front of it may not let them through"));
    }
    if says(header::SEC_WEBSOCKET_PROTOCOL) != Some(PROTOCOL.as_bytes()) {
        return Err(strange("the server does not speak KubeVirt's protocol of consoles"));
    }
    Ok(())
}

impl Kubevirt {
    async fn path(&self, vm: &VmId, what: &str) -> Result<String> {
        let (namespace, name) = parts(vm);
        let plural = super::inventory::INSTANCES;
        let resource = self.client().resource("subresources.kubevirt.io", plural).await?;
        let place = Place { resource, namespace: Some(namespace) };
        Ok(format!("{}/{what}", place.path(Some(name))))
    }

    /// Opens a WebSocket to a running machine.
    async fn connect(&self, vm: &VmId, what: &str) -> Result<Line> {
        let path = self.path(vm, what).await?;
        let key = nonce();
        let asked = Request::get(&path)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL)
            .body(Body::empty())
            .map_err(|error| Error::usage("this cannot be asked for").with_source(error))?;
        let answer = self.client().succeed(asked).await.map_err(refused)?;
        agreed(&answer, &key)?;
        let upgraded = hyper::upgrade::on(answer).await;
        let upgraded = upgraded
            .map_err(|error| strange("the connection was not handed over").with_source(error))?;
        Ok(Line::over(TokioIo::new(upgraded)).await)
    }

    /// The pod in which a machine runs.
    async fn pod(&self, place: Place<'_>, vm: &VmId) -> Result<String> {
        let (_, name) = parts(vm);
        let query = format!("labelSelector={}", escape(&format!("vm.kubevirt.io/name={name}")));
        let pods = self.client().page::<Value>(place, &query, "").await?;
        let runs = |pod: &&Value| text(pod, "/status/phase") == "Running";
        let pod =
            pods.items.iter().find(runs).ok_or_else(|| {
                Error::not_found("the machine's pod is not there").with_subject(name)
            })?;
        // Newer releases start it as an init container that stays.
        let lists = ["/spec/containers", "/spec/initContainers"].map(|it| pod.pointer(it));
        let containers = lists.into_iter().flatten().filter_map(Value::as_array);
        match containers.flatten().any(|it| text(it, "/name") == LOGGER) {
            true => Ok(text(pod, "/metadata/name").to_owned()),
            false => Err(nobody_logs()),
        }
    }
}
