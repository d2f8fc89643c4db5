//! VMX files: the configuration of a VM on VMware Workstation, Fusion and ESXi. Lines of
//! `key = "value"`; keys do not distinguish case; `|22` stands for the character 0x22.

use std::collections::HashMap;

use super::description::{Controllers, Description, DiskData, DiskFile, mac, number_disks, uuid};
use crate::error::{Error, Result};
use crate::image::ImageFormat;
use crate::package::LARGEST_DESCRIPTION;
use crate::vm::{ControllerKind, Cpus, Firmware, FirmwareKind, GuestOs, Machine, MachineDisk, Nic};

/// Buses that drives hang on: key prefix, kind, most controllers, most units of each.
const BUSES: [(&str, ControllerKind, u32, u32); 4] = [
    ("scsi", ControllerKind::Scsi, 4, 65),
    ("sata", ControllerKind::Sata, 4, 30),
    ("nvme", ControllerKind::Nvme, 4, 64),
    ("ide", ControllerKind::Ide, 2, 2),
];

/// Most network adapters that VMware gives a machine.
const MOST_NICS: u32 = 10;

/// Reads a VMX file; `fallback_name` names a machine that gives itself no display name.
///
/// # Errors
/// `Integrity` for what is no VMX file or holds wrong numbers; `Unsupported` for an encrypted
/// machine and for encodings that hyper does not know.
pub fn read_vmx(bytes: &[u8], fallback_name: &str) -> Result<Description> {
    let keys = Keys::parse(bytes)?;
    if keys.get("encryption.keysafe").is_some() || keys.get("encryption.data").is_some() {
        return Err(Error::unsupported("the machine is encrypted")
            .with_hint("remove the encryption with the program that made it, then try again"));
    }
    let mut notes = Vec::new();
    let mut controllers = Controllers::default();
    let mut drives = Vec::new();
    for (prefix, kind, buses, units) in BUSES {
        for bus in 0..buses {
            for unit in 0..units {
                let slot = Slot { prefix, kind, bus, unit };
                drives.extend(read_drive(&keys, &slot, &mut controllers, &mut notes));
            }
        }
    }
    note_floppies(&keys, &mut notes);
    sort_by_boot_order(&keys, &mut drives);
    let (disks, files) = drives.into_iter().map(|(_, disk, file)| (disk, file)).unzip();
    let tpm = keys.yes("vtpm.present") || keys.yes("managedvm.autoaddvtpm");
    if tpm {
        notes.push("the state of its TPM cannot be carried over".to_owned());
    }
    let mut machine = Machine {
        name: keys.get("displayname").unwrap_or(fallback_name).to_owned(),
        uuid: keys.get("uuid.bios").and_then(uuid),
        cpus: read_cpus(&keys)?,
        // VMware's own default, where the key is missing.
        memory_bytes: keys.number::<u32>("memsize")?.map_or(32 << 20, |mib| u64::from(mib) << 20),
        firmware: read_firmware(&keys),
        os: GuestOs::named(
            keys.get("guestos").map(str::to_owned),
            keys.get("guestinfo.detailed.data").and_then(pretty_name),
        ),
        controllers: controllers.0,
        disks,
        nics: (0..MOST_NICS).filter_map(|at| read_nic(&keys, at)).collect(),
        tpm,
        annotation: keys.get("annotation").map(str::to_owned),
    };
    number_disks(&mut machine);
    Ok(Description { machine, disks: files, notes })
}

/// A place on a bus.
struct Slot {
    prefix: &'static str,
    kind: ControllerKind,
    bus: u32,
    unit: u32,
}

type Drive = (String, MachineDisk, DiskFile);

/// The disk at a slot; other drives become notes.
fn read_drive(
    keys: &Keys,
    slot: &Slot,
    controllers: &mut Controllers,
    notes: &mut Vec<String>,
) -> Option<Drive> {
    let name = format!("{}{}:{}", slot.prefix, slot.bus, slot.unit);
    if !keys.yes(&format!("{name}.present")) {
        return None;
    }
    let file = keys.get(&format!("{name}.filename")).unwrap_or_default();
    let device = keys.get(&format!("{name}.devicetype")).unwrap_or_default().to_ascii_lowercase();
    if device.contains("cdrom") || device.contains("atapi") || file.ends_with(".iso") {
        notes.push(format!("the CD-ROM drive {name} ({file}) is not carried over"));
        return None;
    }
    if file.is_empty() || device == "rawdisk" && !file.ends_with(".vmdk") {
        notes.push(format!("the drive {name} names no disk file and is not carried over"));
        return None;
    }
    let model = keys.get(&format!("{}{}.virtualdev", slot.prefix, slot.bus));
    let disk = MachineDisk {
        id: String::new(),
        label: Some(name.clone()),
        capacity_bytes: 0,
        controller: Some(controllers.named(slot.kind, slot.bus, model)),
        unit: Some(slot.unit),
        file: Some(file.to_owned()),
    };
    let data = DiskData::File(file.to_owned());
    Some((name, disk, DiskFile { data, format: Some(ImageFormat::Vmdk), size: None }))
}

fn note_floppies(keys: &Keys, notes: &mut Vec<String>) {
    for name in ["floppy0", "floppy1"] {
        // Absent means present for the first floppy drive; only one with a medium is worth words.
        let medium = keys.get(&format!("{name}.filename"));
        if let (true, Some(medium)) =
            (keys.get(&format!("{name}.present")) != Some("FALSE"), medium)
        {
            notes.push(format!("the floppy drive {name} ({medium}) is not carried over"));
        }
    }
}

/// `bios.hddOrder = "scsi0:1,scsi0:0"` puts the disks it names first.
fn sort_by_boot_order(keys: &Keys, drives: &mut [Drive]) {
    let order: Vec<String> = keys
        .get("bios.hddorder")
        .unwrap_or_default()
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    drives.sort_by_key(|(name, ..)| {
        order.iter().position(|first| first == name).unwrap_or(usize::MAX)
    });
}

fn read_cpus(keys: &Keys) -> Result<Cpus> {
    Ok(Cpus {
        count: keys.number("numvcpus")?.unwrap_or(1),
        cores_per_socket: keys.number("cpuid.corespersocket")?.filter(|cores| *cores > 0),
        threads_per_core: None,
    })
}

fn read_firmware(keys: &Keys) -> Firmware {
    let efi = keys.get("firmware").is_some_and(|word| word.eq_ignore_ascii_case("efi"));
    Firmware {
        kind: if efi { FirmwareKind::Uefi } else { FirmwareKind::Bios },
        secure_boot: efi && keys.yes("uefi.secureboot.enabled"),
        nvram_file: keys.get("nvram").map(str::to_owned),
    }
}

fn read_nic(keys: &Keys, at: u32) -> Option<Nic> {
    let key = |name: &str| keys.get(&format!("ethernet{at}.{name}"));
    if !keys.yes(&format!("ethernet{at}.present")) {
        return None;
    }
    let fixed = key("addresstype").is_some_and(|kind| kind.eq_ignore_ascii_case("static"));
    let generated = key("generatedaddress").filter(|_| !fixed);
    Some(Nic {
        mac: generated.or_else(|| key("address")).and_then(mac),
        // Without the key VMware emulates the oldest adapter, which drivers call vlance.
        model: Some(key("virtualdev").unwrap_or("vlance").to_owned()),
        network: key("networkname")
            .or_else(|| key("vnet"))
            .or_else(|| key("connectiontype"))
            .map(str::to_owned),
        connected: key("startconnected").is_none_or(|word| !word.eq_ignore_ascii_case("false")),
    })
}

/// `prettyName='Debian GNU/Linux 12 (bookworm)'` out of what VMware Tools left behind.
fn pretty_name(data: &str) -> Option<String> {
    let rest = data.split_once("prettyName='")?.1;
    Some(rest.split_once('\'')?.0.to_owned())
}

/// The lines of a VMX file, keys in lower case.
struct Keys(HashMap<String, String>);

impl Keys {
    fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > LARGEST_DESCRIPTION {
            return Err(Error::integrity("it is too large to be a VMX file"));
        }
        let mut keys = HashMap::new();
        for (at, line) in decode(bytes)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(Error::integrity(format!("line {} is no line of a VMX file", at + 1)));
            };
            let value = value.trim();
            let value =
                value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            // As in VMware's programs, the last of several lines counts.
            keys.insert(key.trim().to_ascii_lowercase(), unescape(value));
        }
        let told = ["config.version", "virtualhw.version", "displayname", "guestos"];
        if !told.iter().any(|key| keys.contains_key(*key)) {
            return Err(Error::integrity("it is no VMX file: it names neither version nor guest"));
        }
        Ok(Self(keys))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn yes(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.get(key)
            .map(|value| {
                value.trim().parse().map_err(|_| {
                    Error::integrity(format!("{key} is not a usable number: {value:?}"))
                })
            })
            .transpose()
    }
}

/// The text in the encoding that its `.encoding` line names; UTF-8 where it names none.
fn decode(bytes: &[u8]) -> Result<String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(text.to_owned());
    }
    let plain = String::from_utf8_lossy(bytes);
    let named = plain
        .lines()
        .find_map(|line| line.trim().strip_prefix(".encoding")?.split('"').nth(1))
        .unwrap_or("UTF-8")
        .to_ascii_lowercase();
    match named.as_str() {
        "windows-1252" => Ok(bytes.iter().map(|byte| of_windows_1252(*byte)).collect()),
        "iso-8859-1" | "latin1" => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        "utf-8" => Err(Error::integrity("it is not UTF-8 text and names no other encoding")),
        other => Err(Error::unsupported(format!("its text is encoded as {other:?}"))
            .with_hint("convert it with: iconv -t UTF-8, and set .encoding = \"UTF-8\"")),
    }
}

/// Windows-1252 is Latin-1 but for 0x80 to 0x9f.
fn of_windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let high = byte.checked_sub(0x80).and_then(|at| HIGH.get(usize::from(at)));
    high.copied().unwrap_or(char::from(byte))
}

/// `|0A` is the character with that number.
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('|') {
        plain.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[2..];
            }
            None => {
                plain.push('|');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;
    use crate::vm::OsFamily;

    const VMX: &str = r#".encoding = "UTF-8"
config.version = "8"
virtualHW.version = "20"
displayName = "Mühle |22alt|22"
guestOS = "ubuntu-64"
numvcpus = "6"
cpuid.coresPerSocket = "3"
memSize = "4096"
firmware = "efi"
uefi.secureBoot.enabled = "TRUE"
nvram = "muehle.nvram"
uuid.bios = "56 4d 01 02 03 04 05 06-07 08 09 0a 0b 0c 0d 0e"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "muehle.vmdk"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "muehle-1.vmdk"
scsi0:2.present = "FALSE"
scsi0:2.fileName = "gone.vmdk"
nvme0.present = "TRUE"
nvme0:0.present = "TRUE"
nvme0:0.fileName = "fast.vmdk"
sata0:1.present = "TRUE"
sata0:1.deviceType = "cdrom-image"
sata0:1.fileName = "/isos/inst.iso"
ide0:0.present = "TRUE"
ide0:0.deviceType = "atapi-cdrom"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0C:29:AA:BB:CC"
ethernet0.connectionType = "nat"
ethernet1.present = "TRUE"
ethernet1.address = "00:50:56:00:00:01"
ethernet1.networkName = "back"
ethernet1.startConnected = "FALSE"
bios.hddOrder = "scsi0:1"
vtpm.present = "TRUE"
annotation = "one|0Atwo | three"
"#;

    #[test]
    fn a_machine_is_read_whole() {
        let read = read_vmx(VMX.as_bytes(), "x").unwrap();
        let machine = &read.machine;
        assert_eq!(machine.name, "Mühle \"alt\"");
        assert_eq!((machine.cpus.count, machine.cpus.cores_per_socket), (6, Some(3)));
        assert_eq!(machine.memory_bytes, 4 << 30);
        assert_eq!(machine.firmware.kind, FirmwareKind::Uefi);
        assert!(machine.firmware.secure_boot && machine.tpm);
        assert_eq!(machine.firmware.nvram_file.as_deref(), Some("muehle.nvram"));
        assert_eq!(machine.uuid.as_deref(), Some("564d0102-0304-0506-0708-090a0b0c0d0e"));
        assert_eq!(machine.os.family, OsFamily::Linux);
        assert_eq!(machine.annotation.as_deref(), Some("one\ntwo | three"));
        let disks: Vec<_> = machine
            .disks
            .iter()
            .map(|disk| (disk.id.as_str(), disk.file.as_deref(), disk.controller.as_deref()))
            .collect();
        assert_eq!(
            disks,
            [
                ("disk0", Some("muehle-1.vmdk"), Some("scsi0")),
                ("disk1", Some("muehle.vmdk"), Some("scsi0")),
                ("disk2", Some("fast.vmdk"), Some("nvme0")),
            ]
        );
        assert_eq!(machine.controllers[0].model.as_deref(), Some("pvscsi"));
        assert_eq!(read.disks[0].data, DiskData::File("muehle-1.vmdk".into()));
        assert_eq!(machine.nics[0].mac.as_deref(), Some("00:0c:29:aa:bb:cc"));
        assert_eq!(machine.nics[1].network.as_deref(), Some("back"));
        assert!(machine.nics[0].connected && !machine.nics[1].connected);
        let notes = read.notes.join("\n");
        for words in ["sata0:1 (/isos/inst.iso)", "ide0:0", "TPM"] {
            assert!(notes.contains(words), "{notes}");
        }
    }

    #[test]
    fn what_is_no_plain_machine_is_refused() {
        let kind = |bytes: &[u8]| read_vmx(bytes, "x").unwrap_err().kind();
        let encrypted = format!("{VMX}encryption.keySafe = \"vmware:key/list/(pair)\"\n");
        assert_eq!(kind(encrypted.as_bytes()), ErrorKind::Unsupported);
        assert_eq!(kind(b"a = \"b\"\n"), ErrorKind::Integrity);
        assert_eq!(kind(b"MZ\x90 binary"), ErrorKind::Integrity);
        assert_eq!(
            kind(b".encoding = \"Shift_JIS\"\ndisplayName = \"\x83\x65\""),
            ErrorKind::Unsupported
        );
        let huge = VMX.replace("memSize = \"4096\"", "memSize = \"99999999999\"");
        assert_eq!(kind(huge.as_bytes()), ErrorKind::Integrity);
    }

    #[test]
    fn old_windows_encodings_are_read() {
        let bytes = b".encoding = \"windows-1252\"\nguestOS = \"win10-64\"\ndisplayName = \"B\xfcro \x80\"\n";
        let read = read_vmx(bytes, "x").unwrap();
        assert_eq!(read.machine.name, "Büro €");
        assert_eq!(read.machine.os.family, OsFamily::Windows);
        assert_eq!(read.machine.firmware.kind, FirmwareKind::Bios);
        assert_eq!(read.machine.cpus.count, 1);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut text = b"displayName=\"a\"\n".to_vec();
            text.extend(bytes);
            let _ = read_vmx(&text, "x");
        }
    }
}
