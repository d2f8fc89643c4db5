//! Leases: the right to fetch a machine's disks, for as long as the client keeps it alive.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::DiskImage;
use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::{Machine, Oddity, Power};
use super::session::blake3_hex;
use super::sim::{Settings, Sim};
use super::state::State;
use super::value::{Data, Ref, Value};

/// What a lease lets a client fetch.
#[derive(Debug, Clone)]
pub struct Device {
    key: String,
    /// The name of the file in the address.
    pub target: String,
    /// The disk; `None` for the memory of the firmware.
    pub disk: Option<Arc<DiskImage>>,
    sha256: bool,
}

/// A lease.
#[derive(Debug)]
pub struct Lease {
    machine: Ref,
    state: &'static str,
    error: Option<Fault>,
    /// What can be fetched.
    pub devices: Vec<Device>,
    /// The part of the address that nobody guesses.
    pub ticket: String,
    info: Data,
    percent: u32,
    touched: Instant,
    /// Devices that were sent to their ends, by their number.
    pub sent: BTreeSet<usize>,
}

impl Lease {
    /// Whether disks can be fetched.
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }

    /// A property of the lease.
    pub fn property(&self, name: &str) -> Option<Value> {
        let ready = self.is_ready();
        Some(match name {
            "initializeProgress" => if ready { 100 } else { 0 }.into(),
            "transferProgress" => self.percent.into(),
            "mode" => "pushOrGet".into(),
            "capabilities" => Data::new("HttpNfcLeaseCapabilities")
                .set("pullModeSupported", false)
                .set("corsSupported", true)
                .into(),
            "info" => self.info.clone().into(),
            "state" => self.state.into(),
            "error" => self.error.as_ref()?.localized().into(),
            _ => return None,
        })
        .filter(|_| name != "info" || ready)
    }

    fn end(&mut self, state: &'static str, error: Option<Fault>) {
        self.state = state;
        self.error = error;
    }
}

/// Ends a lease in the state: the machine is free again.
fn end(state: &mut State, id: &str, word: &'static str, error: Option<Fault>) {
    let Some(lease) = state.leases.get_mut(id) else { return };
    lease.end(word, error);
    let machine = lease.machine.value.clone();
    if let Some(machine) = state.tree.machines.get_mut(&machine) {
        machine.leases.retain(|lease| lease != id);
    }
}

/// Ends all leases as if the server had lost them.
pub fn lose_all(sim: &Sim) {
    let mut state = sim.lock();
    let open: Vec<String> = state
        .leases
        .iter()
        .filter(|(_, lease)| matches!(lease.state, "ready" | "initializing"))
        .map(|(id, _)| id.clone())
        .collect();
    for id in open {
        end(&mut state, &id, "error", Some(Fault::new("Timedout", "The lease is lost.")));
    }
    drop(state);
    sim.changed();
}

/// `ExportVm` and, with a snapshot, `ExportSnapshot`.
///
/// # Errors
/// `InvalidPowerState` for a machine that runs; `NotSupported` for disks that cannot be exported.
pub fn export(sim: &Arc<Sim>, machine: &Ref, snapshot: Option<&Ref>) -> Result<Answer, Fault> {
    let mut state = sim.lock();
    let number = state.number();
    let found = state.tree.machine(machine).ok_or_else(|| Fault::gone(machine))?;
    if snapshot.is_none() && found.power == Power::On {
        return Err(Fault::power(Some("poweredOff"), found.power.word()));
    }
    let odd = |disk: &super::machine::Disk| {
        matches!(disk.oddity, Some(Oddity::Rdm | Oddity::Shared | Oddity::Encrypted))
    };
    if found.disks.iter().any(odd) {
        return Err(Fault::new(
            "NotSupported",
            "A disk of the virtual machine cannot be exported.",
        ));
    }
    let reference = Ref::new("HttpNfcLease", format!("session[52{number:06x}]lease-{number}"));
    let lease = new_lease(&sim.settings, found, reference.clone(), snapshot.is_none());
    let id = reference.value.clone();
    if let Some(machine) = state.tree.machines.get_mut(&machine.value) {
        machine.leases.push(id.clone());
    }
    state.leases.insert(id.clone(), lease);
    drop(state);
    sim.changed();
    tokio::spawn(live(sim.clone(), id));
    Ok(Answer::Value(reference.into()))
}

fn new_lease(settings: &Settings, machine: &Machine, reference: Ref, nvram: bool) -> Lease {
    let secret = blake3_hex(&format!("{} {:?}", reference.value, Instant::now()));
    let (a, b) = (secret.get(..16).unwrap_or_default(), secret.get(16..48).unwrap_or_default());
    let ticket = format!("session[52{a}]52{b}");
    let disks = machine.disks.iter().enumerate();
    let mut devices: Vec<Device> = disks
        .filter(|(_, disk)| disk.oddity.is_none() || nvram)
        .map(|(at, disk)| Device {
            key: machine.lease_key(at),
            target: format!("disk-{at}.vmdk"),
            disk: Some(disk.image.clone()),
            sha256: false,
        })
        .collect();
    if nvram {
        devices.push(Device {
            key: format!("/{}/nvram", machine.reference.value),
            target: format!("{}.nvram", machine.name),
            disk: None,
            sha256: false,
        });
    }
    let capacity: u64 =
        devices.iter().filter_map(|device| device.disk.as_ref()).map(|disk| disk.capacity).sum();
    let urls = devices.iter().map(|device| device_url(settings, &ticket, device));
    let info = Data::new("HttpNfcLeaseInfo")
        .set("lease", &reference)
        .set("entity", &machine.reference)
        .set("deviceUrl", urls.collect::<Vec<_>>())
        .set("totalDiskCapacityInKB", capacity / 1024)
        .set("leaseTimeout", settings.lease_timeout.as_secs().max(1));
    Lease {
        machine: machine.reference.clone(),
        state: "initializing",
        error: None,
        devices,
        ticket,
        info,
        percent: 0,
        touched: Instant::now(),
        sent: BTreeSet::new(),
    }
}

fn device_url(settings: &Settings, ticket: &str, device: &Device) -> Data {
    let safe = ticket.replace('[', "%5B").replace(']', "%5D");
    let name = super::folder::encode(&device.target);
    let (scheme, host) = (settings.scheme, &settings.nfc_host);
    Data::new("HttpNfcLeaseDeviceUrl")
        .set("key", &device.key)
        .set("importKey", "")
        .set("url", format!("{scheme}://{host}/nfc/{safe}/{name}"))
        .set("sslThumbprint", &settings.thumbprint)
        .set("disk", device.disk.is_some())
        .set("targetId", &device.target)
        .maybe("fileSize", device.disk.is_none().then_some(super::folder::NVRAM_LEN))
}

/// Makes the lease ready, and ends it when nobody keeps it alive.
async fn live(sim: Arc<Sim>, id: String) {
    let disks: Vec<Arc<DiskImage>> = match sim.lock().leases.get(&id) {
        Some(lease) => lease.devices.iter().filter_map(|device| device.disk.clone()).collect(),
        None => return,
    };
    // A client has to see that a lease is not ready at once.
    tokio::time::sleep(Duration::from_millis(20)).await;
    if let Some(delay) = sim.rules.meet("lease", &id).delay {
        tracing::info!("lease waits");
        tokio::time::sleep(delay).await;
    }
    let mut error = None;
    for disk in disks {
        if let Err(failed) = sim.store.stream(&disk).await {
            error = Some(Fault::new("FileFault", hyper_common::error::one_line(&failed)));
        }
    }
    {
        let mut state = sim.lock();
        match (error, state.leases.get_mut(&id)) {
            (Some(error), _) => end(&mut state, &id, "error", Some(error)),
            (None, Some(lease)) if lease.state == "initializing" => {
                (lease.state, lease.touched) = ("ready", Instant::now());
            }
            _ => {}
        }
    }
    sim.changed();
    loop {
        let left = match sim.lock().leases.get(&id) {
            Some(lease) if lease.is_ready() => {
                sim.settings.lease_timeout.saturating_sub(lease.touched.elapsed())
            }
            _ => return,
        };
        if left.is_zero() {
            let fault = Fault::new("Timedout", "The lease has timed out.");
            end(&mut sim.lock(), &id, "error", Some(fault));
            sim.changed();
            return;
        }
        tokio::time::sleep(left).await;
    }
}

fn ready<'s>(state: &'s mut State, this: &Ref) -> Result<&'s mut Lease, Fault> {
    let lease = state.leases.get_mut(&this.value).ok_or_else(|| Fault::gone(this))?;
    match lease.is_ready() {
        true => Ok(lease),
        false => {
            let text = format!("The lease is not ready but {}.", lease.state);
            Err(Fault::new("InvalidState", text))
        }
    }
}

/// `HttpNfcLeaseProgress`: keeps the lease alive.
///
/// # Errors
/// `InvalidState`; `InvalidArgument` for a share that is none.
pub fn progress(state: &mut State, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    let percent = args.text_of("percent").and_then(|text| text.trim().parse().ok());
    let percent = percent.filter(|percent| *percent <= 100);
    let lease = ready(state, this)?;
    lease.percent =
        percent.ok_or_else(|| Fault::argument("percent", "a share is from 0 to 100"))?;
    lease.touched = Instant::now();
    Ok(Answer::Nothing)
}

/// `HttpNfcLeaseComplete`.
///
/// # Errors
/// `InvalidState`.
pub fn complete(state: &mut State, this: &Ref) -> Result<Answer, Fault> {
    ready(state, this)?;
    end(state, &this.value, "done", None);
    Ok(Answer::Nothing)
}

/// `HttpNfcLeaseAbort`.
///
/// # Errors
/// `InvalidState` for a lease that has ended.
pub fn abort(state: &mut State, this: &Ref) -> Result<Answer, Fault> {
    let lease = state.leases.get(&this.value).ok_or_else(|| Fault::gone(this))?;
    if !matches!(lease.state, "ready" | "initializing") {
        return Err(Fault::new("InvalidState", "The lease has ended."));
    }
    end(state, &this.value, "error", Some(Fault::new("VimFault", "The lease was aborted.")));
    Ok(Answer::Nothing)
}

/// `HttpNfcLeaseSetManifestChecksumType`: from addresses or keys of devices to `sha1`, `sha256`.
///
/// # Errors
/// `InvalidState`; `InvalidArgument` for a device or an algorithm that is not there.
pub fn set_checksum(state: &mut State, this: &Ref, args: &Node) -> Result<Answer, Fault> {
    let lease = ready(state, this)?;
    for pair in args.all("deviceUrlsToChecksumTypes") {
        let (key, value) = (pair.text_of("key").unwrap_or_default(), pair.text_of("value"));
        let meant = |device: &&mut Device| {
            device.key == key || key.ends_with(&format!("/{}", device.target))
        };
        let device = lease.devices.iter_mut().find(meant);
        let wrong = |text: &str| Fault::argument("deviceUrlsToChecksumTypes", text);
        let device = device.ok_or_else(|| wrong("there is no such device"))?;
        device.sha256 = match value {
            Some("sha256") => true,
            Some("sha1") => false,
            _ => return Err(wrong("there is no such checksum")),
        };
    }
    Ok(Answer::Nothing)
}

/// `HttpNfcLeaseGetManifest`: of the devices that were sent to their ends.
///
/// # Errors
/// `InvalidState`; `NotSupported` where the server offers none.
pub async fn manifest(sim: &Sim, this: &Ref) -> Result<Answer, Fault> {
    let sent: Vec<Device> = {
        let mut state = sim.lock();
        let lease = ready(&mut state, this)?;
        let sent = |at: &usize| lease.sent.contains(at);
        let devices = lease.devices.iter().enumerate();
        devices.filter(|(at, _)| sent(at)).map(|(_, device)| device.clone()).collect()
    };
    if !sim.settings.manifest {
        return Err(Fault::new("NotSupported", "The operation is not supported on the object."));
    }
    let mut entries = Vec::new();
    for device in sent {
        entries.push(entry(sim, &device).await?);
    }
    Ok(Answer::Value(entries.into()))
}

async fn entry(sim: &Sim, device: &Device) -> Result<Data, Fault> {
    let (sha1, sha256, size, sizes) = match &device.disk {
        Some(disk) => {
            let stream = sim.store.stream(disk).await;
            let stream = stream.map_err(|error| Fault::new("FileFault", error.to_string()))?;
            let sizes = Some((disk.capacity, stream.populated));
            (stream.sha1, stream.sha256, stream.bytes.len(), sizes)
        }
        None => {
            let bytes = super::folder::nvram();
            let sum = |kind| {
                let mut summer = hyper_common::transfer::Summer::new(kind);
                summer.update(&bytes);
                summer.finish().hex
            };
            use hyper_common::transfer::SumKind::{Sha1, Sha256};
            (sum(Sha1), sum(Sha256), bytes.len() as u64, None)
        }
    };
    let entry = Data::new("HttpNfcLeaseManifestEntry").set("key", &device.key).set("sha1", &sha1);
    let entry = match device.sha256 {
        true => entry.set("checksum", sha256).set("checksumType", "sha256"),
        false => entry,
    };
    Ok(entry
        .set("size", size)
        .set("disk", device.disk.is_some())
        .maybe("capacity", sizes.map(|(capacity, _)| capacity))
        .maybe("populatedSize", sizes.map(|(_, populated)| populated)))
}
