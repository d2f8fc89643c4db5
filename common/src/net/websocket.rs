//! Opening a WebSocket (RFC 6455) at a server, with TLS or without.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{Error as Broken, http};

use super::http::{place, silent};
use super::tunnel::refused;
use super::{Line, Trust};
use crate::error::{Error, ErrorKind, Result};

/// How long each step of connecting may take.
const CONNECT: Duration = Duration::from_secs(30);

impl Line {
    /// Opens a WebSocket at `url` (`wss` or `ws`), in which `protocol` is spoken.
    ///
    /// # Errors
    /// `Unavailable` where the server cannot be reached; `Auth` for a certificate that is not
    /// believed; by the status where the server opens none; `Protocol`.
    pub async fn open(url: &Url, trust: &Trust, protocol: &'static str) -> Result<Self> {
        let place = place(url)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(443);
        let unreachable = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "connect to the server")
                .with_subject(place.clone())
                .with_source(error)
        };
        let bare = host.trim_matches(['[', ']']);
        let stream = timeout(CONNECT, TcpStream::connect((bare, port))).await;
        let stream = stream.map_err(|_| silent(&place))?.map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        let mut request = url.as_str().into_client_request().map_err(|error| {
            Error::new(ErrorKind::Protocol, "this is no address of a WebSocket").with_source(error)
        })?;
        let spoken = HeaderValue::from_static(protocol);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, spoken);
        if url.scheme() == "ws" {
            let opened = timeout(CONNECT, client_async(request, stream)).await;
            let (socket, _) =
                opened.map_err(|_| silent(&place))?.map_err(|error| unopened(error, &place))?;
            return Ok(Self::carried(socket));
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| {
            Error::new(ErrorKind::Protocol, "no certificate can be for this name")
                .with_subject(bare)
                .with_source(error)
        })?;
        let tls = TlsConnector::from(Arc::new(trust.client(&place, None)?));
        let stream = timeout(CONNECT, tls.connect(name, stream)).await;
        let stream = stream.map_err(|_| silent(&place))?.map_err(|error| refused(&place, error))?;
        let opened = timeout(CONNECT, client_async(request, stream)).await;
        let (socket, _) =
            opened.map_err(|_| silent(&place))?.map_err(|error| unopened(error, &place))?;
        Ok(Self::carried(socket))
    }
}

/// Why a server opens no WebSocket.
fn unopened(error: Broken, place: &str) -> Error {
    let kind = match &error {
        Broken::Http(answer) => match answer.status() {
            http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN => ErrorKind::Auth,
            http::StatusCode::NOT_FOUND => ErrorKind::NotFound,
            status if status.is_server_error() => ErrorKind::Unavailable,
            _ => ErrorKind::Protocol,
        },
        Broken::Io(_) => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    };
    let status = match &error {
        Broken::Http(answer) => {
            format!("the server opens no WebSocket but answers {}", answer.status())
        }
        _ => "the server opens no WebSocket".to_owned(),
    };
    Error::new(kind, status).with_subject(place).with_source(error.to_string())
}
