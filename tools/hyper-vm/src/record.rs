//! A machine as a person reads it by itself.

use hyper_common::error::{Error, ErrorKind, one_line};
use hyper_common::output::{Cell, Column, Fact, Record, human_bytes, human_time};
use hyper_common::provider::Switched;
use hyper_common::tool::machines::Reference;
use hyper_common::vm::{FirmwareKind, OsFamily, Vm, VmId};
use serde::Serialize;

use crate::action::Done;

/// How many machines there are in a place.
#[derive(Debug, Serialize)]
pub struct CountRow {
    context: String,
    place: Option<String>,
    count: u64,
}

impl CountRow {
    /// So many of this place.
    pub fn new(place: Reference, count: u64) -> Self {
        let rest = Some(place.rest).filter(|rest| !rest.is_empty());
        Self { context: place.context, place: rest, count }
    }
}

impl Record for CountRow {
    const SCHEMA: &'static str = "hyper.vm_count/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("context", "CONTEXT"),
        Column::text("place", "PLACE"),
        Column::number("count", "COUNT"),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::text(&self.context), self.place.clone().into(), self.count.into()]
    }

    fn name(&self) -> String {
        self.count.to_string()
    }
}

/// What a table shows of a machine, line by line; what nobody knows is left away.
pub fn facts(vm: &Vm) -> Vec<Fact> {
    let guest = [&vm.guest_os_name, &vm.guest_os_id].into_iter().flatten().next().cloned();
    let family = (vm.guest_os != OsFamily::Unknown).then(|| vm.guest_os.name().to_owned());
    let firmware = (vm.firmware != FirmwareKind::Unknown).then(|| vm.firmware.name().to_owned());
    let bytes = |bytes: Option<u64>| bytes.map(human_bytes);
    // The platform's own word, where it says more.
    let state = vm.state.as_ref().filter(|it| !it.eq_ignore_ascii_case(vm.status.name()));
    let labels: Vec<_> = vm.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let yes = |it: bool| if it { "runs" } else { "does not answer" };
    let all = [
        ("name", Some(vm.name.clone())),
        ("namespace", vm.namespace.clone()),
        ("status", Some(vm.status.to_string())),
        ("state", state.cloned()),
        ("context", Some(vm.context.clone())),
        ("cpus", vm.cpus.map(|cpus| cpus.to_string())),
        ("memory", bytes(vm.memory_bytes)),
        ("guest", guest.or(family)),
        ("guest agent", vm.guest_agent.map(|runs| yes(runs).to_owned())),
        ("firmware", firmware),
        ("disks", Some(vm.disk_count.to_string())),
        ("capacity", bytes(vm.capacity_bytes)),
        ("allocated", bytes(vm.allocated_bytes)),
        ("addresses", (!vm.ip_addresses.is_empty()).then(|| vm.ip_addresses.join(", "))),
        ("macs", (!vm.macs.is_empty()).then(|| vm.macs.join(", "))),
        ("networks", (!vm.networks.is_empty()).then(|| vm.networks.join(", "))),
        ("labels", (!labels.is_empty()).then(|| labels.join(", "))),
        ("format", vm.format.clone()),
        ("path", vm.path.clone()),
        ("node", vm.node.clone()),
        ("uuid", vm.uuid.clone()),
        ("instance uuid", vm.instance_uuid.clone()),
        ("created", vm.created.map(human_time)),
        ("updated", vm.updated.map(human_time)),
        ("id", Some(vm.id.to_string())),
    ];
    Fact::known(all)
}

/// What came of changing a machine.
#[derive(Debug, Serialize)]
pub struct ActionRow {
    vm: String,
    context: String,
    id: Option<VmId>,
    action: &'static str,
    outcome: &'static str,
    note: Option<String>,
    error_kind: Option<ErrorKind>,
    error: Option<String>,
}

impl ActionRow {
    /// The row of the machine called `vm`; `id` where it was found.
    pub fn new(
        (context, vm): (&str, &str),
        id: Option<VmId>,
        action: &'static str,
        outcome: Result<&Done, &Error>,
    ) -> Self {
        Self {
            vm: vm.to_owned(),
            context: context.to_owned(),
            id,
            action,
            outcome: match outcome {
                Ok(Done { planned: true, .. }) => "planned",
                Ok(Done { switched: Switched::Done, .. }) => "done",
                Ok(Done { switched: Switched::Already, .. }) => "already",
                Err(_) => "failed",
            },
            note: outcome.ok().and_then(|done| done.note.clone()),
            error_kind: outcome.err().map(Error::kind),
            error: outcome.err().map(one_line),
        }
    }
}

impl Record for ActionRow {
    const SCHEMA: &'static str = "hyper.vm_action/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("vm", "VM").width(24),
        Column::text("action", "ACTION").width(8),
        Column::text("outcome", "OUTCOME").width(8),
        Column::text("context", "CONTEXT").width(12),
        Column::text("note", "NOTE").width(40),
        Column::text("id", "ID").wide(),
        Column::text("error", "ERROR").wide(),
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.vm),
            self.action.into(),
            self.outcome.into(),
            Cell::text(&self.context),
            self.note.clone().into(),
            self.id.as_ref().map(ToString::to_string).into(),
            self.error.clone().into(),
        ]
    }

    fn name(&self) -> String {
        match &self.id {
            Some(id) => format!("{}:@{id}", self.context),
            None => format!("{}:{}", self.context, self.vm),
        }
    }
}
