//! A client of the real API server (and of etcd): what the proxy passes requests on with, and what
//! the controllers speak through. It knows JSON and nothing of what is in it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::Reply;

/// Connections that are kept open for the next request.
const IDLE: usize = 64;

/// A request that did not do what it should.
#[derive(Debug, Clone)]
pub struct Fail {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// What the server said.
    pub message: String,
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Self { status: 0, message: error.to_string() }
    }
}

impl std::fmt::Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.message)
    }
}

/// A server.
pub struct Upstream {
    /// `HOST:PORT`.
    pub address: String,
    name: ServerName<'static>,
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<HeaderValue>,
    idle: Arc<Mutex<Vec<http1::SendRequest<Reply>>>>,
}

impl Upstream {
    /// A server at `HOST:PORT`, and how this simulator itself is known to it.
    ///
    /// # Errors
    /// `InvalidInput` for an address or a token that cannot be one.
    pub fn new(
        address: String,
        tls: Option<Arc<ClientConfig>>,
        token: Option<&str>,
    ) -> io::Result<Self> {
        let wrong = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let bearer = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}")));
        let authorization = bearer.transpose().map_err(wrong)?;
        Ok(Self { address, name, tls, authorization, idle: Arc::default() })
    }

    /// Sends a request whose URI is a path; the answer's body comes as it is read.
    ///
    /// # Errors
    /// When there is no connection, or it ends before the answer.
    pub async fn send(&self, mut request: Request<Reply>) -> io::Result<Response<Incoming>> {
        let host = HeaderValue::from_str(&self.address).map_err(io::Error::other)?;
        request.headers_mut().insert(header::HOST, host);
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut sender) = idle else { break };
            if sender.is_closed() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.keep(sender);
                    return Ok(answer);
                }
                // The server had closed it in the meantime.
                Err(mut error) => match error.take_message() {
                    Some(back) => request = back,
                    None => return Err(io::Error::other(error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        self.keep(sender);
        Ok(answer)
    }

    /// Keeps the connection for another request, from when this answer was read.
    fn keep(&self, mut sender: http1::SendRequest<Reply>) {
        let idle = self.idle.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < IDLE {
                    idle.push(sender);
                }
            }
        });
    }

    async fn connect(&self) -> io::Result<http1::SendRequest<Reply>> {
        let stream = TcpStream::connect(&self.address).await?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => handshake(stream).await,
            Some(config) => {
                let connector = TlsConnector::from(config.clone());
                handshake(connector.connect(self.name.clone(), stream).await?).await
            }
        }
    }

    /// Sends a request as the simulator itself.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<Bytes>,
    ) -> io::Result<Response<Incoming>> {
        let uri: Uri = path.parse().map_err(io::Error::other)?;
        let mut request = Request::new(Reply::Text(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(kind) = HeaderValue::from_str(kind) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        self.send(request).await
    }

    /// A call with a body and an answer in JSON.
    ///
    /// # Errors
    /// [`Fail`] for every status from 400 on, and where there is no answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Fail> {
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        self.call_as(method, path, kind, body.map(|body| body.to_string().into())).await
    }

    /// As [`Upstream::call`], with a body of another kind.
    ///
    /// # Errors
    /// As [`Upstream::call`].
    pub async fn call_as(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<Bytes>,
    ) -> Result<Value, Fail> {
        let answer = self.ask(method, path, kind, body).await?;
        let status = answer.status().as_u16();
        let bytes = all(answer.into_body()).await?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status < 400 {
            return Ok(value);
        }
        let message = value.get("message").and_then(Value::as_str);
        let message = message.map_or_else(|| String::from_utf8_lossy(&bytes).into(), str::to_owned);
        Err(Fail { status, message })
    }

    /// Makes an object; one that is there is taken as it is.
    ///
    /// # Errors
    /// As [`Upstream::call`], but for 409.
    pub async fn make(&self, path: &str, object: &Value) -> Result<(), Fail> {
        match self.call(Method::POST, path, Some(object)).await {
            Ok(_) | Err(Fail { status: 409, .. }) => Ok(()),
            Err(fail) => Err(fail),
        }
    }

    /// What is at a path.
    ///
    /// # Errors
    /// As [`Upstream::call`].
    pub async fn get(&self, path: &str) -> Result<Value, Fail> {
        self.call(Method::GET, path, None).await
    }

    /// What is at a path, if anything is.
    ///
    /// # Errors
    /// As [`Upstream::call`], but for 404.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, Fail> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(Fail { status: 404, .. }) => Ok(None),
            Err(fail) => Err(fail),
        }
    }

    /// Starts to watch: the events come as lines.
    ///
    /// # Errors
    /// As [`Upstream::call`].
    pub async fn watch(&self, path: &str) -> Result<Lines, Fail> {
        let answer = self.ask(Method::GET, path, "application/json", None).await?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(Fail { status, message: "no watch".to_owned() });
        }
        Ok(Lines { body: answer.into_body(), buffer: BytesMut::new() })
    }
}

async fn handshake<S>(stream: S) -> io::Result<http1::SendRequest<Reply>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::Builder::new().handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!("a connection to the API server ended: {error}");
        }
    });
    Ok(sender)
}

/// The lines of a watch.
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The next event; `None` at the end, however it came.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                return serde_json::from_slice(&line).ok();
            }
            let frame = next_frame(&mut self.body).await?.ok()?;
            self.buffer.extend_from_slice(&frame);
        }
    }
}

/// The next part of a body.
pub async fn next_frame(body: &mut Incoming) -> Option<io::Result<Bytes>> {
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Ok(frame) => match frame.into_data() {
                Ok(data) => return Some(Ok(data)),
                Err(_) => continue,
            },
            Err(error) => return Some(Err(io::Error::other(error))),
        }
    }
}

/// All of a body.
///
/// # Errors
/// When it breaks off.
pub async fn all(mut body: Incoming) -> io::Result<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(part) = next_frame(&mut body).await {
        let part = part?;
        bytes.extend_from_slice(part.chunk());
    }
    Ok(bytes.freeze())
}
