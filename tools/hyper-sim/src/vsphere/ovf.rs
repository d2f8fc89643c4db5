//! `OvfManager.CreateDescriptor`: a machine as an OVF envelope (DSP0243 1.1).

use std::fmt::Write;

use super::device::disk_uuid;
use super::envelope::{Answer, Node};
use super::fault::Fault;
use super::machine::{DISKS_PER_CONTROLLER, Machine, unit_of};
use super::state::State;
use super::value::{Data, Ref, escape};

/// Writes the descriptor of a machine with the files that a client has fetched.
///
/// # Errors
/// `ManagedObjectNotFound`; `InvalidArgument` for a file of a device that is not there.
pub fn create_descriptor(state: &State, args: &Node) -> Result<Answer, Fault> {
    let object = args.reference_of("obj").unwrap_or_else(|| Ref::new("", ""));
    let machine = state.tree.machine(&object).ok_or_else(|| Fault::gone(&object))?;
    let params = args.one("cdp").ok_or_else(|| Fault::request("cdp is missing"))?;
    let files: Vec<&Node> = params.all("ovfFiles").collect();
    let known = |file: &&Node| {
        let id = file.text_of("deviceId").unwrap_or_default();
        id.ends_with("/nvram") || disk_of(machine, id).is_some()
    };
    if let Some(file) = files.iter().find(|file| !known(file)) {
        let id = file.text_of("deviceId").unwrap_or_default();
        return Err(Fault::argument("deviceId", format!("there is no device {id}")));
    }
    let name = params.text_of("name").filter(|name| !name.is_empty()).unwrap_or(&machine.name);
    let text = envelope(state, machine, name, &files);
    Ok(Answer::Value(Data::new("OvfCreateDescriptorResult").set("ovfDescriptor", text).into()))
}

fn disk_of(machine: &Machine, id: &str) -> Option<usize> {
    (0..machine.disks.len()).find(|at| machine.lease_key(*at) == id)
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
xmlns:cim=\"http://schemas.dmtf.org/wbem/wscim/1/common\" \
xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" \
xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData\" \
xmlns:vmw=\"http://www.vmware.com/schema/ovf\" \
xmlns:vssd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData\" \
xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n";

const STREAM: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

fn envelope(state: &State, machine: &Machine, name: &str, files: &[&Node]) -> String {
    let (mut references, mut disks, mut on) = (String::new(), String::new(), Vec::new());
    for (number, file) in files.iter().enumerate() {
        let number = number + 1;
        let text = |name| escape(file.text_of(name).unwrap_or_default());
        let _ = writeln!(
            references,
            "    <File ovf:id=\"file{number}\" ovf:href=\"{}\" ovf:size=\"{}\"/>",
            text("path"),
            text("size")
        );
        let at = disk_of(machine, file.text_of("deviceId").unwrap_or_default());
        if let Some((at, disk)) = at.and_then(|at| Some((at, machine.disks.get(at)?))) {
            let _ = writeln!(
                disks,
                "    <Disk ovf:capacityAllocationUnits=\"byte\" ovf:format=\"{STREAM}\" \
                 ovf:diskId=\"vmdisk{number}\" ovf:capacity=\"{}\" ovf:fileRef=\"file{number}\" \
                 vmw:uuid=\"{}\"/>",
                disk.image.capacity,
                disk_uuid(machine, at)
            );
            on.push((at, number));
        }
    }
    let mut networks = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for (_, network) in &machine.nics {
        let title = state.tree.name(network).unwrap_or_default();
        if !seen.contains(&title) {
            seen.push(title);
            let _ = writeln!(
                networks,
                "    <Network ovf:name=\"{0}\">\n      <Description>The {0} \
                 network</Description>\n    </Network>",
                escape(title)
            );
        }
    }
    let name = escape(name);
    format!(
        "{HEAD}  <References>\n{references}  </References>\n  <DiskSection>\n    \
         <Info>Virtual disk information</Info>\n{disks}  </DiskSection>\n  <NetworkSection>\n    \
         <Info>The list of logical networks</Info>\n{networks}  </NetworkSection>\n  \
         <VirtualSystem ovf:id=\"{name}\">\n    <Info>A virtual machine</Info>\n    \
         <Name>{name}</Name>\n    <OperatingSystemSection ovf:id=\"101\" \
         vmw:osType=\"{}\">\n      <Info>The kind of installed guest operating system</Info>\n    \
         </OperatingSystemSection>\n{}  </VirtualSystem>\n</Envelope>\n",
        machine.guest.0,
        hardware(state, machine, &name, &on)
    )
}

fn hardware(state: &State, machine: &Machine, name: &str, on: &[(usize, usize)]) -> String {
    let mut text = format!(
        "    <VirtualHardwareSection>\n      <Info>Virtual hardware requirements</Info>\n      \
         <System>\n        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>\n        \
         <vssd:InstanceID>0</vssd:InstanceID>\n        \
         <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>\n        \
         <vssd:VirtualSystemType>vmx-19</vssd:VirtualSystemType>\n      </System>\n"
    );
    // Elements come in the order of their names, as the schema of CIM wants.
    let cpus = machine.cpus.to_string();
    let memory = machine.memory_mib.to_string();
    let count = |unit, what: String, id, kind, quantity| {
        [
            ("AllocationUnits", unit),
            ("Description", what.clone()),
            ("ElementName", what),
            ("InstanceID", id),
            ("ResourceType", kind),
            ("VirtualQuantity", quantity),
        ]
    };
    let own = str::to_owned;
    item(
        &mut text,
        &count(own("hertz * 10^6"), format!("{cpus} virtual CPU(s)"), own("1"), own("3"), cpus),
    );
    item(
        &mut text,
        &count(own("byte * 2^20"), format!("{memory}MB of memory"), own("2"), own("4"), memory),
    );
    let buses = machine.disks.len().div_ceil(DISKS_PER_CONTROLLER);
    for bus in 0..buses {
        item(
            &mut text,
            &[
                ("Address", bus.to_string()),
                ("Description", own("SCSI Controller")),
                ("ElementName", format!("SCSI Controller {bus}")),
                ("InstanceID", (3 + bus).to_string()),
                ("ResourceSubType", own("VirtualSCSI")),
                ("ResourceType", own("6")),
            ],
        );
    }
    for (at, number) in on {
        item(
            &mut text,
            &[
                ("AddressOnParent", unit_of(*at).to_string()),
                ("ElementName", format!("Hard Disk {}", at + 1)),
                ("HostResource", format!("ovf:/disk/vmdisk{number}")),
                ("InstanceID", (100 + at).to_string()),
                ("Parent", (3 + at / DISKS_PER_CONTROLLER).to_string()),
                ("ResourceType", own("17")),
            ],
        );
    }
    for (at, (mac, network)) in machine.nics.iter().enumerate() {
        item(
            &mut text,
            &[
                ("Address", mac.clone()),
                ("AddressOnParent", (7 + at).to_string()),
                ("AutomaticAllocation", own("true")),
                ("Connection", escape(state.tree.name(network).unwrap_or_default()).into_owned()),
                ("ElementName", format!("Network adapter {}", at + 1)),
                ("InstanceID", (200 + at).to_string()),
                ("ResourceSubType", own("VmxNet3")),
                ("ResourceType", own("10")),
            ],
        );
    }
    let firmware = if machine.efi { "efi" } else { "bios" };
    let _ = writeln!(
        text,
        "      <vmw:Config ovf:required=\"false\" vmw:key=\"firmware\" vmw:value=\"{firmware}\"/>\n    \
         </VirtualHardwareSection>"
    );
    text
}

fn item(text: &mut String, fields: &[(&str, String)]) {
    text.push_str("      <Item>\n");
    for (name, value) in fields {
        let _ = writeln!(text, "        <rasd:{name}>{value}</rasd:{name}>");
    }
    text.push_str("      </Item>\n");
}
