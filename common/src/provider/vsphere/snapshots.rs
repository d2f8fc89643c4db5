//! Snapshots of machines, for those who ask for them (VirtualMachine.CreateSnapshot_Task and its
//! sisters, vSphere API reference). What an export makes for itself is in `snapshot.rs`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::Vsphere;
use super::fault::fault_of;
use super::inventory::MACHINE;
use super::machine::plain_name;
use super::property::Properties;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::power::Switched;
use crate::provider::facets::snapshots::{NewSnapshot, Snapshot, SnapshotStatus, Snapshots};
use crate::vm::VmId;

/// What a snapshot's description, tree and sizes are read from.
const PATHS: [&str; 2] = ["snapshot", "layoutEx"];

const CONSOLIDATION: &str = "runtime.consolidationNeeded";

#[async_trait]
impl Snapshots for Vsphere {
    async fn create(&self, vm: &VmId, wanted: &NewSnapshot, cancel: &Cancel) -> Result<Snapshot> {
        let (client, machine) = (self.client(), MoRef::new(MACHINE, &vm.0));
        let before = self.all(vm).await?;
        let name = wanted.name_or_time("snapshot");
        if before.iter().any(|one| one.name == name) {
            // A server takes the same name twice; whoever names it later could mean either.
            return Err(Error::conflict(format!("it has a snapshot {name:?} already")));
        }
        let body = Body::new()
            .text("name", &name)
            .text("description", wanted.description.as_deref().unwrap_or_default())
            .text("memory", wanted.memory)
            .text("quiesce", wanted.quiesce);
        let made = match client.call("CreateSnapshot_Task", &machine, body).await {
            Ok(reply) => client.wait_task(&reply.reference()?, cancel).await,
            Err(error) => Err(error),
        };
        let made = made.map_err(|error| explain(error, wanted))?;
        let id = made.reference().map(|it| it.value);
        let fits = |one: &Snapshot| match &id {
            Some(id) => one.id == *id,
            // Some servers do not say which one they made.
            None => one.name == name && before.iter().all(|it| it.id != one.id),
        };
        self.all(vm).await?.into_iter().find(fits).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server says that it took a snapshot, and has none")
                .with_subject(name)
        })
    }

    async fn all(&self, vm: &VmId) -> Result<Vec<Snapshot>> {
        let vm = MoRef::new(MACHINE, &vm.0);
        Ok(tree(&self.client().properties(&vm, &PATHS).await?))
    }

    async fn revert(&self, vm: &VmId, to: &Snapshot, cancel: &Cancel) -> Result<()> {
        let (client, snapshot) = (self.client(), reference(to));
        let task = client.call("RevertToSnapshot_Task", &snapshot, Body::new()).await?;
        client.wait_task(&task.reference()?, cancel).await?;
        match self.all(vm).await?.iter().any(|one| one.id == to.id && one.current == Some(true)) {
            true => Ok(()),
            false => Err(Error::conflict(
                "the server says that it returned to the snapshot, and the machine has gone on \
                 from another",
            )),
        }
    }

    async fn delete(
        &self,
        _vm: &VmId,
        snapshot: &Snapshot,
        children: bool,
        cancel: &Cancel,
    ) -> Result<()> {
        let body = Body::new().text("removeChildren", children);
        let task = self.client().call("RemoveSnapshot_Task", &reference(snapshot), body).await?;
        self.client().wait_task(&task.reference()?, cancel).await.map(drop)
    }

    async fn consolidate(&self, vm: &VmId, cancel: &Cancel) -> Result<Switched> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        let needed = client.properties(&vm, &[CONSOLIDATION]).await?.flag(CONSOLIDATION);
        if needed == Some(false) {
            return Ok(Switched::Already);
        }
        let task = client.call("ConsolidateVMDisks_Task", &vm, Body::new()).await?;
        client.wait_task(&task.reference()?, cancel).await?;
        match client.properties(&vm, &[CONSOLIDATION]).await?.flag(CONSOLIDATION) {
            Some(true) => Err(Error::conflict("its disks still need to be consolidated")
                .with_hint("something holds them: an export, a backup, another machine")),
            _ => Ok(Switched::Done),
        }
    }
}

fn reference(snapshot: &Snapshot) -> MoRef {
    MoRef::new("VirtualMachineSnapshot", &snapshot.id)
}

fn explain(error: Error, wanted: &NewSnapshot) -> Error {
    let error = error.context("take a snapshot");
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::Interrupted => {
            error.with_hint("the server goes on with it; `hyper snapshot list` shows what came")
        }
        _ if wanted.quiesce && fault_of(&error).is_some() => {
            error.with_hint("--quiesce needs VMware Tools in the guest; try without it")
        }
        _ => error,
    }
}

/// All snapshots, parents first.
fn tree(machine: &Properties) -> Vec<Snapshot> {
    let Some(root) = machine.get("snapshot") else { return Vec::new() };
    let current = root.child("currentSnapshot").map(|it| it.text.as_str());
    let layout = machine.get("layoutEx").map(Layout::new);
    let mut found = Vec::new();
    // Each with its parent; the next one to take is the last.
    let mut open: Vec<(&Value, Option<String>, u32)> = Vec::new();
    let roots: Vec<_> = root.all("rootSnapshotList").collect();
    open.extend(roots.into_iter().rev().map(|node| (node, None, 0)));
    while let Some((node, parent, depth)) = open.pop() {
        let Some(id) = node.str("snapshot").map(str::to_owned) else { continue };
        let children: Vec<_> = node.all("childSnapshotList").collect();
        open.extend(children.into_iter().rev().map(|it| (it, Some(id.clone()), depth + 1)));
        let text = |name: &str| node.str(name).map(str::to_owned);
        let is_current = current == Some(id.as_str());
        let files = layout.as_ref().map(|it| it.of(&id, parent.as_deref(), is_current));
        let (size, memory) = files.unwrap_or_default();
        found.push(Snapshot {
            name: plain_name(node.str("name").unwrap_or_default()),
            description: text("description"),
            created: node.str("createTime").and_then(|time| time.parse().ok()),
            parent,
            depth,
            current: Some(is_current),
            status: SnapshotStatus::Ready,
            memory,
            quiesced: node.flag("quiesced"),
            size_bytes: size,
            id,
            ..Snapshot::default()
        });
    }
    found
}

/// The files of a machine, by what they belong to (VirtualMachineFileLayoutEx).
struct Layout<'l> {
    sizes: HashMap<i64, u64>,
    /// By the snapshot's id.
    snapshots: HashMap<&'l str, Own>,
    /// The files of the disks that the machine has now.
    now: HashSet<i64>,
}

/// The files of a snapshot: its state, the guest's memory, its disks.
struct Own {
    state: Option<i64>,
    memory: Option<i64>,
    disks: HashSet<i64>,
}

impl<'l> Layout<'l> {
    fn new(layout: &'l Value) -> Self {
        let sizes = layout.all("file").filter_map(|file| {
            Some((file.number::<i64>("key")?, file.number::<u64>("size").unwrap_or(0)))
        });
        let key = |part: &Value, name: &str| part.number::<i64>(name).filter(|key| *key >= 0);
        let snapshots = layout.all("snapshot").filter_map(|part| {
            let (state, memory) = (key(part, "dataKey"), key(part, "memoryKey"));
            Some((part.str("key")?, Own { state, memory, disks: disk_files(part) }))
        });
        Self { sizes: sizes.collect(), snapshots: snapshots.collect(), now: disk_files(layout) }
    }

    /// Bytes of a snapshot beyond its parent, and whether it has the guest's memory. The first one
    /// stands on the machine's own disks, which are none of it; the one that the machine goes on
    /// from has what was written since.
    fn of(&self, id: &str, parent: Option<&str>, current: bool) -> (Option<u64>, Option<bool>) {
        let Some(Own { state, memory, disks }) = self.snapshots.get(id) else {
            return (None, None);
        };
        let mut files: HashSet<i64> = state.iter().chain(memory).copied().collect();
        if let Some(before) = parent.and_then(|parent| self.snapshots.get(parent)) {
            files.extend(disks.difference(&before.disks));
        }
        if current {
            let kept = |file: &&i64| self.snapshots.values().any(|it| it.disks.contains(file));
            files.extend(self.now.iter().filter(|file| !kept(file)));
        }
        let sizes = files.iter().map(|file| self.sizes.get(file).copied().unwrap_or(0));
        (Some(sizes.fold(0, u64::saturating_add)), Some(memory.is_some()))
    }
}

/// The keys of all files of the disks in a part of a layout.
fn disk_files(part: &Value) -> HashSet<i64> {
    let chains = part.all("disk").flat_map(|disk| disk.all("chain"));
    let keys = chains.flat_map(|unit| unit.all("fileKey"));
    keys.filter_map(|key| key.text.trim().parse().ok()).collect()
}
