//! CDI's upload proxy, and the ways to it: the address that CDI names, another one that the user
//! names, or a port of its pod through the API server.

use std::sync::Arc;

use serde_json::Value;

use super::client::{Place, escape};
use super::create::{CDI, text};
use super::discovery::Resource;
use super::inventory::optional;
use super::port::PodPort;
use super::{Kubevirt, NAME};
use crate::error::{Error, ErrorKind, Result, ResultExt, one_line};
use crate::net::{Http, Request, Response, Trust, Tunnelled, Url, Way, retry};
use crate::provider::facets::create::{Sending, UploadProxy};
use crate::provider::facets::export::Transport;

/// Where the proxy takes images: it answers when it has all of one, or, before CDI 1.26, when the
/// image is on the claim.
const PATHS: [&str; 2] = ["/v1beta1/upload-async", "/v1beta1/upload"];

/// The ways that lead to it.
const WAYS: [Transport; 2] = [Transport::Ingress, Transport::PortForward];

/// The service in front of it, and the value of its label.
const SERVICE: &str = "cdi-uploadproxy";

/// The config map with the authorities that vouch for its own certificate, and its key.
const BUNDLE: (&str, &str) = ("cdi-uploadproxy-signer-bundle", "ca-bundle.crt");

/// Where CDI usually is, for those who may not look for it: its own manifests, OpenShift, and the
/// operator for all of KubeVirt.
const HOMES: [&str; 3] = ["cdi", "openshift-cnv", "kubevirt-hyperconverged"];

/// The proxy as it is reached.
pub(super) struct Proxy {
    way: Way,
    url: Url,
    /// Why it is not reached as CDI says.
    pub note: Option<String>,
}

impl Proxy {
    /// The one that is wished for, which answers.
    ///
    /// # Errors
    /// `Unsupported` where none is known; `Unavailable` and `Auth` for one that cannot be reached
    /// or believed; `Config` for authorities that are none; the API server's.
    pub(super) async fn find(kubevirt: &Kubevirt, wish: &UploadProxy) -> Result<Self> {
        wish.transport.check(NAME, &WAYS)?;
        let known = match (&wish.url, &wish.authorities, wish.insecure) {
            // All is said.
            (Some(_), Some(_), _) | (Some(_), _, true) => Value::Null,
            _ => config(kubevirt).await?,
        };
        let named = text(&known, "/status/uploadProxyURL");
        let by_port = || Self::by_port(kubevirt, wish, &known);
        match (wish.url.as_deref(), wish.transport) {
            (Some(url), _) => Self::at(url, wish, &known).await,
            (None, Transport::PortForward) => by_port().await,
            (None, Transport::Auto) if named.is_empty() => by_port().await.map_err(|error| {
                error.with_hint("its CDIConfig names no uploadProxyURL: give --upload-proxy-url")
            }),
            (None, Transport::Auto) => match Self::at(named, wish, &known).await {
                Ok(proxy) => Ok(proxy),
                Err(first) => instead(first, by_port().await),
            },
            (None, _) if named.is_empty() => Err(nowhere()
                .with_hint("its CDIConfig names no uploadProxyURL: give --upload-proxy-url")
                .with_hint("--transport port-forward goes through the API server")),
            (None, _) => Self::at(named, wish, &known).await,
        }
    }

    /// The one with this address.
    async fn at(url: &str, wish: &UploadProxy, known: &Value) -> Result<Self> {
        let url = parse(url, wish.insecure).subject(|| url.to_owned())?;
        let trust = trust(wish, text(known, "/status/uploadProxyCA"))?;
        Self { way: Way::Direct(Http::new(trust)), url, note: None }.answers().await
    }

    /// The one behind a port of its pod. CDI's own certificate is for the service's name.
    async fn by_port(kubevirt: &Kubevirt, wish: &UploadProxy, known: &Value) -> Result<Self> {
        let home = home(kubevirt).await?;
        let port = PodPort::find(kubevirt.client(), &home, SERVICE).await?;
        let authorities = match &wish.authorities {
            None if !wish.insecure => bundle(kubevirt, &home).await?,
            _ => None,
        };
        let named = authorities.unwrap_or_else(|| text(known, "/status/uploadProxyCA").to_owned());
        let url = format!("https://{SERVICE}.{home}.svc");
        let url = Url::parse(&url).map_err(|_| {
            Error::new(ErrorKind::Protocol, "this is no name of a namespace").with_subject(home)
        })?;
        let way = Way::Through(Tunnelled::new(trust(wish, &named)?, Arc::new(port)));
        Self { way, url, note: None }.answers().await
    }

    /// Asks without showing anything, to see that somebody answers who is believed. Whatever it
    /// answers is right.
    async fn answers(self) -> Result<Self> {
        let ask =
            || async { self.way.send(Request::head(self.path_url(PATHS[0]))).await.map(drop) };
        retry(ask).await.map_err(hinted)?;
        Ok(self)
    }

    fn path_url(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Sends an image and waits for the head of the answer, whatever its status.
    ///
    /// # Errors
    /// As [`Http::upload`].
    pub(super) async fn upload(&self, request: Request, image: Sending) -> Result<Response> {
        self.way.upload(request, image.len, image.parts).await
    }

    /// Where an image goes. Asks the proxy first, so that nothing large is sent in vain.
    ///
    /// # Errors
    /// Those of HTTP, by the answer's status.
    pub(super) async fn path(&self, bearer: &str) -> Result<Url> {
        let mut answer = None;
        for path in PATHS {
            let url = self.path_url(path);
            let request = Request::head(url.clone()).header("authorization", bearer);
            let asked = self.way.send(request).await.map_err(hinted)?;
            match asked.status() {
                200..=299 => return Ok(url),
                // An older proxy knows no HEAD at the path that it has.
                405 if path == PATHS[1] => return Ok(url),
                404 | 405 => answer = Some(asked),
                _ => return asked.expect(&[]).map(|_| url),
            }
        }
        let none = || Error::new(ErrorKind::Internal, "no path was asked for");
        answer.ok_or_else(none)?.expect(&[]).map(|_| self.url.clone())
    }
}

/// What is told where the address that CDI names leads nowhere, and a port was tried instead.
fn instead(first: Error, second: Result<Proxy>) -> Result<Proxy> {
    let why = one_line(&first);
    match second {
        Ok(proxy) => {
            let note = Some(format!("sent through the API server: {why}"));
            Ok(Proxy { note, ..proxy })
        }
        Err(second) => Err(first
            .with_hint(format!("nor is it reached through the API server: {}", one_line(&second)))
            .with_hint("--upload-proxy-url names another address")),
    }
}

fn nowhere() -> Error {
    Error::unsupported("the cluster does not say where images are taken")
}

/// Whom to believe: what is wished for, else those that the cluster names, else the platform's.
fn trust(wish: &UploadProxy, named: &str) -> Result<Trust> {
    match &wish.authorities {
        _ if wish.insecure => Ok(Trust::default().anyone()),
        Some(file) => Trust::default().with_authorities(file),
        None if named.trim().is_empty() => Ok(Trust::default()),
        None => Trust::default()
            .with_authorities_of(named)
            .context(|| "take the certificates that CDI names"),
    }
}

/// The way out of an error of trust, in this tool's flags.
fn hinted(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Auth => error.with_hint("--upload-proxy-ca names who vouches for the proxy"),
        _ => error,
    }
}

/// CDI's configuration; nothing where it may not be seen.
async fn config(kubevirt: &Kubevirt) -> Result<Value> {
    let resource: Resource = kubevirt.client().resource(CDI, "cdiconfigs").await?;
    let found = kubevirt.client().get::<Value>(Place { resource, namespace: None }, "config").await;
    match optional(found) {
        Ok(found) => Ok(found.unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::Auth => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// The namespace of the proxy.
async fn home(kubevirt: &Kubevirt) -> Result<String> {
    let services = |namespace| Place { resource: Resource::core("services"), namespace };
    let query = format!("labelSelector={}", escape(&format!("cdi.kubevirt.io={SERVICE}")));
    let client = kubevirt.client();
    let unseen = match client.page::<Value>(services(None), &query, "").await {
        Ok(page) => {
            let found = page.items.iter().find(|it| text(it, "/metadata/name") == SERVICE);
            let found = found.map(|it| text(it, "/metadata/namespace").to_owned());
            return found.ok_or_else(|| {
                nowhere().with_hint(format!("no namespace of it has a service {SERVICE}"))
            });
        }
        Err(error) if error.kind() == ErrorKind::Auth => error,
        Err(error) => return Err(error.context("look for CDI's upload proxy")),
    };
    for home in HOMES {
        match client.get::<Value>(services(Some(home)), SERVICE).await {
            Ok(_) => return Ok(home.to_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::Auth | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Err(unseen.context("look for CDI's upload proxy"))
}

/// The authorities that vouch for the proxy's own certificate; none where they may not be seen.
async fn bundle(kubevirt: &Kubevirt, home: &str) -> Result<Option<String>> {
    let place = Place { resource: Resource::core("configmaps"), namespace: Some(home) };
    match optional(kubevirt.client().get::<Value>(place, BUNDLE.0).await) {
        Ok(found) => {
            let found = found.and_then(|it| Some(it["data"][BUNDLE.1].as_str()?.to_owned()));
            Ok(found.filter(|pem| !pem.trim().is_empty()))
        }
        Err(error) if error.kind() == ErrorKind::Auth => Ok(None),
        Err(error) => Err(error),
    }
}

/// A URL as it is typed or as CDI has it, which leaves the scheme away.
fn parse(text: &str, insecure: bool) -> Result<Url> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let wrong =
        |why: &str| Error::usage(why.to_owned()).with_hint("such as https://cdi.example.com");
    let url = Url::parse(&whole).map_err(|_| wrong("this is no URL of an upload proxy"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if insecure => Ok(url),
        "http" => Err(wrong("everybody on the way could read what is sent to it")
            .with_hint("--insecure sends it all the same")),
        _ => Err(wrong("this is no URL of an upload proxy")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_with_and_without_its_scheme() {
        assert_eq!(parse("cdi.example.com", false).unwrap().as_str(), "https://cdi.example.com/");
        assert_eq!(parse("127.0.0.1:31001", false).unwrap().port(), Some(31001));
        assert!(parse("http://a", true).is_ok());
        for wrong in ["http://a", "ftp://a", "https://", "a b"] {
            assert_eq!(parse(wrong, false).unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }
}
