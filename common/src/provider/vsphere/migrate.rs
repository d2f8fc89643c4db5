//! Moving machines to other hosts (RelocateVM_Task, vSphere API reference). Disks stay where they
//! are unless a datastore is named; the server is asked first whether the host can take the machine, where it tells.

use async_trait::async_trait;

use super::Vsphere;
use super::client::Client;
use super::fault::Fault;
use super::inventory::MACHINE;
use super::names::Names;
use super::place::{self, Kind};
use super::property::Properties;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::migrate::{Destination, How, Migrate, Moved};
use crate::vm::VmId;

const HOST: &str = "runtime.host";
const STORES: &str = "datastore";
const PATHS: [&str; 3] = [HOST, STORES, "resourcePool"];

#[async_trait]
impl Migrate for Vsphere {
    async fn migrate(&self, vm: &VmId, to: &Destination, cancel: &Cancel) -> Result<Moved> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        if to.allow_cold {
            return Err(Error::unsupported("vSphere machines move as they are, running or off")
                .with_hint("leave --allow-cold away"));
        }
        let names = Names::read(client).await?;
        let wanted = Wanted::find(client, &names, to).await?;
        let now = client.properties(&vm, &PATHS).await?;
        let moved = |now: &Properties, how: How| {
            let host = now.reference(HOST);
            let node = host.and_then(|host| names.name(&host.value).map(str::to_owned));
            Moved { node: node.unwrap_or_default(), datastore: to.datastore.clone(), how }
        };
        if wanted.is_met(&now) {
            return Ok(moved(&now, How::Already));
        }
        let pool = match &wanted.host {
            Some(host) => {
                place::pool_of(client, host, now.reference("resourcePool").as_ref()).await?
            }
            None => None,
        };
        wanted.check(client, &vm, pool.as_ref(), cancel).await?;
        let body = wanted.spec(pool.as_ref());
        let task = client.call("RelocateVM_Task", &vm, body).await?.reference()?;
        client.wait_task(&task, cancel).await?;
        let now = client.properties(&vm, &PATHS).await?;
        if !wanted.is_met(&now) {
            let place = to.datastore.clone().or(to.node.clone()).unwrap_or_default();
            return Err(Error::conflict(
                "the server says that it moved the machine, which is not there",
            )
            .with_subject(place));
        }
        Ok(moved(&now, How::Moved))
    }
}

/// Where a machine is to go.
struct Wanted {
    host: Option<MoRef>,
    datastore: Option<MoRef>,
}

impl Wanted {
    async fn find(client: &Client, names: &Names, to: &Destination) -> Result<Self> {
        if to.node.is_none() && to.datastore.is_none() {
            return Err(Error::usage("vSphere wants to be told where a machine is to go")
                .with_hint("name the host with --to-node, or a datastore with --to-datastore"));
        }
        let host = to.node.as_ref().map(|node| place::host(names, node)).transpose()?;
        let datastore = match &to.datastore {
            Some(name) => Some(place::find(client, names, Kind::Datastore, name).await?),
            None => None,
        };
        Ok(Self { host, datastore })
    }

    /// Whether a machine is there, with all of its files.
    fn is_met(&self, now: &Properties) -> bool {
        let stores = now.get(STORES).map(|it| it.children.iter());
        let stores: Vec<_> = stores.into_iter().flatten().filter_map(Value::reference).collect();
        self.host.as_ref().is_none_or(|host| now.reference(HOST).as_ref() == Some(host))
            && self.datastore.as_ref().is_none_or(|it| stores == [it.clone()])
    }

    /// What is asked for. The order is that of VirtualMachineRelocateSpec.
    fn spec(&self, pool: Option<&MoRef>) -> Body {
        let parts =
            [("datastore", self.datastore.as_ref()), ("pool", pool), ("host", self.host.as_ref())];
        let body = Body::new().open("spec", None);
        let add = |body: Body, (name, part): (&str, Option<&MoRef>)| match part {
            Some(part) => body.reference(name, part),
            None => body,
        };
        parts.into_iter().fold(body, add).close("spec")
    }

    /// Asks the server whether the machine could move. One that does not check says so when it
    /// moves it.
    async fn check(
        &self,
        client: &Client,
        vm: &MoRef,
        pool: Option<&MoRef>,
        cancel: &Cancel,
    ) -> Result<()> {
        let Ok(checker) = client.content().await?.manager("vmProvisioningChecker") else {
            return Ok(());
        };
        let mut body = Body::new().reference("vm", vm);
        let method = match (&self.datastore, &self.host) {
            (None, Some(host)) => {
                body = body.reference("host", host);
                if let Some(pool) = pool {
                    body = body.reference("pool", pool);
                }
                "CheckMigrate_Task"
            }
            _ => {
                body = body.append(self.spec(pool));
                "CheckRelocate_Task"
            }
        };
        let asked = client.call(method, &checker, body).await;
        let task = match asked {
            Ok(reply) => reply.reference()?,
            Err(error) if super::fault_of(&error).is_some_and(is_missing) => return Ok(()),
            Err(error) => return Err(error),
        };
        let result = client.wait_task(&task, cancel).await?;
        refusal(&result).map_or(Ok(()), Err)
    }
}

/// What the server found in the way: the errors of a `CheckResult`, or of an array of them.
fn refusal(result: &Value) -> Option<Error> {
    let results = result.children.iter().chain([result]);
    let mut faults = results.flat_map(|it| it.all("error")).map(Fault::of_method);
    let error = Error::conflict("the machine cannot go there").with_source(faults.next()?);
    Some(faults.fold(error, |error, fault| error.with_hint(fault.to_string())))
}

fn is_missing(fault: &Fault) -> bool {
    matches!(
        fault.kind.as_str(),
        "MethodNotFound" | "NotImplemented" | "NotSupported" | "ManagedObjectNotFound"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_told() {
        let result = |inner: &str| {
            let text = format!(
                r#"<val xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{inner}</val>"#
            );
            let text = format!(
                "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{text}\
                 </s:Body></s:Envelope>"
            );
            super::super::parse(text.as_bytes()).unwrap()
        };
        let fault = |words: &str| {
            format!(
                "<error><fault xsi:type=\"CannotAccessVmDisk\"/>\
                 <localizedMessage>{words}</localizedMessage></error>"
            )
        };
        let (one, two) = (fault("no datastore"), fault("no network"));
        let error = refusal(&result(&format!("<CheckResult>{one}{two}</CheckResult>"))).unwrap();
        assert_eq!(error.kind().exit_status(), 6);
        assert!(crate::error::one_line(&error).contains("no datastore"));
        assert!(error.hints()[0].contains("no network"));
        assert!(
            refusal(&result("<CheckResult><vm type=\"VirtualMachine\">v</vm></CheckResult>"))
                .is_none()
        );
    }
}
