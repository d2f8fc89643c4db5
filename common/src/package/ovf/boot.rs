//! VMware's boot order section: which drive the firmware tries first.

use roxmltree::Node;

use super::hardware::Hardware;
use super::read::sections;
use crate::package::xml::attribute;

/// Moves the drives that a boot order section names to the front, in its order.
pub(super) fn order(system: Node<'_, '_>, hardware: &mut Hardware) {
    let first: Vec<&str> = sections(system, "BootOrderSection")
        .filter(|section| attribute(*section, "type").is_none_or(|kind| kind == "disk"))
        .filter_map(|section| attribute(section, "instanceId"))
        .collect();
    hardware.disks.sort_by_key(|drive| {
        first.iter().position(|id| *id == drive.instance).unwrap_or(usize::MAX)
    });
}
