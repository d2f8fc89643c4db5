//! Moving machines to other hosts (RelocateVM_Task, vSphere API reference). Disks stay where they
//! are; the server is asked first whether the host can take the machine, where it tells.

use async_trait::async_trait;

use super::Vsphere;
use super::client::Client;
use super::fault::Fault;
use super::inventory::MACHINE;
use super::names::Names;
use super::place;
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::provider::facets::migrate::{Destination, How, Migrate, Moved};
use crate::vm::VmId;

const HOST: &str = "runtime.host";

#[async_trait]
impl Migrate for Vsphere {
    async fn migrate(&self, vm: &VmId, to: &Destination, cancel: &Cancel) -> Result<Moved> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        if to.allow_cold {
            return Err(Error::unsupported("vSphere machines move as they are, running or off")
                .with_hint("leave --allow-cold away"));
        }
        let Some(node) = &to.node else {
            return Err(Error::usage("vSphere wants to be told where a machine is to go")
                .with_hint("name the host with --to-node"));
        };
        let names = Names::read(client).await?;
        let host = place::host(&names, node)?;
        let moved = |how: How| Moved { node: node.clone(), how };
        let now = client.properties(&vm, &[HOST, "resourcePool"]).await?;
        if now.reference(HOST).as_ref() == Some(&host) {
            return Ok(moved(How::Already));
        }
        let pool = place::pool_of(client, &host, now.reference("resourcePool").as_ref()).await?;
        check(client, &vm, &host, pool.as_ref(), cancel).await?;
        // The order is that of VirtualMachineRelocateSpec.
        let mut body = Body::new().open("spec", None);
        if let Some(pool) = &pool {
            body = body.reference("pool", pool);
        }
        let body = body.reference("host", &host).close("spec");
        let task = client.call("RelocateVM_Task", &vm, body).await?.reference()?;
        client.wait_task(&task, cancel).await?;
        let now = client.properties(&vm, &[HOST]).await?;
        if now.reference(HOST).as_ref() != Some(&host) {
            return Err(Error::conflict(
                "the server says that it moved the machine, which is not \
                                        on that host",
            )
            .with_subject(node.clone()));
        }
        Ok(moved(How::Moved))
    }
}

/// Asks the server whether the machine could move. One that does not check says so when it moves
/// it.
async fn check(
    client: &Client,
    vm: &MoRef,
    host: &MoRef,
    pool: Option<&MoRef>,
    cancel: &Cancel,
) -> Result<()> {
    let Ok(checker) = client.content().await?.manager("vmProvisioningChecker") else {
        return Ok(());
    };
    let mut body = Body::new().reference("vm", vm).reference("host", host);
    if let Some(pool) = pool {
        body = body.reference("pool", pool);
    }
    let asked = client.call("CheckMigrate_Task", &checker, body).await;
    let task = match asked {
        Ok(reply) => reply.reference()?,
        Err(error) if super::fault_of(&error).is_some_and(is_missing) => return Ok(()),
        Err(error) => return Err(error),
    };
    let result = client.wait_task(&task, cancel).await?;
    refusal(&result).map_or(Ok(()), Err)
}

/// What the server found in the way: the errors of a `CheckResult`, or of an array of them.
fn refusal(result: &Value) -> Option<Error> {
    let results = result.children.iter().chain([result]);
    let mut faults = results.flat_map(|it| it.all("error")).map(Fault::of_method);
    let error = Error::conflict("the host cannot take the machine").with_source(faults.next()?);
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
