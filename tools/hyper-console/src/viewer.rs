//! A screen for viewers: each that connects gets a connection to the machine of its own, byte for
//! byte, or all of them see one.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::net::Line;
use hyper_common::tool::{Context, Remarks};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::record::ViewerRow;
use crate::request::Vnc;
use crate::run::Machine;
use crate::sessions::Session;
use crate::share::Shared;
use crate::{onlooker, web};

/// A screen that viewers can connect to.
pub struct Screen {
    machine: Machine,
    polite: bool,
    shared: Option<Arc<Shared>>,
    open: Arc<Session>,
    remarks: Remarks,
}

/// Serves viewers until asked to stop.
///
/// # Errors
/// `Conflict` for a machine that does not run; `Io` for an address that cannot be had.
pub async fn serve(machine: Machine, asked: &Vnc, cx: &mut Context) -> Result<()> {
    let page = asked.browser.as_deref().map(web::Page::open).transpose()?;
    let runs = machine.console()?.runs(&machine.id);
    if !cx.cancel.unless_cancelled(runs).await? {
        return Err(Error::conflict("the machine does not run")
            .with_hint("`hyper vm start` switches it on"));
    }
    let (listener, address) = listen(asked.listen, cx).await?;
    let url = page.as_ref().map(|page| page.url(address));
    let kind = if page.is_some() { "browser" } else { "vnc" };
    // The word in a page's address is for who was given it.
    let open = Arc::new(Session::open(kind, &machine, Some(address.to_string())));
    let shared = asked.share.then(|| {
        let (cancel, remarks) = (cx.cancel.clone(), cx.remarks.clone());
        Shared::new(machine.clone(), asked.preserve, open.clone(), cancel, remarks)
    });
    let screen = Arc::new(Screen {
        machine: machine.clone(),
        polite: asked.preserve,
        shared,
        open: open.clone(),
        remarks: cx.remarks.clone(),
    });
    cx.printer.next(&ViewerRow {
        vm: machine.name.clone(),
        context: machine.context.clone(),
        address: url.is_none().then(|| address.to_string()),
        url,
    })?;
    if let Some(page) = page {
        return web::serve(page, listener, address, (machine, screen, open), cx).await;
    }
    loop {
        tokio::select! {
            () = cx.cancel.cancelled() => return cx.cancel.check(),
            accepted = listener.accept() => {
                let (stream, from) = accepted.map_err(|error| failed(asked.listen, error))?;
                let _ = stream.set_nodelay(true);
                let screen = screen.clone();
                tokio::spawn(async move { screen.attend(stream, &from.to_string()).await });
            }
        }
    }
}

fn failed(address: SocketAddr, error: std::io::Error) -> Error {
    Error::io(format!("listen on {address}"), error)
}

async fn listen(address: SocketAddr, cx: &Context) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| failed(address, error))?;
    let bound = listener.local_addr().map_err(|error| failed(address, error))?;
    if !bound.ip().is_loopback() {
        cx.remarks.warn("whoever reaches this address can use the machine's screen and keyboard");
    }
    Ok((listener, bound))
}

impl Screen {
    /// Serves one viewer, until it or the machine ends the connection.
    pub async fn attend<S>(&self, mut stream: S, from: &str)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.remarks.say(&format!("a viewer has come ({from})"));
        let viewer = self.open.viewer();
        let outcome = match &self.shared {
            Some(shared) => onlooker::serve(stream, shared, &self.machine.name).await,
            None => {
                let screen =
                    async { self.machine.console()?.screen(&self.machine.id, self.polite).await };
                match screen.await {
                    Ok(line) => relay(line, stream).await,
                    Err(error) => {
                        let _ = refuse(&mut stream, &one_line(&error)).await;
                        Err(error)
                    }
                }
            }
        };
        drop(viewer);
        match outcome {
            Ok(()) => self.remarks.say(&format!("a viewer has gone ({from})")),
            Err(error) => {
                self.remarks.warn(&format!("a viewer has gone ({from}): {}", one_line(&error)));
            }
        }
    }
}

/// Passes bytes on both ways, until one side ends.
async fn relay<S>(line: Line, stream: S) -> Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, writer) = line.split();
    let (mut from, mut to) = tokio::io::split(stream);
    let down = async {
        while let Some(part) = reader.next().await {
            let bytes = match part {
                Ok(bytes) => bytes,
                Err(error) => {
                    let _ = to.shutdown().await;
                    return Err(error);
                }
            };
            if to.write_all(&bytes).await.is_err() {
                return Ok(());
            }
        }
        let _ = to.shutdown().await;
        Ok(())
    };
    let up = async {
        let mut buffer = vec![0; 8192];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            if writer.send(Bytes::copy_from_slice(&buffer[..len])).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        end = down => end,
        () = up => Ok(()),
    }
}

/// Tells a viewer why it sees nothing (RFC 6143 section 7.1.2: no security types, and a reason).
///
/// # Errors
/// Those of writing to it.
pub async fn refuse<S>(stream: &mut S, words: &str) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(b"RFB 003.008\n").await?;
    let mut version = [0; 12];
    stream.read_exact(&mut version).await?;
    let mut answer = Vec::new();
    // The oldest viewers read a longer nothing.
    if version.starts_with(b"RFB 003.003") {
        answer.extend([0; 3]);
    }
    answer.push(0);
    answer.extend(u32::try_from(words.len()).unwrap_or(0).to_be_bytes());
    answer.extend(words.as_bytes());
    stream.write_all(&answer).await?;
    stream.shutdown().await
}
