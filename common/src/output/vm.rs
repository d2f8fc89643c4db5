//! VMs as records: what `hyper vm list` prints.

use super::record::{Cell, Column, Record};
use crate::vm::{FirmwareKind, OsFamily, Vm, format_bytes};

impl Record for Vm {
    const SCHEMA: &'static str = "hyper.vm/v1";

    const COLUMNS: &'static [Column] = &[
        Column::text("name", "NAME").width(24),
        Column::text("namespace", "NAMESPACE").varying(),
        Column::text("status", "STATUS").width(8),
        Column::number("cpus", "CPUS").width(5),
        Column::number("memory_bytes", "MEMORY").width(9),
        Column::number("disk_count", "DISKS").width(5),
        Column::number("capacity_bytes", "CAPACITY").width(9),
        Column::text("guest_os", "GUEST").width(8),
        Column::text("format", "FORMAT").width(8),
        Column::text("context", "CONTEXT").width(10),
        Column::number("allocated_bytes", "ALLOCATED").width(9).wide(),
        Column::text("firmware", "FIRMWARE").width(8).wide(),
        Column::text("node", "NODE").width(16).wide(),
        Column::text("ip_addresses", "IPS").width(16).wide(),
        Column::text("macs", "MACS").width(17).wide(),
        Column::text("networks", "NETWORKS").wide(),
        Column::text("updated", "UPDATED").width(19).wide(),
        Column::text("id", "ID").wide(),
    ];

    /// The columns that HyperSDK's lists of machines have. Nobody here knows of carbon.
    const CSV: &'static [Column] = &[
        Column::text("Name", ""),
        Column::text("Namespace", ""),
        Column::text("Phase", ""),
        Column::number("CPUs", ""),
        Column::text("Memory", ""),
        Column::text("Node", ""),
        Column::text("IP Addresses", ""),
        Column::number("Disks", ""),
        Column::number("Networks", ""),
        Column::text("Created", ""),
        Column::number("Carbon Intensity", ""),
        Column::text("Guest Agent", ""),
        Column::number("CPU Usage", ""),
        Column::number("Memory Usage", ""),
    ];

    fn cells(&self) -> Vec<Cell> {
        let known = |word: &'static str, known: bool| {
            if known { Cell::from(word) } else { Cell::Empty }
        };
        vec![
            Cell::text(&self.name),
            Cell::from(self.namespace.clone()),
            Cell::from(self.status.name()),
            Cell::from(self.cpus),
            self.memory_bytes.map_or(Cell::Empty, Cell::Bytes),
            Cell::from(self.disk_count),
            self.capacity_bytes.map_or(Cell::Empty, Cell::Bytes),
            known(self.guest_os.name(), self.guest_os != OsFamily::Unknown),
            Cell::from(self.format.clone()),
            Cell::text(&self.context),
            self.allocated_bytes.map_or(Cell::Empty, Cell::Bytes),
            known(self.firmware.name(), self.firmware != FirmwareKind::Unknown),
            Cell::from(self.node.clone()),
            Cell::text(self.ip_addresses.join(",")),
            Cell::text(self.macs.join(",")),
            Cell::text(self.networks.join(",")),
            Cell::from(self.updated),
            Cell::text(&self.id.0),
        ]
    }

    fn csv_cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::from(self.namespace.clone()),
            Cell::text(self.state.as_deref().unwrap_or(self.status.name())),
            Cell::from(self.cpus),
            self.memory_bytes.map(format_bytes).into(),
            Cell::from(self.node.clone()),
            Cell::text(self.ip_addresses.join(";")),
            Cell::from(self.disk_count),
            Cell::Number(self.networks.len() as i128),
            Cell::from(self.created),
            Cell::Empty,
            Cell::from(self.guest_agent),
            Cell::Empty,
            Cell::Empty,
        ]
    }

    /// A reference that finds it again from anywhere.
    fn name(&self) -> String {
        format!("{}:@{}", self.context, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{Machine, VmId};

    #[test]
    fn each_column_has_its_cell() {
        let vm = Vm::of_machine(VmId("/a.ova".into()), "lab", "local", &Machine::default());
        assert_eq!(vm.cells().len(), Vm::COLUMNS.len());
        assert_eq!(vm.csv_cells().len(), Vm::CSV.len());
        assert_eq!(vm.name(), "lab:@/a.ova");
        assert_eq!(vm.cells()[7], Cell::Empty, "an unknown guest is no guest");
    }
}
