//! A screen for VNC viewers: each that connects here gets a connection to the machine of its own,
//! byte for byte.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper_common::error::{Error, Result, one_line};
use hyper_common::net::Line;
use hyper_common::tool::{Context, Remarks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::record::ViewerRow;
use crate::run::Machine;

/// Serves viewers until asked to stop.
///
/// # Errors
/// `Conflict` for a machine that does not run; `Io` for an address that cannot be had.
pub async fn serve(
    machine: Machine,
    listen: SocketAddr,
    preserve: bool,
    cx: &mut Context,
) -> Result<()> {
    let runs = machine.console()?.runs(&machine.id);
    if !cx.cancel.unless_cancelled(runs).await? {
        return Err(Error::conflict("the machine does not run")
            .with_hint("`hyper vm start` switches it on"));
    }
    let failed = |error| Error::io(format!("listen on {listen}"), error);
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if !address.ip().is_loopback() {
        cx.remarks.warn("whoever reaches this address can use the machine's screen and keyboard");
    }
    cx.printer.next(&ViewerRow {
        vm: machine.name.clone(),
        context: machine.context.clone(),
        address: address.to_string(),
    })?;
    loop {
        tokio::select! {
            () = cx.cancel.cancelled() => return cx.cancel.check(),
            accepted = listener.accept() => {
                let (stream, from) = accepted.map_err(failed)?;
                tracing::info!("a viewer from {from}");
                tokio::spawn(attend(machine.clone(), stream, preserve, cx.remarks.clone()));
            }
        }
    }
}

/// One viewer, until it or the machine ends the connection.
async fn attend(machine: Machine, mut stream: TcpStream, preserve: bool, remarks: Remarks) {
    let screen = async { machine.console()?.screen(&machine.id, preserve).await };
    match screen.await {
        Ok(line) => relay(line, stream).await,
        Err(error) => {
            let words = one_line(&error);
            remarks.warn(&format!("a viewer is refused: {words}"));
            let _ = refuse(&mut stream, &words).await;
        }
    }
}

async fn relay(line: Line, mut stream: TcpStream) {
    let (mut reader, writer) = line.split();
    let (mut from, mut to) = stream.split();
    let down = async {
        while let Some(Ok(bytes)) = reader.next().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
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
        () = down => {}
        () = up => {}
    }
}

/// Tells a viewer why it sees nothing (RFC 6143 section 7.1.2: no security types, and a reason).
async fn refuse(stream: &mut TcpStream, words: &str) -> std::io::Result<()> {
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
