//! Starting a simulated server and serving until someone wants it to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_common::error::{Error, Result};
use hyper_common::tool::Context;
use tokio::net::TcpListener;

use crate::kubevirt;
use crate::record::Access;
use crate::request::{Request, Vsphere};
use crate::rule::Rules;
use crate::serve::{listen, serve};
use crate::tls::Certificate;
use crate::vsphere::console;
use crate::vsphere::disk::Store;
use crate::vsphere::history::{self, History};
use crate::vsphere::http::answer;
use crate::vsphere::inventory::Inventory;
use crate::vsphere::sim::{Settings, Sim};
use crate::vsphere::state::State;
use crate::world;

/// Carries out a request. An interruption is how it ends, and no failure.
///
/// # Errors
/// `Io` for an address that cannot be listened on; those of opening image files.
pub async fn run(request: Request, cx: &mut Context) -> Result<()> {
    let cancel = cx.cancel.clone();
    match request {
        Request::Vsphere(request) => tokio::select! {
            ended = vsphere(*request, cx) => ended,
            () = cancel.cancelled() => Ok(()),
        },
        Request::Kubevirt(request) => kubevirt::run::run(*request, cx).await,
    }
}

async fn vsphere(request: Vsphere, cx: &mut Context) -> Result<()> {
    let (listener, address) = listen(request.args.listen).await?;
    let store = Store::new(cx.cancel.clone())?;
    let host = address.ip().to_string();
    let certificate = match request.args.plain {
        true => None,
        false => Some(Certificate::new(&host)?),
    };
    let (mut tree, own) = world::make(&request).await?;
    // Before anyone can ask for them: nobody should measure how fast this is.
    for (name, disk) in &own {
        store.stream(disk).await?;
        store.flat(disk).await?;
        cx.remarks.say(&format!("{name} is ready"));
    }
    let access = access(&request, &store, address, certificate.as_ref())?;
    let settings = settings(&request, address, certificate.as_ref());
    let lines = lines(&request, &mut tree).await?;
    let rules = Rules::new(request.faults);
    let mut state = State::new(tree);
    state.history = History::filled(request.args.events);
    let sim = Arc::new(Sim::new(settings, store, rules, state));
    for (id, listener) in lines {
        tokio::spawn(console::serial(sim.clone(), id, listener));
    }
    if let Some(rate) = request.args.event_rate {
        tokio::spawn(history::remarks(sim.clone(), rate));
    }
    access.print(cx)?;
    let tls = certificate.map(|certificate| certificate.config);
    serve(listener, tls, move |peer, request| answer(sim.clone(), peer, request)).await;
    Ok(())
}

/// Listens for the serial lines of machines.
async fn lines(request: &Vsphere, tree: &mut Inventory) -> Result<Vec<(String, TcpListener)>> {
    let mut lines = Vec::new();
    for machine in tree.machines.values_mut() {
        if request.args.serial.contains(&machine.name) {
            let (listener, address) = listen(([127, 0, 0, 1], 0).into()).await?;
            machine.serial = Some(address.port());
            lines.push((machine.reference.value.clone(), listener));
        }
    }
    Ok(lines)
}

fn settings(request: &Vsphere, address: SocketAddr, certificate: Option<&Certificate>) -> Settings {
    let args = &request.args;
    Settings {
        address,
        user: args.user.clone(),
        password: args.password.clone(),
        session_timeout: args.session_timeout,
        lease_timeout: args.lease_timeout,
        page_size: Some(args.page_size as usize),
        manifest: !args.no_manifest,
        nfc_host: args.nfc_host.clone(),
        nfc_streams: args.nfc_streams.map(|most| most as usize),
        scheme: if args.plain { "http" } else { "https" },
        thumbprint: certificate.map(|it| it.thumbprint.clone()).unwrap_or_default(),
    }
}

fn access(
    request: &Vsphere,
    store: &Store,
    address: std::net::SocketAddr,
    certificate: Option<&Certificate>,
) -> Result<Access> {
    let scheme = if request.args.plain { "http" } else { "https" };
    let write = |name: &str, text: String| {
        let path = store.folder().join(name);
        let written = std::fs::write(&path, text);
        written.map_err(|error| Error::io("write a file for clients", error))?;
        Ok::<_, Error>(path.display().to_string())
    };
    let (mut ca_file, mut known_hosts_file) = (None, None);
    if let Some(certificate) = certificate {
        ca_file = Some(write("certificate.pem", certificate.pem.clone())?);
        let line = format!("{address} {}\n", certificate.thumbprint);
        known_hosts_file = Some(write("known-hosts", line)?);
    }
    Ok(Access {
        url: format!("{scheme}://{address}/sdk"),
        username: request.args.user.clone(),
        password: request.args.password.clone(),
        thumbprint: certificate.map(|it| it.thumbprint.clone()),
        ca_file,
        known_hosts_file,
    })
}
