//! HTTP over connections that somebody else brings: to a server that can only be reached through
//! another one.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::flow::Flow;
use super::http::{CONNECT, PAUSE, SILENCE, distrust, not_tls, place, silent};
use super::tls::Refused;
use super::{Http, Request, Response, Trust};
use crate::error::{Error, ErrorKind, Result};

/// What is sent: at once, or in parts.
type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Brings connections.
#[async_trait]
pub trait Tunnel: Debug + Send + Sync {
    /// A new one to the server, on which nothing was said yet.
    ///
    /// # Errors
    /// Those of whoever stands between.
    async fn connect(&self) -> Result<Box<dyn Duplex>>;
}

/// The HTTPS client of one server behind a tunnel. Connections are kept and used again.
#[derive(Debug)]
pub struct Tunnelled {
    trust: Trust,
    tunnel: Arc<dyn Tunnel>,
    connections: Mutex<Vec<SendRequest<Body>>>,
}

impl Tunnelled {
    /// A client that believes what `trust` says of the name in its requests' URLs.
    pub fn new(trust: Trust, tunnel: Arc<dyn Tunnel>) -> Self {
        Self { trust, tunnel, connections: Mutex::default() }
    }

    /// Makes a request and waits for the head of its answer, whatever its status. Redirects are
    /// not followed.
    ///
    /// # Errors
    /// As [`super::Http::send`]; those of the tunnel.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let place = place(&request.url)?;
        let mut connection = self.connection(&request, &place).await?;
        let body = Full::new(request.body.clone().unwrap_or_default());
        let request = head(request, body.map_err(|never| match never {}).boxed_unsync())?;
        let answer = timeout(SILENCE, connection.send_request(request)).await;
        let answer = answer.map_err(|_| silent(&place))?;
        let answer = answer.map_err(|error| broke(&place, error))?;
        Ok(self.answered(connection, answer, place))
    }

    /// Makes a request with a body that comes in parts, `len` bytes of it where that is known, and
    /// waits for the head of the answer, whatever its status.
    ///
    /// # Errors
    /// As [`super::Http::upload`]; those of the tunnel.
    pub async fn upload(
        &self,
        request: Request,
        len: Option<u64>,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> Result<Response> {
        let place = place(&request.url)?;
        let mut connection = self.connection(&request, &place).await?;
        let flow = Arc::new(Flow::default());
        let body = StreamBody::new(flow.clone().watch(body).map_ok(Frame::data));
        let mut request = head(request, body.boxed_unsync())?;
        if let Some(len) = len {
            request.headers_mut().insert(http::header::CONTENT_LENGTH, len.into());
        }
        match flow.wait(connection.send_request(request), &place).await? {
            Ok(answer) => Ok(self.answered(connection, answer, place)),
            Err(error) => Err(flow.failure().unwrap_or_else(|| broke(&place, error))),
        }
    }

    /// The answer. The connection is ready again once it was read.
    fn answered(
        &self,
        connection: SendRequest<Body>,
        answer: http::Response<hyper::body::Incoming>,
        place: String,
    ) -> Response {
        self.lock().push(connection);
        Response { inner: answer.map(reqwest::Body::wrap).into(), place }
    }

    async fn connection(&self, request: &Request, place: &str) -> Result<SendRequest<Body>> {
        match self.idle() {
            Some(connection) => Ok(connection),
            None => self.connect(place, request.url.host_str().unwrap_or_default()).await,
        }
    }

    fn idle(&self) -> Option<SendRequest<Body>> {
        let mut connections = self.lock();
        connections.retain(|connection| !connection.is_closed());
        let ready = connections.iter().position(SendRequest::is_ready)?;
        Some(connections.swap_remove(ready))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Body>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, place: &str, host: &str) -> Result<SendRequest<Body>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            Error::new(ErrorKind::Protocol, "no certificate can be for this name")
                .with_subject(host)
                .with_source(error)
        })?;
        let tls = TlsConnector::from(Arc::new(self.trust.client(place, None)?));
        let stream = timeout(CONNECT, self.tunnel.connect()).await;
        let stream = stream.map_err(|_| silent(place))??;
        let stream = timeout(CONNECT, tls.connect(name, stream)).await;
        let stream = stream.map_err(|_| silent(place))?;
        let stream = stream.map_err(|error| refused(place, error))?;
        let (connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke(place, error))?;
        // Ends with the connection; who waits for an answer is told why.
        tokio::spawn(driver);
        Ok(connection)
    }
}

/// How a server is reached.
#[derive(Debug)]
pub enum Way {
    /// By connections to it.
    Direct(Http),
    /// Through something else.
    Through(Tunnelled),
}

impl Way {
    /// Makes a request.
    ///
    /// # Errors
    /// As [`Http::send`] and [`Tunnelled::send`].
    pub async fn send(&self, request: Request) -> Result<Response> {
        match self {
            Self::Direct(http) => http.send(request).await,
            Self::Through(tunnel) => tunnel.send(request).await,
        }
    }

    /// Makes a request with a body that comes in parts.
    ///
    /// # Errors
    /// As [`Http::upload`] and [`Tunnelled::upload`].
    pub async fn upload(
        &self,
        request: Request,
        len: Option<u64>,
        body: BoxStream<'static, Result<Bytes>>,
    ) -> Result<Response> {
        match self {
            Self::Direct(http) => http.upload(request, len, body).await,
            Self::Through(tunnel) => tunnel.upload(request, len, body).await,
        }
    }
}

/// The request as it goes over the wire.
fn head(request: Request, body: Body) -> Result<http::Request<Body>> {
    let Request { method, url, headers, .. } = request;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut head = http::Request::builder().method(method).uri(path);
    if let Some(known) = head.headers_mut() {
        *known = headers;
    }
    head.header(http::header::HOST, url.authority())
        .header(http::header::USER_AGENT, concat!("hyper/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .map_err(|error| Error::usage("this cannot be asked of a server").with_source(error))
}

fn broke(place: &str, error: hyper::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke")
        .with_subject(place)
        .with_source(error)
        .with_retry_after(PAUSE)
}

/// Why there is no TLS on the connection.
pub(super) fn refused(place: &str, error: std::io::Error) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            match other.0.downcast_ref::<Refused>() {
                Some(refused) => distrust(refused, place),
                None => not_tls(&rustls::Error::General(other.0.to_string()), place),
            }
        }
        Some(tls) => not_tls(tls, place),
        None => Error::new(ErrorKind::Unavailable, "the connection broke")
            .with_subject(place)
            .with_source(error)
            .with_retry_after(PAUSE),
    }
}
