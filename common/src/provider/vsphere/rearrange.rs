//! Putting machines into other pools and folders (RelocateVM_Task, Folder.MoveIntoFolder_Task), and
//! connecting their cards to other networks (ReconfigVM_Task, vSphere API reference).

use async_trait::async_trait;

use super::Vsphere;
use super::inventory::MACHINE;
use super::names::Names;
use super::network::{self, Backing};
use super::place::{self, Kind};
use super::soap::{Body, MoRef, Value};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::facets::cloning::Place;
use crate::provider::facets::power::Switched;
use crate::provider::facets::rearrange::{Link, Rearrange};
use crate::vm::VmId;

const DEVICES: &str = "config.hardware.device";
const HOST: &str = "runtime.host";

#[async_trait]
impl Rearrange for Vsphere {
    async fn put(&self, vm: &VmId, place: &Place, cancel: &Cancel) -> Result<Switched> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        let names = Names::read(client).await?;
        let mut pool = match &place.pool {
            Some(pool) => Some(place::pool(client, &names, pool).await?),
            None => None,
        };
        let mut folder = match &place.folder {
            Some(folder) => Some(place::find(client, &names, Kind::Folder, folder).await?),
            None => None,
        };
        let now = client.properties(&vm, &["name", "parent", "resourcePool"]).await?;
        pool = pool.filter(|pool| now.reference("resourcePool").as_ref() != Some(pool));
        folder = folder.filter(|folder| now.reference("parent").as_ref() != Some(folder));
        if let Some(folder) = &folder
            && place::child(client, folder, now.str("name").unwrap_or_default()).await?.is_some()
        {
            return Err(Error::conflict("the name is taken in the folder")
                .with_subject(place.folder.clone().unwrap_or_default()));
        }
        if pool.is_none() && folder.is_none() {
            return Ok(Switched::Already);
        }
        if let Some(pool) = &pool {
            let body = Body::new().open("spec", None).reference("pool", pool).close("spec");
            let task = client.call("RelocateVM_Task", &vm, body).await?.reference()?;
            client.wait_task(&task, cancel).await?;
        }
        if let Some(folder) = &folder {
            let body = Body::new().reference("list", &vm);
            let task = client.call("MoveIntoFolder_Task", folder, body).await?.reference()?;
            client.wait_task(&task, cancel).await?;
        }
        Ok(Switched::Done)
    }

    async fn connect(&self, vm: &VmId, links: &[Link], cancel: &Cancel) -> Result<Switched> {
        let (client, vm) = (self.client(), MoRef::new(MACHINE, &vm.0));
        let now = client.properties(&vm, &[DEVICES, HOST]).await?;
        let devices = now.get(DEVICES).map_or(&[][..], |it| &it.children);
        let host = now.reference(HOST).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server does not say where the machine is")
        })?;
        let names = Names::read(client).await?;
        let offered = network::offered(client, &host).await?;
        let mut body = Body::new().open("spec", None);
        let mut changes = false;
        for link in links {
            let card = network::card(devices, &link.card)?;
            let backing = network::find(client, &names, &offered, &link.network).await?;
            if !backing.is_of(card) {
                body = edit(body, card, &backing);
                changes = true;
            }
        }
        if !changes {
            return Ok(Switched::Already);
        }
        let task = client.call("ReconfigVM_Task", &vm, body.close("spec")).await?.reference()?;
        client.wait_task(&task, cancel).await?;
        Ok(Switched::Done)
    }
}

/// Adds a card as it is, but for its network. The order is that of VirtualEthernetCard.
fn edit(body: Body, card: &Value, backing: &Backing) -> Body {
    let copy = |body: Body, from: &Value, names: &[&str]| {
        names.iter().fold(body, |body, name| match from.str(name) {
            Some(text) => body.text(name, text),
            None => body,
        })
    };
    let kind = card.kind.as_deref().unwrap_or("VirtualEthernetCard");
    let body = body.open("deviceChange", None).text("operation", "edit");
    let mut body = copy(body.open("device", Some(kind)), card, &["key"]);
    if let Some(info) = card.child("deviceInfo") {
        body = body.open("deviceInfo", Some("Description"));
        body = copy(body, info, &["label", "summary"]).close("deviceInfo");
    }
    let mut body = backing.write(body);
    if let Some(connectable) = card.child("connectable") {
        body = body.open("connectable", None);
        body = copy(body, connectable, &["startConnected", "allowGuestControl", "connected"]);
        body = body.close("connectable");
    }
    let rest = ["controllerKey", "unitNumber", "addressType", "macAddress", "wakeOnLanEnabled"];
    copy(body, card, &rest).close("device").close("deviceChange")
}
