//! Which alarms are triggered: the root of the inventory tells of all below it.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::client::Client;
use super::property::Properties;
use super::soap::{MoRef, Value};
use super::{NAME, Vsphere};
use crate::error::Result;
use crate::provider::facets::alarms::{Alarm, Alarms};

#[async_trait]
impl Alarms for Vsphere {
    async fn triggered(&self) -> Result<Vec<Alarm>> {
        let client = self.client();
        let root = client.content().await?.root_folder.clone();
        let found = client.properties(&root, &["triggeredAlarmState"]).await?;
        let states = found.get("triggeredAlarmState").map(|it| it.children.as_slice());
        let states: Vec<State<'_>> =
            states.unwrap_or_default().iter().filter_map(State::read).collect();
        let names = asked(client, states.iter().map(|it| &it.entity), "name").await?;
        let infos = asked(client, states.iter().map(|it| &it.alarm), "info").await?;
        let context = &client.endpoint().context;
        Ok(states.iter().filter_map(|state| state.record(context, &names, &infos)).collect())
    }
}

/// An `AlarmState`.
struct State<'v> {
    value: &'v Value,
    entity: MoRef,
    alarm: MoRef,
}

impl<'v> State<'v> {
    fn read(value: &'v Value) -> Option<Self> {
        let reference = |name: &str| value.child(name).and_then(Value::reference);
        Some(Self { value, entity: reference("entity")?, alarm: reference("alarm")? })
    }

    fn record(
        &self,
        context: &str,
        names: &BTreeMap<MoRef, Properties>,
        infos: &BTreeMap<MoRef, Properties>,
    ) -> Option<Alarm> {
        let text = |path: &str| self.value.str(path).map(str::to_owned);
        let time = |path: &str| self.value.str(path).and_then(|it| it.parse().ok());
        let info = infos.get(&self.alarm).and_then(|it| it.get("info"));
        let about = |path: &str| info.and_then(|it| it.str(path)).map(str::to_owned);
        Some(Alarm {
            context: context.to_owned(),
            provider: NAME.to_owned(),
            alarm_id: text("key")?,
            alarm_name: about("name"),
            description: about("description"),
            status: text("overallStatus")?,
            time: time("time")?,
            acknowledged: self.value.flag("acknowledged").unwrap_or(false),
            acknowledged_by: text("acknowledgedByUser"),
            acknowledged_time: time("acknowledgedTime"),
            entity_name: names.get(&self.entity)?.str("name").map(str::to_owned),
            entity_type: self.entity.kind.clone(),
            entity_id: self.entity.value.clone(),
            event_id: text("eventKey"),
        })
    }
}

/// A property of objects of several types, by object. Those that are gone by now are left out.
async fn asked<'o>(
    client: &Client,
    objects: impl Iterator<Item = &'o MoRef>,
    path: &str,
) -> Result<BTreeMap<MoRef, Properties>> {
    let mut kinds: BTreeMap<&str, Vec<MoRef>> = BTreeMap::new();
    for object in objects {
        let of_kind = kinds.entry(&object.kind).or_default();
        if !of_kind.contains(object) {
            of_kind.push(object.clone());
        }
    }
    let mut found = BTreeMap::new();
    for objects in kinds.into_values() {
        let told = client.objects(&objects, &[path]).await?;
        found.extend(told.into_iter().map(|it| (it.id, it.properties)));
    }
    Ok(found)
}
