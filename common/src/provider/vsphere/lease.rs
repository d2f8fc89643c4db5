//! An export lease (`HttpNfcLease` of the vSphere API): while it lives the machine is locked and
//! its disks can be fetched. It ends by itself unless it is kept alive, and is given up on every
//! path that is not a success.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::client::Client;
use super::fault::{Fault, fault_of};
use super::property::Properties;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, ResultExt, one_line};
use crate::net::Thumbprint;
use crate::provider::Ledger;
use crate::transfer::SumKind;

/// The word for leases in the journal.
pub(super) const LEASE: &str = "lease";

/// First and longest wait between two looks at a lease that is not ready.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Longest time between two signs of life.
const SIGNS: Duration = Duration::from_secs(3);

/// How long a lease lives whose name was never learned: servers use five minutes, and it had no
/// sign of life.
const NAMELESS: Duration = Duration::from_secs(15 * 60);

/// A file that the lease offers.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    /// The server's name for it.
    pub key: String,
    /// Where it is; `*` stands for the server's own host.
    pub url: String,
    /// The certificate of the host that sends it, where the server tells.
    pub thumbprint: Option<Thumbprint>,
    /// Whether it is a disk.
    pub disk: bool,
}

/// A lease that is ready.
#[derive(Debug)]
pub(super) struct Lease {
    client: Client,
    id: MoRef,
    offers: Vec<Offer>,
    /// The checksum that the server makes of what it sends.
    pub sum_kind: SumKind,
    state: Arc<State>,
    keeper: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// How far each disk has come, in bytes of the disk.
    positions: Mutex<Vec<u64>>,
    /// Why the lease is gone.
    lost: Mutex<Option<String>>,
    bell: Notify,
    /// Disks that are being sent.
    active: Mutex<usize>,
    freed: Notify,
}

impl State {
    fn lose(&self, why: String) {
        lock(&self.lost).get_or_insert(why);
        self.bell.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a lease is opened on.
pub(super) struct Wanted<'a> {
    /// The machine, or a snapshot of it.
    pub subject: &'a MoRef,
    /// Bytes of each disk that will be read.
    pub capacities: Vec<u64>,
    /// The checksum that is made anyway.
    pub sum: Option<SumKind>,
    pub cancel: &'a Cancel,
    pub ledger: &'a dyn Ledger,
    /// Given the lease's name as soon as it is known.
    pub named: &'a (dyn Fn(MoRef) + Send + Sync),
}

impl Lease {
    /// Opens a lease and keeps it alive from then on.
    ///
    /// # Errors
    /// The server's fault: `Conflict` for a machine that runs or is locked; `Interrupted`.
    pub(super) async fn open(client: &Client, wanted: Wanted<'_>) -> Result<Self> {
        let method = match wanted.subject.kind.as_str() {
            "VirtualMachineSnapshot" => "ExportSnapshot",
            _ => "ExportVm",
        };
        let nameless = nameless();
        wanted.ledger.making(LEASE, &nameless)?;
        let answer = client.call(method, wanted.subject, Body::new()).await;
        let id = match answer.and_then(|reply| reply.reference()) {
            Ok(id) => id,
            Err(error) => {
                // A refusal made nothing; without an answer nobody knows.
                if fault_of(&error).is_some() {
                    wanted.ledger.removed(LEASE, &nameless)?;
                }
                return Err(error).context(|| "ask for an export lease");
            }
        };
        (wanted.named)(id.clone());
        wanted.ledger.making(LEASE, &id.value)?;
        wanted.ledger.removed(LEASE, &nameless)?;
        let info = ready(client, &id, wanted.cancel).await?;
        let timeout = info.number("leaseTimeout").filter(|seconds| *seconds > 0).unwrap_or(300);
        let offers: Vec<_> = info.all("deviceUrl").filter_map(offer).collect();
        let state = Arc::new(State::default());
        lock(&state.positions).resize(wanted.capacities.len(), 0);
        let total = wanted.capacities.iter().sum::<u64>().max(1);
        let keeper = Keeper {
            client: client.clone(),
            id: id.clone(),
            state: state.clone(),
            total,
            timeout: Duration::from_secs(timeout),
        };
        let keeper = tokio::spawn(keeper.run());
        let mut lease =
            Self { client: client.clone(), id, offers, sum_kind: SumKind::Sha1, state, keeper };
        lease.choose_sum(wanted.sum.unwrap_or(SumKind::Sha256)).await?;
        tracing::info!(
            lease = %lease.id, timeout, files = lease.offers.len(), sum = lease.sum_kind.name(),
            "the lease is ready"
        );
        Ok(lease)
    }

    /// Asks for checksums of a kind. Servers before 7.0 make SHA-1 alone.
    async fn choose_sum(&mut self, kind: SumKind) -> Result<()> {
        if kind == SumKind::Sha1 {
            return Ok(());
        }
        let mut body = Body::new();
        for offer in self.offers.iter().filter(|offer| offer.disk) {
            body = body
                .open("deviceUrlsToChecksumTypes", None)
                .text("key", &offer.key)
                .text("value", kind.name())
                .close("deviceUrlsToChecksumTypes");
        }
        match self.client.call("HttpNfcLeaseSetManifestChecksumType", &self.id, body).await {
            Ok(_) => self.sum_kind = kind,
            Err(error) if fault_of(&error).is_some() => {
                tracing::info!("{}: SHA-1 it is", one_line(&error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The files that the lease offers.
    pub(super) fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// What the server says of the files that it sent.
    ///
    /// # Errors
    /// The server's fault.
    pub(super) async fn manifest(&self) -> Result<Vec<Value>> {
        let reply = self.client.call("HttpNfcLeaseGetManifest", &self.id, Body::new()).await?;
        Ok(reply.values().cloned().collect())
    }

    /// Disk number `disk` has come to `position`.
    pub(super) fn reached(&self, disk: usize, position: u64) {
        if let Some(known) = lock(&self.state.positions).get_mut(disk) {
            *known = position.max(*known);
        }
    }

    /// Whether it is still ours.
    ///
    /// # Errors
    /// `Unavailable` with the reason where it is not.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.state.lost).as_ref() {
            None => Ok(()),
            Some(why) => {
                Err(Error::new(ErrorKind::Unavailable, format!("the export lease was lost: {why}"))
                    .with_hint("run the same command again"))
            }
        }
    }

    /// Waits until it is lost.
    pub(super) async fn lost(&self) -> Error {
        loop {
            let rung = self.state.bell.notified();
            if let Err(error) = self.check() {
                return error;
            }
            rung.await;
        }
    }

    /// Why a disk's bytes stopped coming: the lease's end, where that is the cause.
    pub(super) async fn explain(&self, error: Error) -> Error {
        if let Err(lost) = self.check() {
            return lost;
        }
        match self.still_ready().await {
            Ok(()) => error,
            Err(lost) => lost,
        }
    }

    /// Asks the server whether the lease is still ours. A server that cannot be asked has not
    /// taken it away.
    ///
    /// # Errors
    /// As [`Lease::check`].
    pub(super) async fn still_ready(&self) -> Result<()> {
        self.check()?;
        let properties = match self.client.properties(&self.id, &["state", "error"]).await {
            Ok(properties) => properties,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.state.lose("the server knows it no more".to_owned());
                return self.check();
            }
            Err(error) => {
                tracing::info!("{}", one_line(&error));
                return Ok(());
            }
        };
        if let Some(state) = properties.str("state").filter(|state| *state != "ready") {
            let fault = properties.get("error").map(|fault| Fault::of_method(fault).to_string());
            self.state.lose(fault.unwrap_or_else(|| format!("it is {state}")));
        }
        self.check()
    }

    /// A disk is about to be sent.
    pub(super) fn enter(self: &Arc<Self>) -> Sending {
        *lock(&self.state.active) += 1;
        Sending(self.clone())
    }

    /// Waits for another disk to end; `false` where no other is being sent.
    pub(super) async fn wait_for_room(&self) -> bool {
        let freed = self.state.freed.notified();
        if *lock(&self.state.active) == 0 {
            return false;
        }
        // Another may have ended between the refusal and now; the time bounds that.
        let _ = tokio::time::timeout(SIGNS, freed).await;
        true
    }

    /// Ends the lease: `completed`, or given up.
    ///
    /// # Errors
    /// The server's; one that is gone already is none.
    pub(super) async fn end(&self, completed: bool) -> Result<()> {
        self.keeper.abort();
        if completed {
            let full = Body::new().text("percent", 100);
            let told = self.client.call("HttpNfcLeaseProgress", &self.id, full).await;
            if let Err(error) = told {
                tracing::info!("{}", one_line(&error));
            }
            self.client.call("HttpNfcLeaseComplete", &self.id, Body::new()).await?;
            return Ok(());
        }
        abort(&self.client, &self.id).await.map(|_| ())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A disk that is being sent.
#[derive(Debug)]
pub(super) struct Sending(Arc<Lease>);

impl Drop for Sending {
    fn drop(&mut self) {
        *lock(&self.0.state.active) -= 1;
        self.0.state.freed.notify_waiters();
    }
}

/// Gives a lease up; `false` where it was gone.
///
/// # Errors
/// The server's.
pub(super) async fn abort(client: &Client, id: &MoRef) -> Result<bool> {
    match client.call("HttpNfcLeaseAbort", id, Body::new()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        // One that has ended by itself or with an error is in no state to be ended.
        Err(error) if fault_of(&error).is_some_and(|fault| fault.kind == "InvalidState") => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// What the journal notes before the server has given the lease a name: until when it may live.
fn nameless() -> String {
    let until =
        jiff::Timestamp::now() + jiff::SignedDuration::try_from(NAMELESS).unwrap_or_default();
    format!("until {until}")
}

/// The end of a lease whose name was not learned, from what the journal noted.
pub(super) fn ends_by_itself(id: &str) -> Option<jiff::Timestamp> {
    id.strip_prefix("until ")?.parse().ok()
}

/// A lease by the name that the journal has.
pub(super) fn of_name(id: &str) -> MoRef {
    MoRef::new("HttpNfcLease", id)
}

/// Waits until the lease is ready; answers what it offers.
async fn ready(client: &Client, id: &MoRef, cancel: &Cancel) -> Result<Value> {
    let see = |properties: &Properties| match properties.str("state") {
        Some("ready") => {
            let nothing = || Error::new(ErrorKind::Protocol, "the export lease offers nothing");
            properties.get("info").cloned().ok_or_else(nothing).map(Some)
        }
        Some("initializing") | None => Ok(None),
        Some(state) => {
            let doing = "the export lease did not become ready";
            Err(match properties.get("error") {
                Some(fault) => Fault::of_method(fault).into_error(doing),
                None => Error::new(ErrorKind::Unavailable, format!("{doing}: it is {state}")),
            })
        }
    };
    client.watch(id, &["state", "info", "error"], LOOKS, cancel, see).await
}

fn offer(device: &Value) -> Option<Offer> {
    let url = device.str("url")?.to_owned();
    let name = device.str("targetId").unwrap_or(&url).to_ascii_lowercase();
    Some(Offer {
        key: device.str("key").unwrap_or_default().to_owned(),
        thumbprint: device.str("sslThumbprint").and_then(|print| print.parse().ok()),
        disk: device.flag("disk").unwrap_or_else(|| name.ends_with(".vmdk")),
        url,
    })
}

/// Tells the server that the lease is wanted, and how far it is.
struct Keeper {
    client: Client,
    id: MoRef,
    state: Arc<State>,
    total: u64,
    timeout: Duration,
}

impl Keeper {
    async fn run(self) {
        let pause = SIGNS.min(self.timeout / 5);
        let mut heard = Instant::now();
        loop {
            let body = Body::new().text("percent", percent(&self.state, self.total).min(99));
            match self.client.call("HttpNfcLeaseProgress", &self.id, body).await {
                Ok(_) => heard = Instant::now(),
                Err(error) if fault_of(&error).is_some() => {
                    self.state.lose(one_line(&error));
                    return;
                }
                Err(error) if heard.elapsed() > self.timeout => {
                    self.state.lose(format!("no sign of life reached it: {}", one_line(&error)));
                    return;
                }
                Err(error) => tracing::info!("{}", one_line(&error)),
            }
            tokio::time::sleep(pause).await;
        }
    }
}

fn percent(state: &State, total: u64) -> u64 {
    let done: u64 = lock(&state.positions).iter().sum();
    (u128::from(done) * 100 / u128::from(total)).min(100) as u64
}
