//! The Artifact Manifest, version 1.0: what an export left, for programs that go on with it. One
//! type writes it and checks it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageFormat;
use crate::vm::{FirmwareKind, Machine, OsFamily};

/// The version of the format that is written here.
pub const VERSION: &str = "1.0";

/// A disk as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Identifier within the machine: letters, digits, `-` and `_`.
    pub id: String,
    /// The format of the file.
    pub format: ImageFormat,
    /// Bytes that the guest sees.
    pub capacity_bytes: u64,
    /// Absolute path of the file.
    pub path: String,
    /// Its checksum as `sha256:HEX`.
    pub checksum: Option<String>,
}

/// The manifest as it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactManifest {
    manifest_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vm: Option<VmFacts>,
    disks: Vec<Disk>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nics: Vec<NicFacts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Source {
    provider: String,
    vm_id: String,
    vm_name: String,
    export_method: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VmFacts {
    cpu: u32,
    mem_gb: f64,
    firmware: String,
    secureboot: bool,
    os_hint: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    os_version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Disk {
    id: String,
    source_format: String,
    bytes: u64,
    local_path: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    checksum: Option<String>,
    boot_order_hint: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    label: Option<String>,
    disk_type: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NicFacts {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    network: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Warning {
    stage: String,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Metadata {
    tool: String,
    tool_version: String,
}

impl ArtifactManifest {
    /// The manifest of an exported machine. `disks` are in boot order, those of `machine` at the
    /// same places.
    pub fn new(
        machine: &Machine,
        provider: &str,
        vm_id: &str,
        disks: &[ManifestFile],
        warnings: &[String],
    ) -> Self {
        let nic = |(number, nic): (usize, &crate::vm::Nic)| NicFacts {
            id: format!("nic{number}"),
            mac: nic.mac.clone(),
            network: nic.network.clone(),
        };
        let warning = |text: &String| Warning { stage: "export".into(), message: text.clone() };
        Self {
            manifest_version: VERSION.into(),
            source: Some(Source {
                provider: provider.into(),
                vm_id: vm_id.into(),
                vm_name: machine.name.clone(),
                export_method: "hyper-export".into(),
            }),
            vm: Some(VmFacts::of(machine)),
            disks: disks.iter().enumerate().map(|(n, file)| Disk::of(n, file, machine)).collect(),
            nics: machine.nics.iter().enumerate().map(nic).collect(),
            warnings: warnings.iter().map(warning).collect(),
            metadata: Some(Metadata {
                tool: "hyper".into(),
                tool_version: env!("CARGO_PKG_VERSION").into(),
            }),
        }
    }

    /// The manifest as JSON with a line end.
    ///
    /// # Errors
    /// `Internal` where it is not valid.
    pub fn to_json(&self) -> Result<String> {
        self.check().map_err(|error| {
            Error::new(ErrorKind::Internal, "write the artifact manifest").with_source(error)
        })?;
        let text = serde_json::to_string_pretty(self).map_err(|error| {
            Error::new(ErrorKind::Internal, "write the artifact manifest").with_source(error)
        })?;
        Ok(text + "\n")
    }

    /// Reads a manifest and checks it. The files it names are not looked at.
    ///
    /// # Errors
    /// `Integrity` saying what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = serde_json::from_str(text)
            .map_err(|error| Error::integrity("it is no artifact manifest").with_source(error))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether it keeps the rules of its format.
    ///
    /// # Errors
    /// `Integrity` naming the first rule that is broken.
    pub fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::integrity(text));
        if self.manifest_version != VERSION {
            return wrong(format!("its version is {:?}, not {VERSION}", self.manifest_version));
        }
        if self.disks.is_empty() {
            return wrong("it names no disk".into());
        }
        if let Some(VmFacts { firmware, .. }) = &self.vm
            && !["bios", "uefi", "unknown"].contains(&firmware.as_str())
        {
            return wrong(format!("firmware {firmware:?} is none of bios, uefi, unknown"));
        }
        let mut seen = std::collections::HashSet::new();
        for disk in &self.disks {
            disk.check()?;
            if !seen.insert(&disk.id) {
                return wrong(format!("disk {:?} stands there twice", disk.id));
            }
        }
        Ok(())
    }
}

impl VmFacts {
    fn of(machine: &Machine) -> Self {
        let family = match machine.os.family {
            OsFamily::Linux => "linux",
            OsFamily::Windows => "windows",
            OsFamily::Bsd => "bsd",
            OsFamily::Other => "other",
            OsFamily::Unknown => "unknown",
        };
        Self {
            cpu: machine.cpus.count,
            mem_gb: machine.memory_bytes as f64 / f64::from(1 << 30),
            firmware: match machine.firmware.kind {
                FirmwareKind::Bios => "bios",
                FirmwareKind::Uefi => "uefi",
                FirmwareKind::Unknown => "unknown",
            }
            .into(),
            secureboot: machine.firmware.secure_boot,
            os_hint: family.into(),
            os_version: machine.os.name.clone(),
        }
    }
}

impl Disk {
    fn of(number: usize, file: &ManifestFile, machine: &Machine) -> Self {
        Self {
            id: file.id.clone(),
            source_format: file.format.name().into(),
            bytes: file.capacity_bytes,
            local_path: file.path.clone(),
            checksum: file.checksum.clone(),
            boot_order_hint: u32::try_from(number).unwrap_or(u32::MAX),
            label: machine.disks.get(number).and_then(|disk| disk.label.clone()),
            disk_type: if number == 0 { "boot" } else { "data" }.into(),
        }
    }

    fn check(&self) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let wrong = |text: &str| Err(Error::integrity(text).with_subject(&self.id));
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return wrong("a disk's id is letters, digits, - and _");
        }
        if self.source_format.parse::<ImageFormat>().is_err() {
            return wrong("the disk's format is none of raw, qcow2, vmdk, vhd, vhdx, vdi");
        }
        let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let sum = self.checksum.as_ref();
        if sum.is_some_and(|sum| !sum.strip_prefix("sha256:").is_some_and(hex)) {
            return wrong("the disk's checksum is no sha256: and 64 hex digits");
        }
        if !["boot", "data", "unknown"].contains(&self.disk_type.as_str()) {
            return wrong("the disk's type is none of boot, data, unknown");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{Cpus, Firmware};

    fn manifest() -> ArtifactManifest {
        let machine = Machine {
            name: "web01".into(),
            cpus: Cpus { count: 2, ..Cpus::default() },
            memory_bytes: 1536 << 20,
            firmware: Firmware { kind: FirmwareKind::Uefi, ..Firmware::default() },
            nics: vec![crate::vm::Nic::default()],
            ..Machine::default()
        };
        let disk = ManifestFile {
            id: "disk0".into(),
            format: ImageFormat::Qcow2,
            capacity_bytes: 1 << 30,
            path: "/out/web01-disk0.qcow2".into(),
            checksum: Some(format!("sha256:{}", "0a".repeat(32))),
        };
        ArtifactManifest::new(&machine, "local", "web01.ova", &[disk], &["a warning".into()])
    }

    #[test]
    fn what_is_written_passes_its_own_check() {
        let text = manifest().to_json().unwrap();
        assert_eq!(ArtifactManifest::parse(&text).unwrap(), manifest());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["vm"]["firmware"], "uefi");
        assert_eq!(value["vm"]["mem_gb"], 1.5);
        assert_eq!(value["disks"][0]["boot_order_hint"], 0);
        assert_eq!(value["disks"][0]["bytes"], 1_u64 << 30);
    }

    #[test]
    fn blocks_that_the_format_does_not_demand_may_be_missing() {
        let mut value = serde_json::to_value(manifest()).unwrap();
        for block in ["source", "vm", "nics", "warnings", "metadata"] {
            assert!(value.as_object_mut().unwrap().remove(block).is_some(), "{block}");
            let parsed = ArtifactManifest::parse(&value.to_string()).unwrap();
            assert_eq!(serde_json::to_value(parsed).unwrap(), value, "{block}");
        }
        value.as_object_mut().unwrap().remove("disks");
        assert!(ArtifactManifest::parse(&value.to_string()).is_err());
    }

    #[test]
    fn broken_rules_are_named() {
        let good = manifest().to_json().unwrap();
        for (from, to) in [
            ("\"1.0\"", "\"2.0\""),
            ("\"uefi\"", "\"efi\""),
            ("\"disk0\"", "\"disk 0\""),
            ("sha256:", "md5:"),
            ("\"qcow2\"", "\"qed\""),
        ] {
            let error = ArtifactManifest::parse(&good.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{to}");
        }
    }
}
