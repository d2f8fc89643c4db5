//! Which machines there are, and which one a reference means.

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::NAME;
use super::client::Client;
use super::property::{Object, Properties, property_spec};
use super::soap::{Body, MoRef, Value};
use crate::error::{Error, Result};
use crate::vm::{FirmwareKind, OsFamily, Vm, VmFilter, VmId, VmStatus};

/// What a record is made of.
const PATHS: [&str; 8] = [
    "name",
    "runtime.powerState",
    "config.guestId",
    "config.guestFullName",
    "config.firmware",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
];

/// The type of machines.
const MACHINE: &str = "VirtualMachine";

/// All machines that pass the filter.
pub fn list(client: &Client, filter: VmFilter) -> BoxStream<'_, Result<Vm>> {
    stream::once(async move {
        let records: Vec<Result<Vm>> = match all(client, &PATHS).await {
            Err(error) => vec![Err(error)],
            Ok(found) => found
                .iter()
                .map(|object| record(client, object))
                .filter(|vm| filter.accepts(vm))
                .map(Ok)
                .collect(),
        };
        stream::iter(records)
    })
    .flatten()
    .boxed()
}

/// One machine.
pub async fn get(client: &Client, vm: &VmId) -> Result<Vm> {
    let id = MoRef::new(MACHINE, &vm.0);
    let properties = client.properties(&id, &PATHS).await?;
    Ok(record(client, &Object { id, properties }))
}

/// The machine that a reference means.
pub async fn resolve(client: &Client, reference: &str) -> Result<VmId> {
    if let Some(id) = reference.strip_prefix('@') {
        let id = MoRef::new(MACHINE, id);
        client.properties(&id, &["name"]).await?;
        return Ok(VmId(id.value));
    }
    let named: Vec<_> = all(client, &["name"])
        .await?
        .into_iter()
        .filter(|object| object.properties.str("name") == Some(reference))
        .collect();
    match named.as_slice() {
        [one] => Ok(VmId(one.id.value.clone())),
        [] => Err(Error::not_found("there is no such machine").with_subject(reference)),
        several => {
            let error = Error::conflict("several machines have this name").with_subject(reference);
            Err(several
                .iter()
                .fold(error, |error, object| error.with_hint(format!("@{}", object.id.value))))
        }
    }
}

async fn all(client: &Client, paths: &[&str]) -> Result<Vec<Object>> {
    let content = client.content().await?;
    let views = content.manager("viewManager")?;
    let body = Body::new()
        .reference("container", &content.root_folder)
        .text("type", MACHINE)
        .text("recursive", true);
    let view = client.call("CreateContainerView", &views, body).await?.reference()?;
    let body = property_spec(Body::new().open("specSet", None), MACHINE, paths)
        .open("objectSet", None)
        .reference("obj", &view)
        .text("skip", true)
        .open("selectSet", Some("TraversalSpec"))
        .text("type", "ContainerView")
        .text("path", "view")
        .text("skip", false)
        .close("selectSet")
        .close("objectSet")
        .close("specSet")
        .open("options", None)
        .text("maxObjects", 500)
        .close("options");
    let found = client.read_all(&content.property_collector, body).await;
    client.call("DestroyView", &view, Body::new()).await?;
    found
}

/// A record of what the server said.
fn record(client: &Client, object: &Object) -> Vm {
    let Object { id, properties } = object;
    let disks = devices(properties).filter(|device| device.is("VirtualDisk"));
    let capacities: Vec<u64> = disks.filter_map(capacity).collect();
    Vm {
        id: VmId(id.value.clone()),
        name: properties.str("name").unwrap_or_default().to_owned(),
        context: client.endpoint().context.clone(),
        provider: NAME.to_owned(),
        status: match properties.str("runtime.powerState") {
            Some("poweredOn") => VmStatus::Running,
            Some("poweredOff") => VmStatus::Stopped,
            Some("suspended") => VmStatus::Paused,
            _ => VmStatus::Unknown,
        },
        cpus: properties.number("config.hardware.numCPU"),
        memory_bytes: properties.number::<u64>("config.hardware.memoryMB").map(|it| it << 20),
        guest_os: OsFamily::Unknown,
        guest_os_id: properties.str("config.guestId").map(str::to_owned),
        guest_os_name: properties.str("config.guestFullName").map(str::to_owned),
        firmware: FirmwareKind::Unknown,
        disk_count: u32::try_from(capacities.len()).unwrap_or(u32::MAX),
        capacity_bytes: Some(capacities.iter().fold(0, |sum, one| sum.saturating_add(*one))),
        allocated_bytes: None,
        macs: Vec::new(),
        networks: Vec::new(),
        format: None,
        path: None,
        created: None,
        updated: None,
    }
}

fn devices(properties: &Properties) -> impl Iterator<Item = &Value> {
    properties.get("config.hardware.device").into_iter().flat_map(|array| array.children.iter())
}

fn capacity(disk: &Value) -> Option<u64> {
    let bytes = disk.number("capacityInBytes");
    bytes.or_else(|| disk.number::<u64>("capacityInKB").map(|kib| kib.saturating_mul(1024)))
}
