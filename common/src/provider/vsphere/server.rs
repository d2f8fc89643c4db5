//! The server itself (AboutInfo), and what it does on its own time (TaskManager, vSphere API
//! reference).

use super::client::Client;
use super::fault::Fault;
use super::inventory::MACHINE;
use super::names::Names;
use super::objects::all_of;
use super::property::{Object, property_spec};
use super::soap::{Body, Value};
use super::stream::page_options;
use crate::error::Result;
use crate::provider::facets::infrastructure::{Server, Task};

/// What the server is and how much it manages.
pub(super) async fn about(client: &Client) -> Result<Server> {
    let content = client.content().await?;
    let names = Names::read(client).await?;
    let machines = all_of(client, &[(MACHINE, &["parent"][..])], |_| ()).await?;
    let about = |name: &str| content.all.str(&format!("about.{name}")).map(str::to_owned);
    let count = |kinds: &[&str]| names.count(kinds, None);
    Ok(Server {
        name: content.name.clone(),
        full_name: about("fullName"),
        version: about("version"),
        build: about("build"),
        vendor: about("vendor"),
        os_type: about("osType"),
        api_type: about("apiType"),
        api_version: about("apiVersion"),
        instance_id: about("instanceUuid"),
        endpoint: client.endpoint().url.to_string(),
        num_datacenters: count(&["Datacenter"]),
        num_clusters: count(&["ClusterComputeResource"]),
        num_hosts: count(&["HostSystem"]),
        num_vms: u32::try_from(machines.len()).unwrap_or(u32::MAX),
        num_datastores: count(&["Datastore"]),
        num_networks: count(&["Network", "DistributedVirtualPortgroup", "OpaqueNetwork"]),
    })
}

/// What the server does now and did lately. One call reads both which tasks there are and what
/// they say, so that none can go in between.
pub(super) async fn recent_tasks(client: &Client) -> Result<Vec<Task>> {
    let content = client.content().await?;
    let manager = content.manager("taskManager")?;
    let body = property_spec(Body::new().open("specSet", None), "Task", &["info"])
        .open("objectSet", None)
        .reference("obj", &manager)
        .text("skip", true)
        .open("selectSet", Some("TraversalSpec"))
        .text("type", "TaskManager")
        .text("path", "recentTask")
        .text("skip", false)
        .close("selectSet")
        .close("objectSet")
        .close("specSet");
    let found = client.read_all(&content.property_collector, page_options(body)).await?;
    let mut tasks: Vec<Task> = found.iter().map(task).collect();
    tasks.sort_by(|a, b| (a.queue_time, &a.task_id).cmp(&(b.queue_time, &b.task_id)));
    Ok(tasks)
}

fn task(object: &Object) -> Task {
    let none = Value::default();
    let info = object.properties.get("info").unwrap_or(&none);
    let text = |path: &str| info.str(path).map(str::to_owned);
    let time = |name: &str| info.str(name).and_then(|time| time.parse().ok());
    let entity = info.child("entity").and_then(Value::reference);
    let (entity_type, entity_id) = entity.map(|it| (it.kind, it.value)).unzip();
    let (reason, user) = info.child("reason").map(reason).unwrap_or_default();
    Task {
        task_id: object.id.value.clone(),
        name: text("name").or_else(|| text("descriptionId")).unwrap_or_default(),
        description: text("description.message").or_else(|| text("descriptionId")),
        state: text("state").unwrap_or_default(),
        progress: info.number::<u8>("progress").filter(|it| *it <= 100),
        entity_name: text("entityName"),
        entity_type,
        entity_id,
        reason,
        user,
        queue_time: time("queueTime"),
        start_time: time("startTime"),
        complete_time: time("completeTime"),
        error: info.child("error").map(|it| Fault::of_method(it).to_string()),
    }
}

/// A TaskReason: its word, and who or what it was.
fn reason(reason: &Value) -> (Option<&'static str>, Option<String>) {
    let text = |name: &str| reason.str(name).map(str::to_owned);
    match reason.kind.as_deref() {
        Some("TaskReasonUser") => (Some("user"), text("userName")),
        Some("TaskReasonSchedule") => (Some("schedule"), text("name")),
        Some("TaskReasonAlarm") => (Some("alarm"), text("alarmName")),
        Some("TaskReasonSystem") => (Some("system"), None),
        _ => (None, None),
    }
}
