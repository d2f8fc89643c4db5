//! The real servers under the simulated cluster: etcd and kube-apiserver as child processes, which
//! are started again when something ends them, as a kubelet would.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Method;
use hyper_common::error::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::authority::{Authority, key_pair};
use super::upstream::Upstream;

/// How long the servers may take to be ready.
const READY: Duration = Duration::from_secs(120);

/// Who may speak to the API server, with which token: name, token, groups.
pub const IDENTITIES: [(&str, &str, &str); 3] = [
    ("admin", "hyper-sim-admin", "system:masters"),
    ("viewer", "hyper-sim-viewer", "hyper-sim:viewers"),
    ("nobody", "hyper-sim-nobody", "hyper-sim:nobodies"),
];

/// The servers that were started.
#[derive(Debug, Default)]
pub struct Keeper {
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    end: watch::Sender<bool>,
}

impl Keeper {
    /// Ends all of them and waits until they have.
    pub async fn stop(&self) {
        self.end.send_replace(true);
        let tasks = std::mem::take(&mut *self.lock());
        for task in tasks {
            let _ = task.await;
        }
        self.end.send_replace(false);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<tokio::task::JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of them will not come back.
    fn is_missing(&self) -> bool {
        self.lock().iter().any(tokio::task::JoinHandle::is_finished)
    }
}

/// The programs.
pub struct Programs {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver, or the miniapi of a testbed.
    pub apiserver: PathBuf,
}

/// What a client has to trust.
///
/// # Errors
/// `Internal`.
pub fn trust(pem: &str) -> Result<Arc<ClientConfig>> {
    let failed = || Error::new(ErrorKind::Internal, "read a certificate");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pem(pem) {
        roots.add(certificate).map_err(|error| failed().with_source(error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed().with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn rustls_pem(pem: &str) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    let all = rustls::pki_types::CertificateDer::pem_slice_iter(pem.as_bytes());
    all.filter_map(std::result::Result::ok).collect()
}

/// Starts both servers in `folder` and waits until they are ready; the address of etcd and the API
/// server.
///
/// # Errors
/// `Io` for a program that does not start; `Unavailable` for one that is not ready in time, with
/// the end of what it said.
pub async fn start(
    programs: &Programs,
    folder: &Path,
    authority: &Authority,
    keeper: &Keeper,
) -> Result<(String, Arc<Upstream>)> {
    prepare(folder, authority)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match try_start(programs, folder, authority, keeper).await {
            Ok(started) => return Ok(started),
            // The ports were free a moment ago; someone else may have taken one.
            Err(error) if error.kind() == ErrorKind::Unavailable && tries < 4 => {
                keeper.stop().await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn try_start(
    programs: &Programs,
    folder: &Path,
    authority: &Authority,
    keeper: &Keeper,
) -> Result<(String, Arc<Upstream>)> {
    let [etcd, api] = free_ports()?;
    let etcd = format!("http://127.0.0.1:{etcd}");
    let data = folder.join("etcd");
    if data.exists() {
        std::fs::remove_dir_all(&data).map_err(|error| Error::io("remove it", error))?;
    }
    keep(keeper, "etcd", programs.etcd.clone(), etcd_args(&etcd), folder.to_owned())?;
    let mini = programs.apiserver.file_name().is_some_and(|name| name == "miniapi");
    let args = if mini { miniapi_args(&etcd, api) } else { apiserver_args(&etcd, api) };
    keep(keeper, "kube-apiserver", programs.apiserver.clone(), args, folder.to_owned())?;
    let tls = trust(&authority.pem())?;
    let upstream = Upstream::new(format!("127.0.0.1:{api}"), Some(tls), Some(IDENTITIES[0].1));
    let upstream = upstream.map_err(|error| Error::io("reach the API server", error))?;
    ready(keeper, &upstream, folder, mini).await?;
    Ok((etcd, Arc::new(upstream)))
}

/// Waits until the API server answers; `bare` is one that has no first namespace by itself.
async fn ready(keeper: &Keeper, upstream: &Upstream, folder: &Path, bare: bool) -> Result<()> {
    let end = Instant::now() + READY;
    loop {
        // Readiness is said before the first namespace is there.
        let ready = upstream.get("/readyz").await;
        if bare && ready.is_ok() {
            let first = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" },
            });
            // What came of it is seen below.
            let _ = upstream.call(Method::POST, "/api/v1/namespaces", Some(&first)).await;
        }
        if ready.is_ok() && upstream.get("/api/v1/namespaces/default").await.is_ok() {
            return Ok(());
        }
        if keeper.is_missing() || Instant::now() > end {
            let last = |name: &str| {
                let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
                text.lines().last().unwrap_or_default().to_owned()
            };
            return Err(Error::new(ErrorKind::Unavailable, "the API server did not start")
                .with_hint(format!("etcd said: {}", last("etcd.log")))
                .with_hint(format!("kube-apiserver said: {}", last("kube-apiserver.log"))));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Writes what the servers read.
fn prepare(folder: &Path, authority: &Authority) -> Result<()> {
    let write = |name: &str, text: &str| {
        let written = std::fs::write(folder.join(name), text);
        written.map_err(|error| Error::io("write a file for the API server", error))
    };
    let signed = authority.sign(&["127.0.0.1", "localhost", "kubernetes.default.svc"])?;
    let (private, public) = key_pair()?;
    write("ca.pem", &authority.pem())?;
    write("apiserver.crt", &signed.certificate)?;
    write("apiserver.key", &signed.key)?;
    write("accounts.key", &private)?;
    write("accounts.pub", &public)?;
    let lines = IDENTITIES.map(|(name, token, groups)| format!("{token},{name},{name},{groups}\n"));
    write("tokens.csv", &lines.concat())
}

fn free_ports() -> Result<[u16; 2]> {
    let failed = |error| Error::io("find a free port", error);
    let listen = || TcpListener::bind(("127.0.0.1", 0)).map_err(failed);
    let (one, other) = (listen()?, listen()?);
    let port = |it: &TcpListener| it.local_addr().map(|it| it.port()).map_err(failed);
    Ok([port(&one)?, port(&other)?])
}

fn etcd_args(url: &str) -> Vec<String> {
    // Nobody joins this cluster: its members' port is a socket in the folder.
    let peer = "unix://peer:0";
    let args = [
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
    ];
    args.to_vec()
}

fn apiserver_args(etcd: &str, port: u16) -> Vec<String> {
    let own = [
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={port}"),
        format!("--service-account-issuer=https://127.0.0.1:{port}"),
    ];
    let fixed = [
        "--bind-address=127.0.0.1",
        "--etcd-compaction-interval=0",
        "--tls-cert-file=apiserver.crt",
        "--tls-private-key-file=apiserver.key",
        "--token-auth-file=tokens.csv",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-key-file=accounts.pub",
        "--service-account-signing-key-file=accounts.key",
        "--endpoint-reconciler-type=none",
        // What these want is done by controllers that are not there.
        "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition,\
         StorageObjectInUseProtection",
    ];
    own.into_iter().chain(fixed.map(str::to_owned)).collect()
}

fn miniapi_args(etcd: &str, port: u16) -> Vec<String> {
    vec![
        format!("-etcd-servers={etcd}"),
        format!("-secure-port={port}"),
        "-tls-cert-file=apiserver.crt".to_owned(),
        "-tls-private-key-file=apiserver.key".to_owned(),
        "-client-ca-file=ca.pem".to_owned(),
        "-token-auth-file=tokens.csv".to_owned(),
    ]
}

/// Starts a program in `folder`, and again whenever it has ended. Its number is in `NAME.pid`, what
/// it says in `NAME.log`.
fn keep(
    keeper: &Keeper,
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
) -> Result<()> {
    let mut child = spawn(name, &program, &args, &folder)?;
    let mut end = keeper.end.subscribe();
    let task = tokio::spawn(async move {
        let started = Instant::now();
        loop {
            tokio::select! {
                ended = child.wait() => tracing::info!("{name} ended: {ended:?}"),
                () = async { drop(end.wait_for(|end| *end).await) } => {
                    let _ = child.kill().await;
                    return;
                }
            }
            // One that cannot live at all is not tried for ever.
            if started.elapsed() < Duration::from_secs(2) {
                return;
            }
            match spawn(name, &program, &args, &folder) {
                Ok(again) => child = again,
                Err(error) => {
                    tracing::warn!("{name} could not be started again: {error}");
                    return;
                }
            }
        }
    });
    keeper.lock().push(task);
    Ok(())
}

fn spawn(name: &str, program: &Path, args: &[String], folder: &Path) -> Result<Child> {
    let failed = |error| Error::io("start it", error).with_subject(program.display().to_string());
    let log = folder.join(format!("{name}.log"));
    let log = std::fs::File::options().create(true).append(true).open(log).map_err(failed)?;
    let mut command = with_parent(program);
    command.args(args).current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
    command.stdout(log.try_clone().map_err(failed)?).stderr(log);
    let child = command.spawn().map_err(failed)?;
    let number = child.id().unwrap_or_default().to_string();
    std::fs::write(folder.join(format!("{name}.pid")), number).map_err(failed)?;
    Ok(child)
}

/// The program, to be killed with this one however that ends. util-linux's setpriv asks the
/// kernel for it; without it only an orderly end takes the program along.
fn with_parent(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}
