//! Machines from items of content libraries: OVF packages (`com.vmware.vcenter.ovf.library_item`)
//! and VM templates (`com.vmware.vcenter.vm_template.library_items`, vSphere Automation API).

use async_trait::async_trait;
use serde_json::{Value, json};

use super::client::Client;
use super::cloning::{known, marked};
use super::inventory::MACHINE;
use super::library::{Session, failure};
use super::names::Names;
use super::soap::{Body, MoRef};
use super::{create, place, resize};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::provider::facets::cloning::{CloneJob, Ledgers, Planned, Step, mark};
use crate::provider::facets::templates::{Deployment, Template};
use crate::vm::VmId;

/// What an item holds, as far as machines can be made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ovf,
    Template,
}

/// Where a machine is put.
#[derive(Debug)]
struct Spot {
    folder: MoRef,
    pool: MoRef,
    host: Option<MoRef>,
    datastore: Option<MoRef>,
}

/// Looks at a machine that is wanted of an item.
///
/// # Errors
/// As [`crate::provider::facets::templates::Templates::plan_deployment`].
pub(super) async fn plan(
    client: &Client,
    template: &Template,
    wanted: &Deployment,
) -> Result<Planned> {
    create::checked_name(&wanted.name)?;
    resize::possible(wanted.size)?;
    let spot = Spot::find(client, wanted).await?;
    let item = template.id.0.clone();
    let mark = mark(&item, &wanted.name);
    if let Some(there) = place::child(client, &spot.folder, &wanted.name).await? {
        return known(client, there, &mark).await.map(Planned::There);
    }
    let session = session(client).await?;
    let looked = look(&session, &item, &spot).await;
    session.close().await;
    let (kind, remarks) = looked?;
    let name = wanted.name.clone();
    Ok(Planned::Ready(Box::new(Job {
        client: client.clone(),
        item,
        kind,
        name,
        spot,
        mark,
        remarks,
    })))
}

async fn session(client: &Client) -> Result<Session<'_>> {
    let missing = || Error::unsupported("this server has no content libraries");
    Session::open(client).await?.ok_or_else(missing)
}

/// What the item is, and what is to be said before it is deployed.
async fn look(session: &Session<'_>, item: &str, spot: &Spot) -> Result<(Kind, Vec<String>)> {
    let kind = session.kind(item).await?;
    match kind.as_str() {
        "vm-template" => Ok((Kind::Template, Vec::new())),
        "ovf" => {
            let body = json!({ "target": spot.target() });
            let told = session.post(&ovf(item, "filter"), &body).await?;
            Ok((Kind::Ovf, agreements(&told)))
        }
        other => Err(Error::unsupported(format!("an item of the type {other} is no machine"))
            .with_hint("OVF packages and VM templates of libraries can be deployed")),
    }
}

fn ovf(item: &str, action: &str) -> String {
    format!("com/vmware/vcenter/ovf/library-item/id:{item}?~action={action}")
}

/// The license agreements of a package, which deploying it accepts.
fn agreements(told: &Value) -> Vec<String> {
    match told["EULAs"].as_array().map_or(0, Vec::len) {
        0 => Vec::new(),
        count => vec![format!("its license agreements ({count}) are accepted with it")],
    }
}

impl Spot {
    async fn find(client: &Client, wanted: &Deployment) -> Result<Self> {
        let names = Names::read(client).await?;
        let place = &wanted.place;
        let (pool, owner) = create::pool(client, &names, place).await?;
        let folder = create::folder(client, &names, place, &owner).await?;
        let host = match &place.host {
            Some(name) => Some(place::host(&names, name)?),
            None => None,
        };
        let datastore = match &place.datastore {
            Some(name) => {
                let offered = create::datastores(client, &owner).await?;
                Some(create::named_datastore(client, &names, &offered, name).await?)
            }
            None => None,
        };
        Ok(Self { folder, pool, host, datastore })
    }

    /// As packages have it.
    fn target(&self) -> Value {
        let mut target =
            json!({ "resource_pool_id": self.pool.value, "folder_id": self.folder.value });
        if let Some(host) = &self.host {
            target["host_id"] = host.value.clone().into();
        }
        target
    }

    /// As VM templates have it.
    fn placement(&self) -> Value {
        let mut place = json!({ "resource_pool": self.pool.value, "folder": self.folder.value });
        if let Some(host) = &self.host {
            place["host"] = host.value.clone().into();
        }
        place
    }
}

#[derive(Debug)]
struct Job {
    client: Client,
    item: String,
    kind: Kind,
    name: String,
    spot: Spot,
    mark: String,
    remarks: Vec<String>,
}

#[async_trait]
impl CloneJob for Job {
    fn remarks(&self) -> Vec<String> {
        self.remarks.clone()
    }

    async fn make(
        &self,
        tell: &(dyn Fn(Step) + Send + Sync),
        _: Ledgers<'_>,
        cancel: &Cancel,
    ) -> Result<VmId> {
        cancel.check()?;
        let session = session(&self.client).await?;
        tell(Step::Phase("deploying".to_owned()));
        let left = cancel.leftover(format!("the machine {}, which the server makes", self.name));
        let made = cancel.unless_cancelled(self.deploy(&session)).await;
        session.close().await;
        if made.is_err() && cancel.is_cancelled() {
            return made.map_err(|error| error.with_hint("the server goes on making it"));
        }
        drop(left);
        let id = made?;
        if let Err(error) = self.note(&id, cancel).await {
            let why = one_line(&error);
            tell(Step::Phase(format!("it cannot be noted in it what it was made of: {why}")));
        }
        Ok(id)
    }
}

impl Job {
    async fn deploy(&self, session: &Session<'_>) -> Result<VmId> {
        let id = match self.kind {
            Kind::Ovf => made(&session.post(&ovf(&self.item, "deploy"), &self.package()).await?)?,
            Kind::Template => {
                let path = format!("vcenter/vm-template/library-items/{}?action=deploy", self.item);
                let answer = session.post(&path, &self.template()).await?;
                answer.as_str().map(str::to_owned)
            }
        };
        id.map(VmId).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server made a machine and does not say which")
        })
    }

    fn package(&self) -> Value {
        let mut spec = json!({ "name": self.name, "accept_all_EULA": true });
        if let Some(datastore) = &self.spot.datastore {
            spec["default_datastore_id"] = datastore.value.clone().into();
        }
        json!({ "target": self.spot.target(), "deployment_spec": spec })
    }

    fn template(&self) -> Value {
        let mut spec =
            json!({ "name": self.name, "placement": self.spot.placement(), "powered_on": false });
        if let Some(datastore) = &self.spot.datastore {
            let storage = json!({ "datastore": datastore.value });
            spec["disk_storage"] = storage.clone();
            spec["vm_home_storage"] = storage;
        }
        json!({ "spec": spec })
    }

    async fn note(&self, id: &VmId, cancel: &Cancel) -> Result<()> {
        let body = marked(Body::new().open("spec", None), "extraConfig", &self.mark).close("spec");
        let machine = MoRef::new(MACHINE, &id.0);
        let task = self.client.call("ReconfigVM_Task", &machine, body).await?.reference()?;
        self.client.wait_task(&task, cancel).await.map(drop)
    }
}

/// The machine that a package became, or why it did not.
fn made(answer: &Value) -> Result<Option<String>> {
    let id = &answer["resource_id"];
    if answer["succeeded"] == true {
        return match id["type"].as_str() {
            Some(MACHINE) | None => Ok(id["id"].as_str().map(str::to_owned)),
            Some(other) => Err(Error::unsupported(format!("the package became a {other}"))
                .with_hint("it is there, and holds machines")),
        };
    }
    let doing = "the server did not deploy the package";
    let all = answer["error"]["errors"].as_array().map_or(&[][..], Vec::as_slice);
    Err(match all.first() {
        None => Error::new(ErrorKind::Protocol, doing),
        Some(one) => match one["message"]["default_message"].as_str() {
            Some(words) => Error::new(ErrorKind::Protocol, doing).with_source(words.to_owned()),
            None => {
                failure(one["error"]["@class"].as_str().unwrap_or("error"), &one["error"], doing)
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_failed_says_why() {
        let error = made(&json!({"succeeded": false, "error": {"errors": [{
            "category": "SERVER",
            "error": {"@class": "com.vmware.vapi.std.errors.already_exists",
                      "messages": [{"default_message": "the name exists"}]}}]}}))
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(one_line(&error).contains("the name exists"), "{error}");
        let error = made(&json!({"error": {"errors": [{
            "category": "INPUT", "message": {"default_message": "no such network"}}]}}))
        .unwrap_err();
        assert!(one_line(&error).contains("no such network"), "{error}");
        let id =
            json!({"succeeded": true, "resource_id": {"type": "VirtualMachine", "id": "vm-7"}});
        assert_eq!(made(&id).unwrap().as_deref(), Some("vm-7"));
        let app = json!({"succeeded": true, "resource_id": {"type": "VirtualApp", "id": "v-1"}});
        assert_eq!(made(&app).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn license_agreements_are_said() {
        assert!(agreements(&json!({"name": "a"})).is_empty());
        assert_eq!(agreements(&json!({"EULAs": ["x", "y"]})).len(), 1);
    }
}
