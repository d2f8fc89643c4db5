//! What VMware, VirtualBox and oVirt say beyond the standard: firmware, Secure Boot, its
//! variables, TPM, UUID.

use roxmltree::Node;

use super::hardware::HostResource;
use super::read::OvfFile;
use crate::package::description::uuid;
use crate::package::xml::{attribute, child};
use crate::vm::{Firmware, FirmwareKind};

/// The facts beyond the standard.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub firmware: Firmware,
    pub tpm: bool,
    pub uuid: Option<String>,
}

impl Extras {
    /// Reads them from a virtual system. A machine that says nothing of its firmware has a BIOS:
    /// that is the default of both products.
    pub(super) fn read(system: Node<'_, '_>, files: &[OvfFile]) -> Self {
        let mut extras = Self::default();
        extras.firmware.kind = FirmwareKind::Bios;
        for node in system.descendants().filter(Node::is_element) {
            match node.tag_name().name() {
                "Config" | "ExtraConfig" => extras.add_vmware(node, files),
                "Machine" => extras.add_virtualbox(node),
                "BiosType" => extras.add_ovirt(node.text().unwrap_or_default().trim()),
                _ => {}
            }
        }
        if extras.firmware.nvram_file.is_none() {
            let found =
                files.iter().find(|file| file.href.to_ascii_lowercase().ends_with(".nvram"));
            extras.firmware.nvram_file = found.map(|file| file.href.clone());
        }
        extras
    }

    /// `<vmw:Config vmw:key="firmware" vmw:value="efi"/>` and its like.
    fn add_vmware(&mut self, node: Node<'_, '_>, files: &[OvfFile]) {
        let (Some(key), Some(value)) = (attribute(node, "key"), attribute(node, "value")) else {
            return;
        };
        let yes = value.eq_ignore_ascii_case("true");
        match key.to_ascii_lowercase().as_str() {
            "firmware" if value.eq_ignore_ascii_case("efi") => {
                self.firmware.kind = FirmwareKind::Uefi;
            }
            "bootoptions.efisecurebootenabled" | "uefi.secureboot.enabled" => {
                self.firmware.secure_boot = yes;
            }
            "uuid.bios" => self.uuid = uuid(value),
            "vtpm.present" | "vtpmpresent" => self.tpm |= yes,
            "nvram" => {
                if let HostResource::File(id) = HostResource::parse(value) {
                    let found = files.iter().find(|file| file.id == id);
                    self.firmware.nvram_file = found.map(|file| file.href.clone());
                }
            }
            _ => {}
        }
    }

    /// `<BiosType>3</BiosType>`: oVirt's chipset and firmware; 3 is UEFI, 4 with Secure Boot.
    fn add_ovirt(&mut self, kind: &str) {
        if matches!(kind, "3" | "4") {
            self.firmware.kind = FirmwareKind::Uefi;
            self.firmware.secure_boot = kind == "4";
        }
    }

    /// `<vbox:Machine uuid="{…}"><Hardware><Firmware type="EFI"/>…`
    fn add_virtualbox(&mut self, node: Node<'_, '_>) {
        self.uuid = attribute(node, "uuid").and_then(uuid).or(self.uuid.take());
        let Some(hardware) = child(node, "Hardware") else { return };
        let find = |name: &str| {
            hardware.descendants().find(|one| one.is_element() && one.tag_name().name() == name)
        };
        if find("Firmware")
            .and_then(|one| attribute(one, "type"))
            .is_some_and(|kind| kind.to_ascii_uppercase().starts_with("EFI"))
        {
            self.firmware.kind = FirmwareKind::Uefi;
        }
        let secure = find("SecureBoot").and_then(|one| attribute(one, "enabled"));
        self.firmware.secure_boot |= secure == Some("true");
        let tpm = find("TrustedPlatformModule").and_then(|one| attribute(one, "type"));
        self.tpm |= tpm.is_some_and(|kind| !kind.eq_ignore_ascii_case("none"));
    }
}
