//! WebSockets of browsers (RFC 6455), the server's side.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Bytes that wait on the way from and to a browser, each way.
const WAITING: usize = 256 << 10;

/// How often a ping is sent: sleeping tabs are noticed, and nothing between takes it for dead.
pub const PING: Duration = Duration::from_secs(15);

/// The subprotocol that older releases of noVNC ask for.
const BINARY: &str = "binary";

/// The answer that makes a WebSocket of a connection.
///
/// # Errors
/// Words for a client that wants none, or another kind.
pub fn agree(request: &Request<Incoming>) -> Result<Response<()>, &'static str> {
    let headers = request.headers();
    let says = |name: header::HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|it| it.to_str().ok());
        values.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    let version = says(header::SEC_WEBSOCKET_VERSION, "13");
    let wants = says(header::UPGRADE, "websocket") && says(header::CONNECTION, "upgrade");
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let (Some(key), true, true) = (key, version, wants) else {
        return Err("this is for WebSockets");
    };
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let all = answer.headers_mut();
    all.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    all.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        all.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if says(header::SEC_WEBSOCKET_PROTOCOL, BINARY) {
        all.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BINARY));
    }
    Ok(answer)
}

/// A WebSocket on a connection that was agreed on.
pub async fn over<S>(connection: S) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    WebSocketStream::from_raw_socket(connection, Role::Server, None).await
}

/// The binary messages of a WebSocket as a stream of bytes, and the work that passes them on.
pub async fn stream<S>(connection: S) -> (DuplexStream, impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket = over(connection).await;
    let (near, far) = tokio::io::duplex(WAITING);
    (near, pump(socket, far))
}

async fn pump<S>(socket: WebSocketStream<S>, stream: DuplexStream)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut source) = socket.split();
    let (mut from, mut to) = tokio::io::split(stream);
    let up = async {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(bytes) if to.write_all(&bytes).await.is_ok() => {}
                Message::Binary(_) | Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = to.shutdown().await;
    };
    let down = async {
        let mut pings = tokio::time::interval(PING);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let message = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(len @ 1..) => Message::Binary(Bytes::copy_from_slice(&buffer[..len])),
                    _ => break,
                },
                _ = pings.tick() => Message::Ping(Bytes::new()),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
