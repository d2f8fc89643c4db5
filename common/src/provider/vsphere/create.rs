//! Making machines with a new disk (Folder.CreateVM_Task, vSphere API reference). What is wanted
//! becomes a description in JSON first, with every place looked up.

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::client::Client;
use super::inventory::MACHINE;
use super::names::Names;
use super::network::{self, Backing};
use super::place::{self, Kind};
use super::soap::{Body, MoRef, Value};
use super::{NAME, Vsphere};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::Place;
use crate::provider::facets::create::{
    Answer, Create, Deed, Described, DiskKind, Made, Making, NewDisk, NewVm, Question,
};
use crate::provider::facets::power::Power;
use crate::vm::VmId;

/// The guest's system where none is named.
const GUEST: &str = "otherGuest64";

/// Most places that an error names.
const SHOWN: usize = 10;

#[async_trait]
impl Create for Vsphere {
    async fn describe(&self, vm: &NewVm) -> Result<Described> {
        let client = self.client();
        let disk = checked(vm)?;
        let names = Names::read(client).await?;
        let spot = Spot::find(client, &names, vm).await?;
        if place::child(client, &spot.folder, &vm.name).await?.is_some() {
            return Err(Error::conflict("the name is taken").with_subject(vm.name.clone()));
        }
        let offered = network::offered(client, &spot.owner).await?;
        let mut cards = Vec::new();
        for wanted in &vm.networks {
            cards.push(match network::find(client, &names, &offered, wanted).await? {
                Backing::Standard(name) => json!({ "network": name }),
                Backing::Distributed(switch, group) => json!({ "switch": switch, "group": group }),
            });
        }
        let object = json!({
            "kind": MACHINE,
            "name": vm.name,
            "folder": written(&spot.folder),
            "pool": written(&spot.pool),
            "host": spot.host.as_ref().map(written),
            "datastore": spot.datastore,
            "guest_id": vm.guest_id.as_deref().unwrap_or(GUEST),
            "cpus": vm.cpus.unwrap_or(1),
            "memory_mib": vm.memory_bytes.unwrap_or_default() >> 20,
            "disk_kib": disk >> 10,
            "cards": cards,
        });
        let path = names.path(&spot.folder.value, &vm.name);
        Ok(Described {
            vm: vm.name.clone(),
            reference: path.unwrap_or_else(|| vm.name.clone()),
            deed: Deed::Make { verb: "create", objects: vec![object] },
            remarks: Vec::new(),
            awaited: false,
            follows: false,
        })
    }

    fn read(&self, _: &str) -> Result<Vec<Described>> {
        Err(Error::unsupported("vSphere has no manifests of machines")
            .with_hint("flags say the same: `hyper vm create --help`"))
    }

    async fn make(&self, wanted: &Making<'_>, cancel: &Cancel) -> Result<Made> {
        if wanted.dry_run {
            let words = "all places are there, and the name is free; the server was not asked";
            return Ok(Made { vm: None, note: Some(words.to_owned()) });
        }
        let mut made = Made { vm: None, note: None };
        for object in wanted.objects {
            let vm = self.make_one(object, cancel).await?;
            if wanted.start {
                let started = self.start(&vm, false, cancel).await;
                started.map_err(|error| error.context("switch on the machine, which is there"))?;
                made.note = Some("it runs".to_owned());
            }
            made.vm = Some(vm);
        }
        Ok(made)
    }

    async fn check(&self, answer: &Answer<'_>) -> Result<()> {
        match *answer {
            Answer::Name(name) => checked_name(name),
            Answer::Namespace(..) => Ok(()),
            Answer::Disk(_, disk) => disk_size(disk).map(drop),
        }
    }

    fn disks(&self) -> &'static [DiskKind] {
        &[DiskKind::Blank]
    }

    fn has_namespaces(&self) -> bool {
        false
    }

    async fn namespaces(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn choices(&self, question: Question, vm: &NewVm) -> Result<Vec<String>> {
        let client = self.client();
        let names = Names::read(client).await?;
        if question == Question::Pool {
            return Ok(paths(owners(&names)));
        }
        let (_, owner) = pool(client, &names, &vm.place).await?;
        let all = match question {
            Question::Network => network::offered(client, &owner).await?,
            _ => datastores(client, &owner).await?,
        };
        let mut all: Vec<_> =
            all.iter().filter_map(|it| names.name(&it.value).map(str::to_owned)).collect();
        all.sort();
        all.dedup();
        Ok(all)
    }
}

/// Refuses what vSphere's machines do not have; bytes of the disk.
fn checked(vm: &NewVm) -> Result<u64> {
    checked_name(&vm.name)?;
    let first = |all: &[String]| all.first().cloned();
    let wishes = [
        ("storage classes", vm.storage_class.clone()),
        ("instancetypes", vm.instancetype.clone()),
        ("preferences", vm.preference.clone()),
        ("cloud-init of its own", vm.user_data.as_ref().map(|_| "--cloud-init".to_owned())),
        ("cloud-init of its own", vm.ssh_keys.first().map(|_| "--ssh-key".to_owned())),
        ("GPUs by name here", first(&vm.gpus)),
        ("devices by name here", first(&vm.host_devices)),
        ("labels", vm.labels.keys().next().cloned()),
    ];
    for (what, named) in wishes {
        if let Some(named) = named {
            let words = format!("{NAME} has no {what}");
            return Err(Error::unsupported(words).with_subject(named));
        }
    }
    match vm.memory_bytes {
        None => {
            return Err(
                Error::usage("how much memory is the machine to have?").with_hint("give --memory")
            );
        }
        Some(bytes) if !bytes.is_multiple_of(1 << 20) => {
            return Err(Error::usage("vSphere counts memory in whole MiB"));
        }
        Some(_) => {}
    }
    match &vm.disk {
        Some(disk) => disk_size(disk),
        None => Err(Error::usage("how large is its disk to be?").with_hint("give --blank")),
    }
}

/// That a machine can be called so.
///
/// # Errors
/// `Usage`.
pub(super) fn checked_name(name: &str) -> Result<()> {
    match name {
        "" => Err(Error::usage("the machine has no name")),
        name if name.contains(['/', '\\', '%']) => {
            Err(Error::usage(format!("{name:?} cannot be the name of a machine"))
                .with_hint("--folder says where it is put"))
        }
        name if name.chars().count() > 80 => {
            Err(Error::usage("a name has at most 80 characters").with_subject(name))
        }
        _ => Ok(()),
    }
}

fn disk_size(disk: &NewDisk) -> Result<u64> {
    match disk {
        NewDisk::Blank(bytes) if bytes.is_multiple_of(1 << 10) => Ok(*bytes),
        NewDisk::Blank(_) => Err(Error::usage("vSphere counts disks in whole KiB")),
        NewDisk::Template(name) => {
            Err(Error::unsupported("a machine is made from a template by `hyper template deploy`")
                .with_subject(name.clone()))
        }
        _ => Err(Error::unsupported("vSphere makes machines with a new disk without content")
            .with_hint("--blank says how large; `hyper clone` and `hyper template deploy` copy")),
    }
}

fn written(object: &MoRef) -> Json {
    json!({ "type": object.kind, "id": object.value })
}

/// Where a machine is made.
struct Spot {
    folder: MoRef,
    pool: MoRef,
    /// The host or cluster that the pool is of.
    owner: MoRef,
    host: Option<MoRef>,
    /// The datastore's name.
    datastore: String,
}

impl Spot {
    async fn find(client: &Client, names: &Names, vm: &NewVm) -> Result<Self> {
        let (pool, owner) = pool(client, names, &vm.place).await?;
        let host = match &vm.place.host {
            Some(name) => Some(place::host(names, name)?),
            None => None,
        };
        let folder = folder(client, names, &vm.place, &owner).await?;
        let offered = datastores(client, &owner).await?;
        let datastore = datastore(client, names, &offered, vm.place.datastore.as_deref()).await?;
        Ok(Self { folder, pool, owner, host, datastore })
    }
}

/// The folder that is named, or that of all machines of the datacenter that a host or cluster is in.
///
/// # Errors
/// `NotFound`, `Conflict` for a name; those of a call.
pub(super) async fn folder(
    client: &Client,
    names: &Names,
    place: &Place,
    owner: &MoRef,
) -> Result<MoRef> {
    if let Some(folder) = &place.folder {
        return place::find(client, names, Kind::Folder, folder).await;
    }
    let above = names
        .datacenter_of(&owner.value)
        .ok_or_else(|| Error::usage("the pool is in no datacenter").with_hint("name a --folder"))?;
    let read = client.properties(&above, &["vmFolder"]).await?;
    read.reference("vmFolder")
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "the datacenter has no folder for machines"))
}

/// The pool that is named, that of the host that is named, or the only one; and whose it is.
///
/// # Errors
/// `Usage` where nothing is named and there are several; `NotFound`, `Conflict` for a name.
pub(super) async fn pool(client: &Client, names: &Names, place: &Place) -> Result<(MoRef, MoRef)> {
    let pool = match (&place.pool, &place.host) {
        (Some(pool), _) => place::pool(client, names, pool).await?,
        (None, Some(host)) => {
            let host = place::host(names, host)?;
            let pool = place::pool_of(client, &host, None).await?;
            pool.ok_or_else(|| Error::usage("the host has no pool").with_hint("name a --pool"))?
        }
        (None, None) => match owners(names).as_slice() {
            [] => return Err(Error::not_found("there is no host and no cluster here")),
            [(owner, _)] => own_pool(client, owner).await?,
            several => {
                let error = Error::usage("on which host or cluster is the machine to be made?")
                    .with_hint("name a --pool or a --host");
                return Err(several
                    .iter()
                    .take(SHOWN)
                    .fold(error, |error, (_, path)| error.with_hint(path)));
            }
        },
    };
    let owner = client.properties(&pool, &["owner"]).await?.reference("owner");
    let lost = || Error::new(ErrorKind::Protocol, "the pool is nobody's");
    Ok((pool.clone(), owner.ok_or_else(lost)?))
}

async fn own_pool(client: &Client, owner: &MoRef) -> Result<MoRef> {
    let own = client.properties(owner, &["resourcePool"]).await?.reference("resourcePool");
    own.ok_or_else(|| Error::not_found("it has no resource pool").with_subject(owner.to_string()))
}

/// The single hosts and the clusters, with their paths in order.
fn owners(names: &Names) -> Vec<(MoRef, String)> {
    let all = names.of_types(&["ComputeResource", "ClusterComputeResource"]);
    let mut all: Vec<_> = all.map(|(id, _, path)| (id, path)).collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    all
}

fn paths(all: Vec<(MoRef, String)>) -> Vec<String> {
    all.into_iter().map(|(_, path)| path).collect()
}

/// The datastores of a host or cluster.
///
/// # Errors
/// Those of a call.
pub(super) async fn datastores(client: &Client, owner: &MoRef) -> Result<Vec<MoRef>> {
    let read = client.properties(owner, &["datastore"]).await?;
    let all = read.get("datastore").map(|it| it.children.iter());
    Ok(all.into_iter().flatten().filter_map(Value::reference).collect())
}

/// The name of the datastore that is wanted, one of those that are offered, or of the only one.
async fn datastore(
    client: &Client,
    names: &Names,
    offered: &[MoRef],
    wanted: Option<&str>,
) -> Result<String> {
    let name = |it: &MoRef| names.name(&it.value).unwrap_or_default().to_owned();
    let mut known: Vec<_> = offered.iter().map(name).collect();
    known.sort();
    let known = known.join(", ");
    let Some(wanted) = wanted else {
        return match offered {
            [one] => Ok(name(one)),
            _ => Err(Error::usage("on which datastore are its disks to be?")
                .with_hint(format!("name one with --datastore; there are: {known}"))),
        };
    };
    named_datastore(client, names, offered, wanted).await.map(|it| name(&it))
}

/// The datastore that a name means, among those that there are where the machine is to be.
///
/// # Errors
/// `NotFound`; `Conflict` for one that is elsewhere.
pub(super) async fn named_datastore(
    client: &Client,
    names: &Names,
    offered: &[MoRef],
    wanted: &str,
) -> Result<MoRef> {
    let found = place::find(client, names, Kind::Datastore, wanted).await?;
    if offered.contains(&found) {
        return Ok(found);
    }
    let mut known: Vec<_> = offered.iter().filter_map(|it| names.name(&it.value)).collect();
    known.sort_unstable();
    Err(Error::conflict("the datastore is not there where the machine is to be")
        .with_subject(wanted)
        .with_hint(format!("there are: {}", known.join(", "))))
}

impl Vsphere {
    async fn make_one(&self, object: &Json, cancel: &Cancel) -> Result<VmId> {
        cancel.check()?;
        let reference = |name: &str| {
            let part = &object[name];
            Some(MoRef::new(part["type"].as_str()?, part["id"].as_str()?))
        };
        let lacks = || Error::new(ErrorKind::Internal, "the description lacks a place");
        let (folder, pool) = (reference("folder"), reference("pool"));
        let (Some(folder), Some(pool)) = (folder, pool) else { return Err(lacks()) };
        let mut body = spec(object).reference("pool", &pool);
        if let Some(host) = reference("host") {
            body = body.reference("host", &host);
        }
        let client = self.client();
        let task = client.call("CreateVM_Task", &folder, body).await?;
        let name = text(object, "name");
        let left = cancel.leftover(format!("the machine {name}, which the server makes"));
        let made = client.wait_task(&task.reference()?, cancel).await;
        drop(left);
        let id = made?.reference().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server made a machine and does not say which")
        })?;
        Ok(VmId(id.value))
    }
}

fn text<'o>(object: &'o Json, name: &str) -> &'o str {
    object[name].as_str().unwrap_or_default()
}

/// The machine's configuration. The order is that of VirtualMachineConfigSpec.
fn spec(object: &Json) -> Body {
    let number = |name: &str| object[name].as_u64().unwrap_or_default();
    let (guest, store) = (text(object, "guest_id"), format!("[{}]", text(object, "datastore")));
    let windows = guest.starts_with("win");
    let body = Body::new()
        .open("config", None)
        .text("name", text(object, "name"))
        .text("guestId", guest)
        .open("files", None)
        .text("vmPathName", &store)
        .close("files")
        .text("numCPUs", number("cpus"))
        .text("memoryMB", number("memory_mib"));
    let mut body = disk(controller(body, windows), &store, number("disk_kib"));
    for (at, card) in object["cards"].as_array().into_iter().flatten().enumerate() {
        let backing = match card["network"].as_str() {
            Some(name) => Backing::Standard(name.to_owned()),
            None => Backing::Distributed(text(card, "switch").into(), text(card, "group").into()),
        };
        body = nic(body, at, windows, &backing);
    }
    body.close("config")
}

/// A controller for disks that the guest's installer knows.
fn controller(body: Body, windows: bool) -> Body {
    let kind = if windows { "VirtualLsiLogicSASController" } else { "ParaVirtualSCSIController" };
    body.open("deviceChange", None)
        .text("operation", "add")
        .open("device", Some(kind))
        .text("key", -101)
        .text("busNumber", 0)
        .text("sharedBus", "noSharing")
        .close("device")
        .close("deviceChange")
}

fn disk(body: Body, store: &str, kib: u64) -> Body {
    body.open("deviceChange", None)
        .text("operation", "add")
        .text("fileOperation", "create")
        .open("device", Some("VirtualDisk"))
        .text("key", -102)
        .open("backing", Some("VirtualDiskFlatVer2BackingInfo"))
        .text("fileName", store)
        .text("diskMode", "persistent")
        .text("thinProvisioned", true)
        .close("backing")
        .text("controllerKey", -101)
        .text("unitNumber", 0)
        .text("capacityInKB", kib)
        .close("device")
        .close("deviceChange")
}

fn nic(body: Body, at: usize, windows: bool, backing: &Backing) -> Body {
    let kind = if windows { "VirtualE1000e" } else { "VirtualVmxnet3" };
    let key = -200 - i64::try_from(at).unwrap_or_default();
    let body = body
        .open("deviceChange", None)
        .text("operation", "add")
        .open("device", Some(kind))
        .text("key", key);
    backing
        .write(body)
        .open("connectable", None)
        .text("startConnected", true)
        .text("allowGuestControl", true)
        .text("connected", true)
        .close("connectable")
        .text("addressType", "generated")
        .close("device")
        .close("deviceChange")
}
