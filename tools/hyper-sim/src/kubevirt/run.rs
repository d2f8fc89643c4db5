//! Starting a simulated KubeVirt and serving until someone wants it to stop.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper_common::error::{Error, ErrorKind, Result};
use hyper_common::tool::Context;

use super::authority::Authority;
use super::cluster::{self, Keeper, Programs};
use super::config::{self, TOKEN};
use super::control::{self, Control};
use super::disks::Disks;
use super::kind::Groups;
use super::record::Access;
use super::request::Kubevirt;
use super::sim::Sim;
use super::upstream::Upstream;
use super::world::{self, Start};
use super::{define, ingress, proxy};
use crate::rule::Rules;
use crate::serve::{listen, serve};
use crate::vsphere::disk::{DiskImage, Store};

/// What the simulator stands on: the API server, the etcd under it where that is its own, and how
/// clients' token is known there.
struct Ground {
    api: Arc<Upstream>,
    etcd: Option<String>,
    token: Option<Option<String>>,
}

/// Runs until someone wants it to stop, and ends what it has started.
///
/// # Errors
/// Those of starting the servers, of image files and of what the API server refuses.
pub async fn run(request: Kubevirt, cx: &mut Context) -> Result<()> {
    let cancel = cx.cancel.clone();
    let keeper = Keeper::default();
    let store = Store::new(cx.cancel.clone())?;
    let folder = store.folder().to_owned();
    let ended = tokio::select! {
        ended = simulate(request, cx, store, &keeper) => ended,
        () = cancel.cancelled() => Ok(()),
    };
    keeper.stop().await;
    // What is still being waited for holds on to the folder until the process is gone.
    let _ = std::fs::remove_dir_all(folder);
    ended
}

async fn simulate(
    request: Kubevirt,
    cx: &mut Context,
    store: Store,
    keeper: &Keeper,
) -> Result<()> {
    let (front, address) = listen(request.args.listen).await?;
    let (back, ingress_at) = listen(([127, 0, 0, 1], 0).into()).await?;
    let disks = Disks::new(store);
    let authority = Authority::new("hyper-sim")?;
    let args = &request.args;
    // What may be wrong with files is found before anything is started.
    let base = base(args)?;
    let definitions = args.crds.as_deref().map(define::files).transpose()?.unwrap_or_default();
    let machines = machines(&request).await?;
    let ground = ground(base, &disks, &authority, keeper).await?;
    define::install(&ground.api, args.kubevirt_version, definitions).await?;
    let groups = Groups::discover(&ground.api).await;
    let groups = groups.map_err(|fail| {
        Error::new(ErrorKind::Protocol, "ask what is served").with_hint(fail.to_string())
    })?;
    let host = address.ip().to_string();
    let tls = authority.sign(&[&host, "127.0.0.1", "localhost", "::1"])?.config;
    let (control, work) = Control::new(ground.api.clone(), groups);
    let sim = Arc::new(Sim {
        control,
        release: args.kubevirt_version,
        pace: args.pace,
        rules: Rules::new(request.faults.clone()),
        disks,
        authority,
        exports: Default::default(),
        tokens: Default::default(),
        ingress: ingress_at.to_string(),
        agentless: args.no_agent.iter().cloned().collect(),
        metrics: args.metrics,
        swap: ground.token.map(|theirs| (TOKEN.to_owned(), theirs)),
        halted: Mutex::new(HashSet::new()),
        guests: Mutex::default(),
    });
    world::furnish(&sim).await?;
    let store = ground.etcd.as_deref().and_then(|it| it.strip_prefix("http://")).map(str::to_owned);
    let store = store.and_then(|it| Upstream::new(it, None, None).ok());
    world::populate(&sim, &machines).await?;
    let count = request.generated.len();
    world::multiply(&sim, store.as_ref(), request.generated.clone()).await?;
    let access = access(&sim, args, &address.to_string(), ground.etcd)?;
    let controllers = control::run(sim.clone(), work);
    let (proxied, served) = (sim.clone(), sim.clone());
    let front = serve(front, Some(tls.clone()), move |_, it| proxy::answer(proxied.clone(), it));
    let back = serve(back, Some(tls), move |_, it| ingress::answer(served.clone(), it));
    let told = async {
        world::settled(&sim, &machines, count).await;
        let printed = access.print(cx);
        match printed {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        () = controllers => {}
        () = front => {}
        () = back => {}
        error = told => return Err(error),
    }
    Ok(())
}

/// A cluster that is there, or the programs of one that is started.
enum Base {
    There(Arc<Upstream>, Option<String>),
    Own(Programs),
}

fn base(args: &super::args::KubevirtArgs) -> Result<Base> {
    if let Some(file) = &args.kubeconfig {
        let (api, token) = config::attach(file)?;
        return Ok(Base::There(api, token));
    }
    Ok(Base::Own(Programs {
        etcd: program(args.etcd.clone(), "HYPER_TB_ETCD", "etcd", "--etcd")?,
        apiserver: program(
            args.apiserver.clone(),
            "HYPER_TB_KUBE_APISERVER",
            "kube-apiserver",
            "--apiserver",
        )?,
    }))
}

async fn ground(
    base: Base,
    disks: &Disks,
    authority: &Authority,
    keeper: &Keeper,
) -> Result<Ground> {
    match base {
        Base::There(api, token) => Ok(Ground { api, etcd: None, token: Some(token) }),
        Base::Own(programs) => {
            let folder = disks.store.folder();
            let (etcd, api) = cluster::start(&programs, folder, authority, keeper).await?;
            Ok(Ground { api, etcd: Some(etcd), token: None })
        }
    }
}

/// A program as it was named, by the testbed, or as it is found.
fn program(named: Option<PathBuf>, variable: &str, name: &str, flag: &str) -> Result<PathBuf> {
    let by_testbed = || std::env::var_os(variable).filter(|it| !it.is_empty()).map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|it| it.is_file())
    };
    let found = named.or_else(by_testbed).or_else(on_path).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("there is no {name}"))
            .with_hint(format!("name it with {flag}"))
            .with_hint("scripts/testbed --env kubernetes makes one and tells where it is")
    })?;
    if !found.is_file() {
        return Err(Error::new(ErrorKind::NotFound, "there is no such program")
            .with_subject(found.display().to_string()));
    }
    std::path::absolute(&found).map_err(|error| Error::io("find the program", error))
}

async fn machines(request: &Kubevirt) -> Result<Vec<Start>> {
    let mut all = Vec::new();
    for machine in &request.machines {
        let files = machine.files.clone();
        let opened = tokio::task::spawn_blocking(move || {
            files.iter().map(|file| DiskImage::open(file)).collect::<Result<Vec<_>>>()
        });
        let failed = |error| Error::new(ErrorKind::Internal, "open a disk").with_source(error);
        let disks = opened.await.map_err(failed)??.into_iter().map(Arc::new).collect();
        let Some((name, spaces)) = machine.path.split_last() else { continue };
        all.push(Start {
            namespace: spaces.first().cloned().unwrap_or_else(|| "default".to_owned()),
            name: name.clone(),
            running: request.args.running.contains(name),
            disks,
        });
    }
    Ok(all)
}

fn access(
    sim: &Sim,
    args: &super::args::KubevirtArgs,
    address: &str,
    etcd: Option<String>,
) -> Result<Access> {
    let folder = sim.disks.store.folder();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        let written = std::fs::write(&path, text);
        written.map_err(|error| Error::io("write a file for clients", error))?;
        Ok::<_, Error>(path.display().to_string())
    };
    let url = format!("https://{address}");
    let tokens = match &sim.swap {
        Some((token, _)) => vec![("admin", token.as_str())],
        None => config::own_tokens(),
    };
    let pem = sim.authority.pem();
    let kubeconfig = config::write(&args.name, &url, &pem, &tokens);
    Ok(Access {
        kubeconfig: write("kubeconfig", &kubeconfig.to_string())?,
        url,
        token: tokens.first().map(|(_, token)| (*token).to_owned()).unwrap_or_default(),
        ca_file: write("ca.pem", &pem)?,
        ingress: format!("https://{}", sim.ingress),
        etcd,
        folder: folder.display().to_string(),
    })
}
