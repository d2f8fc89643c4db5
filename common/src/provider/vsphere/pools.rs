//! Resource pools (ResourcePool, vSphere API reference).

use std::collections::HashMap;

use async_trait::async_trait;

use super::Vsphere;
use super::client::Client;
use super::fault::fault_of;
use super::names::Names;
use super::objects::all_of;
use super::property::{Object, Properties};
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::pools::{
    Allocation, AllocationChange, Left, NewPool, Pool, PoolChange, PoolKind, PoolUsage, Pools,
    Shares, in_order,
};

const POOL: &str = "ResourcePool";
const VAPP: &str = "VirtualApp";

/// What a record is made of.
const PATHS: [&str; 8] =
    ["name", "parent", "owner", "config", "runtime", "resourcePool", "vm", "overallStatus"];

/// What is in a pool.
const CONTENT: [&str; 3] = ["parent", "resourcePool", "vm"];

#[async_trait]
impl Pools for Vsphere {
    async fn all(&self) -> Result<Vec<Pool>> {
        let names = Names::read(self.client()).await?;
        let kinds = [(POOL, &PATHS[..]), (VAPP, &PATHS[..])];
        let pools = all_of(self.client(), &kinds, move |object| pool(&names, object)).await?;
        Ok(with_paths(in_order(pools)))
    }

    async fn create(&self, parent: &Pool, new: &NewPool) -> Result<String> {
        let (cpu, memory) =
            (Allocation::usual().with(&new.cpu), Allocation::usual().with(&new.memory));
        let body = Body::new().text("name", escaped(&new.name)).open("spec", None);
        let body = allocation(allocation(body, "cpuAllocation", &cpu), "memoryAllocation", &memory);
        let (client, parent_id) = (self.client(), reference(parent));
        let made = client.call("CreateResourcePool", &parent_id, body.close("spec")).await;
        let made = made.map_err(|error| explain(error, "make the pool", parent))?;
        Ok(made.reference()?.value)
    }

    async fn update(&self, pool: &Pool, change: &PoolChange) -> Result<()> {
        let mut body = Body::new();
        if let Some(name) = &change.name {
            body = body.text("name", escaped(name));
        }
        if change.cpu != AllocationChange::default() || change.memory != AllocationChange::default()
        {
            body = body.open("config", None);
            // With it the server refuses what would undo a change that came between.
            if let Some(version) = &pool.version {
                body = body.text("changeVersion", version);
            }
            // Whole, for servers that take what is not named for what they would choose.
            let (cpu, memory) = (pool.cpu.with(&change.cpu), pool.memory.with(&change.memory));
            body = allocation(body, "cpuAllocation", &cpu);
            body = allocation(body, "memoryAllocation", &memory).close("config");
        }
        let done = self.client().call("UpdateConfig", &reference(pool), body).await;
        done.map(drop).map_err(|error| explain(error, "change the pool", pool))
    }

    async fn delete(&self, pool: &Pool, cancel: &Cancel) -> Result<Left> {
        let (client, this) = (self.client(), reference(pool));
        let before = client.properties(&this, &CONTENT).await?;
        let task = client.call("Destroy_Task", &this, Body::new()).await?.reference()?;
        client.wait_task(&task, cancel).await?;
        left(client, &before).await
    }
}

/// Puts in the paths by what pools are in. By themselves vApps are in folders of machines, too.
fn with_paths(mut pools: Vec<Pool>) -> Vec<Pool> {
    let mut paths: HashMap<String, String> = HashMap::new();
    for pool in &mut pools {
        if let Some(parent) = &pool.parent {
            pool.parent_path = paths.get(parent).cloned();
        }
        pool.path = pool.parent_path.as_ref().map(|path| format!("{path}/{}", pool.name));
        if let Some(path) = &pool.path {
            paths.insert(pool.id.clone(), path.clone());
        }
    }
    pools
}

/// What of a pool's content is now in the pool that was around it.
async fn left(client: &Client, before: &Properties) -> Result<Left> {
    let (pools, vms) = (references(before, "resourcePool"), references(before, "vm"));
    if pools.is_empty() && vms.is_empty() {
        return Ok(Left::default());
    }
    let parent = before.reference("parent").ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the server does not say what the pool was in")
    })?;
    let around = client.properties(&parent, &CONTENT).await?;
    let here = |of: &[MoRef], path: &str| {
        let now = references(&around, path);
        of.iter().filter(|it| now.contains(it)).count()
    };
    let (kept_pools, kept_vms) = (here(&pools, "resourcePool"), here(&vms, "vm"));
    let gone = pools.len() + vms.len() - kept_pools - kept_vms;
    Ok(Left { pools: kept_pools, vms: kept_vms, gone })
}

fn references(properties: &Properties, path: &str) -> Vec<MoRef> {
    let list = properties.get(path).into_iter();
    list.flat_map(|array| array.all("ManagedObjectReference"))
        .filter_map(Value::reference)
        .collect()
}

fn reference(pool: &Pool) -> MoRef {
    MoRef::new(if pool.kind == PoolKind::Vapp { VAPP } else { POOL }, &pool.id)
}

/// A name as the server takes it: a percent sign begins an escape there.
fn escaped(name: &str) -> String {
    name.replace('%', "%25")
}

/// Adds an allocation. The order is that of ResourceAllocationInfo.
fn allocation(body: Body, name: &str, it: &Allocation) -> Body {
    let mut body = body.open(name, None);
    if let Some(reservation) = it.reservation {
        body = body.text("reservation", reservation);
    }
    if let Some(expandable) = it.expandable {
        body = body.text("expandableReservation", expandable);
    }
    if let Some(limit) = it.limit {
        body = body.text("limit", limit);
    }
    if let Some(shares) = it.shares {
        // The number counts with the level `custom` only, and must be there with each.
        let number = if let Shares::Custom(number) = shares { number } else { 0 };
        body = body.open("shares", None).text("shares", number).text("level", shares.name());
        body = body.close("shares");
    }
    body.close(name)
}

/// Says what a fault means for a pool.
fn explain(error: Error, doing: &str, pool: &Pool) -> Error {
    let kind = fault_of(&error).map(|fault| fault.kind.clone()).unwrap_or_default();
    let place = pool.path.clone().unwrap_or_else(|| pool.name.clone());
    match kind.as_str() {
        "InsufficientResourcesFault"
        | "InsufficientCpuResourcesFault"
        | "InsufficientMemoryResourcesFault" => {
            let error = Error::conflict(doing).with_source(error).with_subject(place);
            error.with_hint("what is around it has not that much left to reserve; see UNRESERVED in `hyper pool list -o wide`")
        }
        "ConcurrentAccess" => Error::conflict(doing)
            .with_source(error)
            .with_subject(place)
            .with_hint("it was changed meanwhile; look at it, and try again"),
        "InvalidArgument" | "InvalidName" => {
            Error::usage(doing).with_source(error).with_subject(place)
        }
        _ => error.with_subject(place),
    }
}

/// The record of a pool.
fn pool(names: &Names, object: &Object) -> Pool {
    let Object { id, properties } = object;
    let parent = properties.reference("parent");
    let inside = parent.as_ref().filter(|it| it.kind == POOL || it.kind == VAPP);
    let owner = properties.reference("owner");
    let config = properties.get("config");
    let runtime = properties.get("runtime");
    let part = |of: Option<&Value>, name: &str| of.and_then(|it| it.child(name)).cloned();
    let (cpu, cpu_weight) = allocated(part(config, "cpuAllocation"));
    let (memory, memory_weight) = allocated(part(config, "memoryAllocation"));
    let count = |path: &str| u32::try_from(references(properties, path).len()).unwrap_or(u32::MAX);
    Pool {
        id: id.value.clone(),
        name: properties.str("name").unwrap_or_default().to_owned(),
        path: None,
        kind: match (id.kind == VAPP, inside) {
            (true, _) => PoolKind::Vapp,
            (false, Some(_)) => PoolKind::Pool,
            (false, None) => PoolKind::Root,
        },
        parent_path: parent
            .as_ref()
            .filter(|_| inside.is_none())
            .and_then(|it| names.path_to(&it.value)),
        parent: inside.map(|it| it.value.clone()),
        depth: 0,
        cluster: owner.as_ref().and_then(|it| names.name(&it.value)).map(str::to_owned),
        datacenter: names.around(&id.value, "Datacenter").map(str::to_owned),
        cpu,
        memory,
        cpu_use: used(part(runtime, "cpu"), cpu_weight),
        memory_use: used(part(runtime, "memory"), memory_weight),
        vms: count("vm"),
        pools: count("resourcePool"),
        status: properties.str("overallStatus").map(str::to_owned),
        version: config.and_then(|it| it.str("changeVersion")).map(str::to_owned),
    }
}

/// A ResourceAllocationInfo, and the weight of its shares.
fn allocated(info: Option<Value>) -> (Allocation, Option<i64>) {
    let Some(info) = info else { return (Allocation::default(), None) };
    let number = info.number::<i64>("shares.shares");
    let shares = match info.str("shares.level") {
        Some("low") => Some(Shares::Low),
        Some("normal") => Some(Shares::Normal),
        Some("high") => Some(Shares::High),
        Some("custom") => number.and_then(|it| u32::try_from(it).ok()).map(Shares::Custom),
        _ => None,
    };
    let allocation = Allocation {
        reservation: info.number("reservation"),
        limit: info.number("limit"),
        expandable: info.flag("expandableReservation"),
        shares,
    };
    (allocation, number)
}

/// A ResourcePoolResourceUsage.
fn used(usage: Option<Value>, weight: Option<i64>) -> PoolUsage {
    let Some(usage) = usage else { return PoolUsage { weight, ..PoolUsage::default() } };
    PoolUsage {
        used: usage.number("overallUsage"),
        most: usage.number("maxUsage"),
        reserved: usage.number("reservationUsed"),
        unreserved: usage.number("unreservedForPool"),
        weight,
    }
}
