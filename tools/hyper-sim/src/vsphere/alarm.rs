//! Alarms that are triggered: one definition, and the machines that it is about.

use jiff::Timestamp;

use super::inventory::Inventory;
use super::value::{Data, Ref, Value};

/// An alarm that is triggered on a machine.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// The machine.
    pub machine: Ref,
    /// `red` or `yellow`.
    pub status: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// Who has taken note of it.
    pub acknowledged_by: Option<String>,
}

/// What an alarm can be.
pub const STATUSES: [&str; 2] = ["red", "yellow"];

/// The definition.
pub fn definition() -> Ref {
    Ref::new("Alarm", "alarm-8")
}

/// A property of the definition.
pub fn property(tree: &Inventory, name: &str) -> Option<Value> {
    if name == "availableField" {
        return Some(Vec::<Value>::new().into());
    }
    let expression = Data::new("StateAlarmExpression")
        .set("operator", "isEqual")
        .set("type", "VirtualMachine")
        .set("statePath", "guestHeartbeatStatus")
        .set("yellow", "yellow")
        .set("red", "red");
    let info = Data::new("AlarmInfo")
        .set("name", "Virtual machine heartbeat")
        .set("description", "Tells when a guest has lost its heartbeat")
        .set("enabled", true)
        .set("expression", expression)
        .set("key", definition().value)
        .set("alarm", definition())
        .set("entity", &tree.places.root)
        .set("lastModifiedTime", Timestamp::UNIX_EPOCH)
        .set("lastModifiedUser", "")
        .set("creationEventId", 0);
    (name == "info").then(|| info.into())
}

/// What is triggered on an object and below it.
pub fn triggered(tree: &Inventory, object: &Ref) -> Value {
    if tree.alarms.is_empty() {
        return Vec::<Value>::new().into();
    }
    let below = tree.below(object);
    let on = tree.alarms.iter().filter(|it| it.machine == *object || below.contains(&it.machine));
    let states = on.map(|alarm| {
        let key = format!("{}.{}", definition().value, alarm.machine.value);
        let by = alarm.acknowledged_by.as_deref();
        Data::new("AlarmState")
            .set("key", key)
            .set("entity", &alarm.machine)
            .set("alarm", definition())
            .set("overallStatus", alarm.status)
            .set("time", alarm.since)
            .set("acknowledged", by.is_some())
            .maybe("acknowledgedByUser", by)
            .maybe("acknowledgedTime", by.map(|_| alarm.since))
            .set("disabled", false)
            .into()
    });
    states.collect::<Vec<Value>>().into()
}
