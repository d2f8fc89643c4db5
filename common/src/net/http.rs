//! Requests over HTTP/1.1 and their answers, in hyper's own errors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Url, redirect};

use super::flow::Flow;
use super::tls::Refused;
use super::{Thumbprint, Trust};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(20);

/// How long a server may say nothing. There is no limit for a whole transfer.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// How long to wait after a failure that may pass, where the server does not say.
pub(super) const PAUSE: Duration = Duration::from_millis(400);

/// Most redirects that are followed, all on the same host.
const REDIRECTS: usize = 5;

/// A client for any number of servers that believes those that [`Trust`] names. Connections are
/// kept and used again. Proxies are taken from the usual variables (`HTTPS_PROXY`, `NO_PROXY`).
#[derive(Debug)]
pub struct Http {
    trust: Trust,
    clients: Mutex<HashMap<(String, Option<Thumbprint>), reqwest::Client>>,
}

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pinned: Option<Thumbprint>,
    login: Option<(String, Secret)>,
}

impl Request {
    /// A GET.
    pub fn get(url: Url) -> Self {
        let headers = HeaderMap::new();
        Self { method: Method::GET, url, headers, body: None, pinned: None, login: None }
    }

    /// A HEAD.
    pub fn head(url: Url) -> Self {
        Self { method: Method::HEAD, ..Self::get(url) }
    }

    /// A POST with a body.
    pub fn post(url: Url, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: Some(body.into()), ..Self::get(url) }
    }

    /// A DELETE.
    pub fn delete(url: Url) -> Self {
        Self { method: Method::DELETE, ..Self::get(url) }
    }

    /// Adds a header; its value is taken for a secret and not shown. A value that no header can
    /// have is left away.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Logs in with a password (Basic, RFC 7617). Tunnels and uploads do not carry it.
    #[must_use]
    pub fn login(mut self, user: &str, password: Secret) -> Self {
        self.login = Some((user.to_owned(), password));
        self
    }

    /// Believes the server by this certificate, too.
    #[must_use]
    pub fn pinned(mut self, print: Option<Thumbprint>) -> Self {
        self.pinned = print;
        self
    }
}

impl Http {
    /// A client that believes what `trust` says.
    pub fn new(trust: Trust) -> Self {
        Self { trust, clients: Mutex::default() }
    }

    /// Makes a request and waits for the head of its answer, whatever its status.
    ///
    /// # Errors
    /// `Unavailable` naming host and port where the server cannot be reached or does not answer,
    /// with a time to wait where that may pass; `Auth` for a certificate that is not believed,
    /// with its thumbprints as hints.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let Request { method, url, headers, body, pinned, login } = request;
        let place = place(&url)?;
        let client = self.client(&place, pinned)?;
        let mut builder = client.request(method, url).headers(headers);
        if let Some(body) = body {
            builder = builder.body(body);
        }
        if let Some((user, password)) = login {
            builder = builder.basic_auth(user, Some(password.expose()));
        }
        match tokio::time::timeout(SILENCE, builder.send()).await {
            Ok(Ok(inner)) => Ok(Response { inner, place }),
            Ok(Err(error)) => Err(explain(error, &place, "talk to the server")),
            Err(_) => Err(silent(&place)),
        }
    }

    /// Makes a request with a body that comes in parts, `len` bytes of it where that is known, and
    /// waits for the head of the answer, whatever its status. How long a server takes for what it
    /// has got is not limited.
    ///
    /// # Errors
    /// As [`Http::send`], where the server takes nothing for a while; the body's own.
    pub async fn upload(
        &self,
        request: Request,
        len: Option<u64>,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> Result<Response> {
        let Request { method, url, mut headers, pinned, .. } = request;
        let place = place(&url)?;
        let client = self.client(&place, pinned)?;
        if let Some(len) = len {
            headers.insert(reqwest::header::CONTENT_LENGTH, HeaderValue::from(len));
        }
        let flow = Arc::new(Flow::default());
        let body = reqwest::Body::wrap_stream(flow.clone().watch(body));
        let sent = client.request(method, url).headers(headers).body(body).send();
        match flow.wait(sent, &place).await? {
            Ok(inner) => Ok(Response { inner, place }),
            Err(error) => {
                Err(flow.failure().unwrap_or_else(|| explain(error, &place, "send to the server")))
            }
        }
    }

    fn client(&self, place: &str, pinned: Option<Thumbprint>) -> Result<reqwest::Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place.to_owned(), pinned);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.trust.client(place, key.1.as_ref())?)
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::custom(same_host))
            .http1_only()
            .user_agent(concat!("hyper/", env!("CARGO_PKG_VERSION")))
            .tcp_keepalive(Duration::from_secs(60))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "set up the HTTP client")
                    .with_source(error.without_url())
            })?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Follows a server that sends to another path of its own; anywhere else a session's cookie or
/// a password could end up with a stranger.
fn same_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let origin = attempt.previous().first().map(Url::origin);
    if origin == Some(attempt.url().origin()) && attempt.previous().len() <= REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// `host:port` of a URL.
pub(super) fn place(url: &Url) -> Result<String> {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(Error::usage("the URL names no server")),
    }
}

/// The head of an answer; the body is still to be read.
#[derive(Debug)]
pub struct Response {
    pub(super) inner: reqwest::Response,
    pub(super) place: String,
}

impl Response {
    /// The status: 200, 206, 404 …
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// `host:port` of the server.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A header's value, where it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// All values of a header that are text.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.inner.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The length of the body as announced.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// `Unavailable` where the connection ends before the body does or the server falls silent.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match tokio::time::timeout(SILENCE, self.inner.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(explain(error, &self.place, "read the server's answer")),
            Err(_) => Err(silent(&self.place)),
        }
    }

    /// The body as a stream; ends after the first error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        futures::stream::unfold(Some(self), |state| async {
            let mut response = state?;
            match response.chunk().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(response))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// The whole body, of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Response::chunk`]; `Protocol` for a longer one.
    pub async fn bytes(mut self, most: usize) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            if whole.len() + bytes.len() > most {
                return Err(Error::new(ErrorKind::Protocol, "the server's answer is too long")
                    .with_subject(self.place));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }

    /// The answer of a server that is well and does what it was asked, with the status among
    /// `good`.
    ///
    /// # Errors
    /// By the status: 401 and 403 `Auth`, 404 and 410 `NotFound`, 409 and 423 `Conflict`,
    /// 429, 502, 503 and 504 `Unavailable` with the time that the server asks to wait, else
    /// `Protocol`.
    pub fn expect(self, good: &[u16]) -> Result<Self> {
        let status = self.status();
        if good.contains(&status) {
            return Ok(self);
        }
        let kind = match status {
            401 | 403 | 407 => ErrorKind::Auth,
            404 | 410 => ErrorKind::NotFound,
            409 | 423 => ErrorKind::Conflict,
            408 | 429 | 502..=504 => ErrorKind::Unavailable,
            _ => ErrorKind::Protocol,
        };
        let words = self.inner.status().canonical_reason().unwrap_or_default();
        let error = Error::new(kind, format!("the server answers {status} {words}").trim_end())
            .with_subject(self.place.clone());
        if kind != ErrorKind::Unavailable {
            return Err(error);
        }
        let asked = self.header(RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok());
        Err(error.with_retry_after(asked.map_or(PAUSE, Duration::from_secs)))
    }
}

pub(super) fn silent(place: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the server has said nothing for {} s", SILENCE.as_secs()),
    )
    .with_subject(place.to_owned())
}

/// The library's error in hyper's words. Its own text is not used: it may repeat the URL.
fn explain(error: reqwest::Error, place: &str, doing: &str) -> Error {
    if let Some(refused) = cause::<Refused>(&error) {
        return distrust(refused, place);
    }
    let unavailable = |words: &str| {
        Error::new(ErrorKind::Unavailable, words.to_owned()).with_subject(place.to_owned())
    };
    if error.is_connect() {
        if error.is_timeout() {
            let words = format!("no connection within {} s", CONNECT.as_secs());
            return unavailable(&words).with_hint(reach(place));
        }
        if let Some(tls) = cause::<rustls::Error>(&error) {
            return not_tls(tls, place);
        }
        return unavailable("cannot connect").with_source(deepest(&error)).with_hint(reach(place));
    }
    if error.is_builder() || error.is_request() && cause::<std::io::Error>(&error).is_none() {
        let error = error.without_url();
        return unavailable(doing).with_source(deepest(&error)).with_retry_after(PAUSE);
    }
    unavailable("the connection broke").with_source(deepest(&error)).with_retry_after(PAUSE)
}

pub(super) fn not_tls(tls: &rustls::Error, place: &str) -> Error {
    use rustls::CertificateError::BadSignature;
    let error = Error::new(ErrorKind::Protocol, "the server does not speak TLS as it should")
        .with_subject(place.to_owned())
        .with_source(tls.to_string());
    if matches!(tls, rustls::Error::InvalidCertificate(BadSignature)) {
        return error.with_hint("a certificate with an RSA key below 2048 bits is not accepted");
    }
    error
}

fn reach(place: &str) -> String {
    format!("check that {place} can be reached from here")
}

pub(super) fn distrust(refused: &Refused, place: &str) -> Error {
    let Refused { reason, sha256, sha1, pinned } = refused;
    let error = Error::new(ErrorKind::Auth, reason.clone())
        .with_subject(place.to_owned())
        .with_hint(format!("its SHA-256 thumbprint is {sha256}"))
        .with_hint(format!("its SHA-1 thumbprint is {sha1}"));
    if *pinned {
        return error.with_hint(
            "if the server got a new certificate, compare with its console and pin the new one",
        );
    }
    error.with_hint(
        "compare with the server's console, then pin it (--thumbprint, GOVC_TLS_KNOWN_HOSTS), or \
         name the authority that vouches for it (--ca-file, GOVC_TLS_CA_CERTS)",
    )
}

/// The words of the innermost error, which tells most. Addresses of a library's manual, which
/// rustls adds where a connection ends without its farewell, are for programmers.
fn deepest(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(next) = last.source() {
        last = next;
    }
    without_manual(&last.to_string()).to_owned()
}

fn without_manual(words: &str) -> &str {
    words.split_once(": https://").map_or(words, |(words, _)| words)
}

/// The first error of a type among the causes, those inside of I/O errors included.
fn cause<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(level) = next {
        if let Some(found) = level.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error's source is that of the error in it, not that error itself.
        let inner = level.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match (inner, level.downcast_ref::<rustls::Error>()) {
            (Some(inner), _) => Some(inner),
            (None, Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(e)))) => {
                Some(&*e.0)
            }
            _ => level.source(),
        };
    }
    None
}
