//! Listening, with TLS or without.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_common::error::{Error, Result};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::body::Reply;

/// Bytes that are encrypted before they are written.
const TLS_BUFFER: usize = 512 << 10;

/// Starts to listen.
///
/// # Errors
/// What the operating system says of the address.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |error| Error::io("listen", error).with_subject(address.to_string());
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Answers every connection, for as long as this is waited for.
pub async fn serve<F, Fut>(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, answer: F)
where
    F: Fn(IpAddr, Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Reply>> + Send + 'static,
{
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of descriptors, most likely: some connections have to end first.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            connection(stream, peer.ip(), acceptor, answer).await;
        });
    }
}

async fn connection<F, Fut>(
    stream: TcpStream,
    peer: IpAddr,
    acceptor: Option<TlsAcceptor>,
    answer: F,
) where
    F: Fn(IpAddr, Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Reply>> + Send + 'static,
{
    match acceptor {
        None => speak(stream, peer, answer).await,
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(mut stream) => {
                // Many records for one system call: what is measured is the client.
                stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
                speak(stream, peer, answer).await;
            }
            Err(error) => tracing::debug!("no TLS from {peer}: {error}"),
        },
    }
}

/// Answers what comes over one connection.
pub async fn speak<S, F, Fut>(stream: S, peer: IpAddr, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(IpAddr, Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Reply>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(peer, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let spoken = http1::Builder::new()
        .max_buf_size(1 << 20)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = spoken {
        tracing::debug!("the connection from {peer} ended: {error}");
    }
}
