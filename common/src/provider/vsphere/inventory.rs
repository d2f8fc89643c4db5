//! Which machines there are.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;

use super::client::Client;
use super::names::{Names, find_by_path};
use super::objects::each_object;
use super::property::Object;
use super::record::{OF_DEVICES, PATHS, record};
use super::soap::MoRef;
use super::stream::Take;
use crate::error::{Error, Result};
use crate::vm::{Vm, VmFilter, VmId};

/// The type of machines.
pub(super) const MACHINE: &str = "VirtualMachine";

/// Records that wait for the reader at the most.
const QUEUE: usize = 64;

/// Types that a list can be confined to.
const CONTAINERS: [&str; 7] = [
    "Folder",
    "Datacenter",
    "ComputeResource",
    "ClusterComputeResource",
    "HostSystem",
    "ResourcePool",
    "VirtualApp",
];

/// All machines that pass the filter, as the server tells of them.
pub fn list(client: &Client, filter: VmFilter) -> BoxStream<'static, Result<Vm>> {
    let (send, receive) = mpsc::channel(QUEUE);
    let client = client.clone();
    tokio::spawn(async move {
        if let Err(error) = send_all(&client, filter, send.clone()).await {
            let _ = send.send(Err(error)).await;
        }
    });
    stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) }).boxed()
}

async fn send_all(client: &Client, filter: VmFilter, send: mpsc::Sender<Result<Vm>>) -> Result<()> {
    filter.without_labels(super::NAME)?;
    let names = Names::read(client).await?;
    let place = place(client, &names, filter.within.as_deref()).await?;
    let context = client.endpoint().context.clone();
    if place.kind == MACHINE {
        let properties = client.properties(&place, &PATHS).await?;
        let vm = record(&context, &names, &Object { id: place, properties });
        if filter.accepts(&vm) {
            let _ = send.send(Ok(vm)).await;
        }
        return Ok(());
    }
    let take = move |object: Object| {
        let vm = record(&context, &names, &object);
        Ok(!filter.accepts(&vm) || send.blocking_send(Ok(vm)).is_ok())
    };
    each_machine(client, &place, &PATHS, Box::new(take)).await
}

/// Hands each machine below `place` to `take`, as [`each_object`] does.
pub(super) async fn each_machine(
    client: &Client,
    place: &MoRef,
    paths: &[&str],
    take: Take,
) -> Result<()> {
    each_object(client, place, &[(MACHINE, paths)], OF_DEVICES, take).await
}

/// What a list is confined to: a place named by its path, the context's datacenter, all.
pub(super) async fn place(client: &Client, names: &Names, within: Option<&str>) -> Result<MoRef> {
    let datacenter = client.endpoint().server.datacenter.clone();
    let (wanted, candidates) = match (within, datacenter) {
        (Some(path), _) => (path.to_owned(), absolute(client, names, path)),
        (None, Some(name)) => (name.clone(), vec![name]),
        (None, None) => return Ok(client.content().await?.root_folder.clone()),
    };
    for path in candidates {
        match find_by_path(client, &path).await? {
            Some(found) if found.kind == MACHINE || CONTAINERS.contains(&found.kind.as_str()) => {
                return Ok(found);
            }
            Some(found) => {
                return Err(Error::usage(format!("a {} holds no machines", found.kind))
                    .with_subject(wanted));
            }
            None => {}
        }
    }
    Err(Error::not_found("there is no such place in the inventory")
        .with_subject(wanted)
        .with_hint("a place is a path such as /DC0/vm/web or, below a datacenter's vm folder, web"))
}

/// The full paths that a path may stand for: as it is, or below the machines' folder of the
/// context's datacenter, or of any where the context names none.
pub(super) fn absolute(client: &Client, names: &Names, path: &str) -> Vec<String> {
    if path.starts_with('/') {
        return vec![path.to_owned()];
    }
    let below = |name: &str| format!("/{}/vm/{path}", name.trim_matches('/'));
    let mut all = match &client.endpoint().server.datacenter {
        Some(name) => vec![below(name)],
        None => names.datacenters().into_iter().map(below).collect(),
    };
    all.push(format!("/{path}"));
    all
}

/// One machine.
pub async fn get(client: &Client, vm: &VmId) -> Result<Vm> {
    let id = MoRef::new(MACHINE, &vm.0);
    let properties = client.properties(&id, &PATHS).await?;
    let names = Names::read(client).await?;
    Ok(record(&client.endpoint().context, &names, &Object { id, properties }))
}
