//! HTTP over connections that somebody else brings: to a server that can only be reached through
//! another one.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::http::{CONNECT, PAUSE, SILENCE, distrust, not_tls, place, silent};
use super::tls::Refused;
use super::{Request, Response, Trust};
use crate::error::{Error, ErrorKind, Result};

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
    connections: Mutex<Vec<SendRequest<Full<Bytes>>>>,
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
        let mut connection = match self.idle() {
            Some(connection) => connection,
            None => self.connect(&place, request.url.host_str().unwrap_or_default()).await?,
        };
        let answer = timeout(SILENCE, connection.send_request(head(request)?)).await;
        let answer = answer.map_err(|_| silent(&place))?;
        let answer = answer.map_err(|error| broke(&place, error))?;
        // It is ready again once the answer was read.
        self.lock().push(connection);
        Ok(Response { inner: answer.map(reqwest::Body::wrap).into(), place })
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut connections = self.lock();
        connections.retain(|connection| !connection.is_closed());
        let ready = connections.iter().position(SendRequest::is_ready)?;
        Some(connections.swap_remove(ready))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, place: &str, host: &str) -> Result<SendRequest<Full<Bytes>>> {
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

/// The request as it goes over the wire.
fn head(request: Request) -> Result<http::Request<Full<Bytes>>> {
    let Request { method, url, headers, body, .. } = request;
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
        .body(Full::new(body.unwrap_or_default()))
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
