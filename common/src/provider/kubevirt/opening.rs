//! Opening a machine for export: which moment is read, what of it there is. Nothing is made in the
//! cluster.

use std::sync::OnceLock;

use serde_json::Value;

use super::Kubevirt;
use super::client::Place;
use super::discovery::KUBEVIRT;
use super::export::{Held, KubevirtSource};
use super::inventory::{Kinds, MACHINES, instance, missing};
use super::machine::{Described, VmDisk, describe};
use super::marks::Watched;
use super::moment::{Content, find};
use super::record::{Known, parts};
use super::snapshots::VmSnapshot;
use super::vmexport::Exports;
use super::wire::{self, Instance, VirtualMachine};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::provider::facets::export::choose_moment;
use crate::provider::{DiskInfo, ExportOptions, Moment, Seek, Transport};
use crate::vm::VmId;

/// Largest run of a disk that comes at once.
pub(super) const BLOCK: u32 = 64 << 10;

/// What is read, and how it is known.
enum Found {
    /// The machine itself, as it is or as it will be once it is off.
    Machine,
    /// A snapshot.
    Snapshot(Box<(VmSnapshot, Content)>),
    /// A snapshot that will be made.
    Nothing,
}

/// Asks the cluster about a machine.
///
/// # Errors
/// Those of [`crate::provider::Export::open`].
pub(super) async fn open(
    kubevirt: &Kubevirt,
    id: &VmId,
    options: &ExportOptions,
) -> Result<KubevirtSource> {
    options.transport.check("KubeVirt", &[Transport::Ingress, Transport::PortForward])?;
    let (namespace, name) = parts(id);
    let client = kubevirt.client();
    let resource = client.resource(KUBEVIRT, MACHINES).await?;
    let place = Place { resource, namespace: Some(namespace) };
    let object: Value = client.get(place, name).await.map_err(|e| missing(e, namespace, name))?;
    let running = instance(kubevirt, namespace, name).await?.filter(runs);
    if options.moment == Moment::AsIs && running.is_some() {
        return Err(choose_moment(name));
    }
    let exports = Exports::of(client, namespace).await?;
    let found = match &options.moment {
        Moment::Snapshot(wanted) => {
            let found = find(kubevirt, id, wanted).await.subject(|| wanted.clone())?;
            Found::Snapshot(Box::new(found))
        }
        Moment::TempSnapshot { .. } => {
            // Said before anything is made.
            kubevirt.snapshots_of(namespace).await?;
            Found::Nothing
        }
        Moment::AsIs | Moment::PowerOff => Found::Machine,
    };
    let then = match &found {
        Found::Snapshot(snapshot) => snapshot.1.machine(),
        _ => None,
    };
    let described = described(kubevirt, then.unwrap_or(&object), name, running.as_ref()).await?;
    check_disks(name, &described)?;
    let watched = Watched {
        client: client.clone(),
        namespace: namespace.to_owned(),
        machine: name.to_owned(),
        claims: described.disks.iter().map(|disk| disk.claim.clone()).collect(),
    };
    let disks = disks(&found, &described, &watched, running.is_some()).await?;
    Ok(KubevirtSource {
        kubevirt: kubevirt.clone(),
        id: id.clone(),
        name: name.to_owned(),
        moment: options.moment.clone(),
        transport: options.transport,
        off: running.is_none(),
        exports,
        watched,
        disks,
        known: OnceLock::new(),
        described,
        held: Held::default(),
    })
}

/// Whether an instance has not ended.
pub(super) fn runs(instance: &Instance) -> bool {
    !matches!(instance.status.phase.as_str(), "Succeeded" | "Failed")
}

async fn described(
    kubevirt: &Kubevirt,
    object: &Value,
    name: &str,
    running: Option<&Instance>,
) -> Result<Described> {
    let mut vm: VirtualMachine = wire::read_value(object.clone()).map_err(|error| {
        Error::new(ErrorKind::Protocol, "the machine's object is not as it should be")
            .with_subject(name)
            .with_source(error)
    })?;
    // What a snapshot holds need not repeat it.
    vm.metadata.name = name.to_owned();
    let kind = Kinds::new(kubevirt).of(&vm).await?;
    let known = Known { vm: &vm, instance: running, instancetype: kind.as_deref() };
    Ok(describe(known, object, &kubevirt.context))
}

/// A machine of which nothing can be exported says so before anything is made.
fn check_disks(name: &str, described: &Described) -> Result<()> {
    if !described.disks.is_empty() {
        return Ok(());
    }
    if described.notes.is_empty() {
        return Err(Error::not_found("the machine has no disk to export").with_subject(name));
    }
    let error = Error::unsupported("none of the machine's volumes can be exported");
    let error = described
        .notes
        .iter()
        .fold(error.with_subject(name), |error, note| error.with_hint(note.clone()));
    Err(error)
}

/// What is known of the disks before the export is made: what their claims have room for.
async fn disks(
    found: &Found,
    described: &Described,
    watched: &Watched,
    running: bool,
) -> Result<Vec<DiskInfo>> {
    // A snapshot's claims need not be there any more.
    let marks = match found {
        Found::Snapshot(_) => None,
        _ => Some(watched.look().await?),
    };
    let settled = !running && matches!(found, Found::Machine);
    let info = |(number, disk): (usize, &VmDisk)| {
        let capacity = match (found, &marks) {
            (Found::Snapshot(snapshot), _) => snapshot.1.size(&disk.claim),
            (_, Some(marks)) => marks.size(&disk.claim),
            _ => 0,
        };
        DiskInfo {
            id: format!("disk{number}"),
            name: disk.volume.clone(),
            capacity,
            settled: false,
            block_size: BLOCK,
            seek: Seek::Ranges,
            format: None,
            identity: match found {
                Found::Snapshot(snapshot) => Some(of_snapshot(&snapshot.0, disk)),
                _ => marks.as_ref().filter(|_| settled).and_then(|it| it.identity(&disk.claim)),
            },
            refusal: None,
            modified_seconds: match found {
                Found::Snapshot(snapshot) => {
                    snapshot.0.status.creation_time.map_or(0, |time| time.as_second())
                }
                _ => 0,
            },
        }
    };
    Ok(described.disks.iter().enumerate().map(info).collect())
}

fn of_snapshot(snapshot: &VmSnapshot, disk: &VmDisk) -> String {
    format!("snapshot {} claim {}", snapshot.metadata.uid, disk.claim)
}
