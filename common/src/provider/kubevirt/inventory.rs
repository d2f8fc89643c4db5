//! Listing machines. Machines and their running instances come as two lists, each sorted by
//! namespace and name and in pages, and are put together on the way: memory is that of two pages,
//! however many machines there are.

use std::collections::HashMap;
use std::sync::Arc;

use async_stream::try_stream;
use futures::stream::{BoxStream, Peekable};
use futures::{StreamExt, TryStreamExt};

use super::client::{Place, escape};
use super::discovery::{KUBEVIRT, Resource};
use super::record::{Known, parts};
use super::wire::{Instance, Instancetype, InstancetypeSpec, Matcher, VirtualMachine};
use super::{Kubevirt, NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::provider::ServerInfo;
use crate::vm::{Vm, VmFilter, VmId};

/// `kubevirt.io`, `VirtualMachine`.
pub const MACHINES: &str = "virtualmachines";
/// `kubevirt.io`, `VirtualMachineInstance`.
pub const INSTANCES: &str = "virtualmachineinstances";

pub async fn probe(kubevirt: &Kubevirt) -> Result<ServerInfo> {
    let client = kubevirt.client();
    let version: serde_json::Value = client.call(http::Method::GET, "/version", None).await?;
    let kubernetes = version.get("gitVersion").and_then(serde_json::Value::as_str);
    let resource = client.resource(KUBEVIRT, MACHINES).await?;
    let place = Place { resource, namespace: Some(&kubevirt.namespace) };
    // Whether these credentials may look is the question; one object answers it.
    let path = format!("{}?limit=1", place.path(None));
    client.call::<serde_json::Value>(http::Method::GET, &path, None).await?;
    Ok(ServerInfo {
        product: match kubernetes {
            Some(kubernetes) => format!("KubeVirt on Kubernetes {kubernetes}"),
            None => "KubeVirt".to_owned(),
        },
        version: kubevirt_version(kubevirt).await,
        endpoint: client.url().await?.to_owned(),
    })
}

/// The release, where the `KubeVirt` object tells it and may be read.
async fn kubevirt_version(kubevirt: &Kubevirt) -> Option<String> {
    let resource = kubevirt.client().resource(KUBEVIRT, "kubevirts").await.ok()?;
    let place = Place { resource, namespace: None };
    let page = kubevirt.client().page::<serde_json::Value>(place, "", "").await.ok()?;
    let version = page.items.first()?.pointer("/status/observedKubeVirtVersion")?.as_str()?;
    Some(version.to_owned())
}

/// The machines that pass a filter, sorted by namespace and name.
pub fn list(kubevirt: &Kubevirt, filter: VmFilter) -> BoxStream<'_, Result<Vm>> {
    try_stream! {
        let client = kubevirt.client();
        let machines = client.resource(KUBEVIRT, MACHINES).await?;
        let instances = client.resource(KUBEVIRT, INSTANCES).await?;
        let namespace = namespace(kubevirt, &filter);
        let namespace = namespace.as_deref();
        if let Some(name) = namespace.filter(|it| it.contains('/')) {
            Err(Error::usage("a list is of a namespace, and this names a machine")
                .with_subject(name)
                .with_hint("`hyper vm get` shows one machine"))?;
        }
        let query = selector(&filter);
        let mut instances = client.list::<Instance>(instances, namespace, one_name(&filter).unwrap_or_default()).peekable();
        let mut kinds = Kinds::new(kubevirt);
        let mut machines = client.list::<VirtualMachine>(machines, namespace, query);
        let mut empty = true;
        while let Some(vm) = machines.try_next().await? {
            empty = false;
            let instance = instance_of(&vm, &mut instances).await?;
            let kind = match &instance {
                Some(_) => None,
                None => kinds.of(&vm).await?,
            };
            let known =
                Known { vm: &vm, instance: instance.as_ref(), instancetype: kind.as_deref() };
            let record = known.record(&kubevirt.context);
            if filter.accepts(&record) {
                yield record;
            }
        }
        // To a server one that is not there is as good as an empty one.
        if let Some(namespace) = namespace.filter(|_| empty) {
            kubevirt.check_namespace(namespace).await?;
        }
    }
    .boxed()
}

/// What the server itself selects by: labels, and the name where one machine is meant.
pub fn selector(filter: &VmFilter) -> String {
    let labels = filter.selector.as_ref().map(|it| format!("labelSelector={}", escape(it)));
    labels.into_iter().chain(one_name(filter)).collect::<Vec<_>>().join("&")
}

/// The name that a list is confined to.
pub fn one_name(filter: &VmFilter) -> Option<String> {
    let [id] = filter.ids.as_slice() else { return None };
    Some(format!("fieldSelector={}", escape(&format!("metadata.name={}", parts(id).1))))
}

/// The namespace that a list is confined to: the one that is named, that of the machines that are
/// named, or the context's; `None` for all.
pub fn namespace(kubevirt: &Kubevirt, filter: &VmFilter) -> Option<String> {
    if let Some(within) = &filter.within {
        return Some(within.clone());
    }
    let mut named = filter.ids.iter().map(|id| parts(id).0);
    match named.next() {
        Some(first) => named.all(|other| other == first).then(|| first.to_owned()),
        None => kubevirt.listed().map(str::to_owned),
    }
}

type Instances = Peekable<BoxStream<'static, Result<Instance>>>;

/// The instance of a machine; those of machines before it are passed over.
async fn instance_of(vm: &VirtualMachine, instances: &mut Instances) -> Result<Option<Instance>> {
    loop {
        let mut pinned = std::pin::Pin::new(&mut *instances);
        match pinned.as_mut().peek().await {
            Some(Ok(instance)) if instance.metadata.key() > vm.metadata.key() => return Ok(None),
            None => return Ok(None),
            Some(_) => {}
        }
        match instances.try_next().await? {
            Some(instance) if instance.metadata.key() == vm.metadata.key() => {
                return Ok(Some(instance));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// One machine in full.
pub async fn get(kubevirt: &Kubevirt, id: &VmId) -> Result<Vm> {
    let (vm, instance) = both(kubevirt, id).await?;
    let kind = match &instance {
        Some(_) => None,
        None => Kinds::new(kubevirt).of(&vm).await?,
    };
    let known = Known { vm: &vm, instance: instance.as_ref(), instancetype: kind.as_deref() };
    Ok(known.record(&kubevirt.context))
}

/// A machine and its running instance.
pub async fn both(kubevirt: &Kubevirt, id: &VmId) -> Result<(VirtualMachine, Option<Instance>)> {
    let (namespace, name) = parts(id);
    let client = kubevirt.client();
    let resource = client.resource(KUBEVIRT, MACHINES).await?;
    let vm = client.get(Place { resource, namespace: Some(namespace) }, name).await;
    let vm = vm.map_err(|error| missing(error, namespace, name))?;
    Ok((vm, instance(kubevirt, namespace, name).await?))
}

/// The instance of a name, where there is one.
pub async fn instance(
    kubevirt: &Kubevirt,
    namespace: &str,
    name: &str,
) -> Result<Option<Instance>> {
    let resource = kubevirt.client().resource(KUBEVIRT, INSTANCES).await?;
    optional(kubevirt.client().get(Place { resource, namespace: Some(namespace) }, name).await)
}

/// `None` for what is not there.
pub fn optional<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The error of a machine that is not there, in a person's words.
pub fn missing(error: Error, namespace: &str, name: &str) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::not_found(format!("there is no VM {name:?} in the namespace {namespace:?}"))
        .with_hint("another namespace: -n NAMESPACE, or NAMESPACE/NAME")
}

/// Instancetypes, each asked for once.
pub struct Kinds<'k> {
    kubevirt: &'k Kubevirt,
    known: HashMap<(String, String), Option<Arc<InstancetypeSpec>>>,
}

impl<'k> Kinds<'k> {
    /// None is known yet.
    pub fn new(kubevirt: &'k Kubevirt) -> Self {
        Self { kubevirt, known: HashMap::new() }
    }

    /// The instancetype of a machine. One that is not there any more, or may not be read, is as
    /// unknown as none.
    ///
    /// # Errors
    /// Those of a server that fails.
    pub async fn of(&mut self, vm: &VirtualMachine) -> Result<Option<Arc<InstancetypeSpec>>> {
        let Some(matcher) = &vm.spec.instancetype else { return Ok(None) };
        let (plural, namespace) = place(matcher, &vm.metadata.namespace);
        let key = (namespace.unwrap_or_default().to_owned(), matcher.name.clone());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let found = self.ask(plural, namespace, &matcher.name).await?.map(Arc::new);
        self.known.insert(key, found.clone());
        Ok(found)
    }

    async fn ask(
        &self,
        plural: &'static str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<InstancetypeSpec>> {
        let client = self.kubevirt.client();
        let resource: Resource = match client.resource("instancetype.kubevirt.io", plural).await {
            Ok(resource) => resource,
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        };
        match client.get::<Instancetype>(Place { resource, namespace }, name).await {
            Ok(kind) => Ok(Some(kind.spec)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Auth) => {
                tracing::info!("{NAME}: instancetype {name}: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Where an instancetype is: in the cluster unless its kind says that it is the namespace's.
fn place<'n>(matcher: &Matcher, namespace: &'n str) -> (&'static str, Option<&'n str>) {
    match matcher.kind.to_ascii_lowercase().as_str() {
        "virtualmachineinstancetype" | "virtualmachineinstancetypes" => {
            ("virtualmachineinstancetypes", Some(namespace))
        }
        _ => ("virtualmachineclusterinstancetypes", None),
    }
}
