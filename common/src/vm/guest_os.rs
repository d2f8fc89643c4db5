//! Names of guest operating systems: what family an identifier stands for, and VMware's word for
//! it. Identifiers come as VMware's (`debian12_64Guest`, in VMX files `debian12-64`),
//! VirtualBox's (`Debian12_64`), libosinfo's (`http://debian.org/debian/12`), and as numbers of
//! the CIM schema (`CIM_OperatingSystem.OSType`) in OVF files.

use super::{GuestOs, OsFamily};

/// Parts of names that only Linux distributions have.
const LINUX: [&str; 27] = [
    "linux",
    "ubuntu",
    "debian",
    "centos",
    "rhel",
    "redhat",
    "red hat",
    "fedora",
    "suse",
    "sles",
    "oracle",
    "rocky",
    "coreos",
    "photon",
    "amazon",
    "gentoo",
    "archlinux",
    "arch_",
    "mandriva",
    "mandrake",
    "asianux",
    "flatcar",
    "crxpod",
    "alpine",
    "nixos",
    "nld9",
    "openwrt",
];

/// Parts of names of systems that are neither Linux, Windows nor a BSD.
const OTHER: [&str; 14] = [
    "darwin",
    "macos",
    "mac os",
    "solaris",
    "netware",
    "os2",
    "os/2",
    "ecomstation",
    "dos",
    "qnx",
    "beos",
    "vmkernel",
    "esxi",
    "haiku",
];

impl OsFamily {
    /// The family that an identifier or display name stands for; `Unknown` for words such as
    /// `other` that say nothing.
    pub fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        // "darwin" holds "win": the others come before Windows.
        if has(&LINUX) {
            Self::Linux
        } else if has(&OTHER) {
            Self::Other
        } else if name.contains("bsd") {
            Self::Bsd
        } else if name.starts_with("win") || name.contains("windows") || name.contains("/win/") {
            Self::Windows
        } else {
            Self::Unknown
        }
    }

    /// The family of a CIM operating-system number, as OVF's `OperatingSystemSection` has it.
    pub fn of_cim(number: u32) -> Self {
        match number {
            36 | 79 | 80 | 82..=101 | 106..=109 => Self::Linux,
            41..=43 | 64 | 65 | 78 => Self::Bsd,
            15..=19 | 58 | 63 | 67 | 69..=74 | 76 | 77 | 103 | 105 | 111..=117 => Self::Windows,
            2..=14 | 20..=35 | 37..=40 | 44..=57 | 59..=62 | 66 | 68 | 75 | 81 | 104 | 110 => {
                Self::Other
            }
            _ => Self::Unknown,
        }
    }
}

impl GuestOs {
    /// What an identifier and a display name say together; the more telling one decides the
    /// family.
    pub fn named(id: Option<String>, name: Option<String>) -> Self {
        let family = [&id, &name]
            .into_iter()
            .flatten()
            .map(|text| OsFamily::of_name(text))
            .find(|family| *family != OsFamily::Unknown)
            .unwrap_or_default();
        Self { id, name, family }
    }

    /// VMware's identifier (`VirtualMachineGuestOsIdentifier` of the vSphere API): the machine's
    /// own where it is one, made from a VMX file's word where it is one, else the general one
    /// of the family, always of 64 bits.
    pub fn vmware_id(&self) -> String {
        let id = self.id.as_deref().unwrap_or_default();
        if id.ends_with("Guest") || id.ends_with("Guest64") {
            return id.to_owned();
        }
        if let Some(vmx) = id.strip_suffix("-64").and_then(of_vmx_word) {
            return vmx;
        }
        match self.family {
            OsFamily::Linux => "otherLinux64Guest",
            OsFamily::Windows => "windows9_64Guest",
            OsFamily::Bsd => "freebsd64Guest",
            OsFamily::Other | OsFamily::Unknown => "otherGuest64",
        }
        .to_owned()
    }

    /// The CIM number that an OVF file gives for it; 1 stands for other.
    pub fn cim_number(&self) -> u32 {
        let words = [self.id.as_deref(), self.name.as_deref()]
            .map(|text| text.unwrap_or_default().to_ascii_lowercase());
        let has = |part: &str| words.iter().any(|text| text.contains(part));
        match self.family {
            OsFamily::Linux => [
                ("ubuntu", 94),
                ("debian", 96),
                ("centos", 107),
                ("oracle", 109),
                ("rhel", 80),
                ("sles", 85),
                ("suse", 83),
            ]
            .into_iter()
            .find(|(part, _)| has(part))
            .map_or(101, |(_, number)| number),
            OsFamily::Bsd => 78,
            OsFamily::Unknown => 102,
            OsFamily::Windows | OsFamily::Other => 1,
        }
    }
}

/// VMware's API word for the word of a VMX file without its `-64`. Where the word ends in a
/// version the API sets a `_` before 64, else it does not.
fn of_vmx_word(word: &str) -> Option<String> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    if word == "other" {
        return Some("otherGuest64".to_owned());
    }
    if let Some(kernel) = word.strip_prefix("other").and_then(|rest| rest.strip_suffix("linux")) {
        return Some(format!("other{kernel}Linux64Guest"));
    }
    let word = word.replace("srvnext", "srvNext");
    let mark = if word.bytes().any(|byte| byte.is_ascii_digit()) { "_" } else { "" };
    Some(format!("{word}{mark}64Guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_all_dialects_tell_the_family() {
        for (id, family) in [
            ("debian12_64Guest", OsFamily::Linux),
            ("Ubuntu22_LTS_64", OsFamily::Linux),
            ("http://redhat.com/rhel/9.4", OsFamily::Linux),
            ("other5xlinux-64", OsFamily::Linux),
            ("windows2019srv-64", OsFamily::Windows),
            ("winNetEnterpriseGuest", OsFamily::Windows),
            ("Microsoft Windows Server 2022 (64-bit)", OsFamily::Windows),
            ("http://microsoft.com/win/11", OsFamily::Windows),
            ("darwin21_64Guest", OsFamily::Other),
            ("FreeBSD_64", OsFamily::Bsd),
            ("otherGuest64", OsFamily::Unknown),
            ("", OsFamily::Unknown),
        ] {
            assert_eq!(OsFamily::of_name(id), family, "{id}");
        }
        assert_eq!(OsFamily::of_cim(96), OsFamily::Linux);
        assert_eq!(OsFamily::of_cim(103), OsFamily::Windows);
        assert_eq!(OsFamily::of_cim(4_000_000_000), OsFamily::Unknown);
    }

    #[test]
    fn vmware_words_are_kept_or_made() {
        for (id, word) in [
            ("debian12_64Guest", "debian12_64Guest"),
            ("debian12-64", "debian12_64Guest"),
            ("ubuntu-64", "ubuntu64Guest"),
            ("other6xlinux-64", "other6xLinux64Guest"),
            ("windows2019srvnext-64", "windows2019srvNext_64Guest"),
            ("other-64", "otherGuest64"),
            ("Debian12_64", "otherLinux64Guest"),
            ("\"><x", "otherGuest64"),
        ] {
            let os = GuestOs::named(Some(id.into()), None);
            assert_eq!(os.vmware_id(), word, "{id}");
        }
        let os = GuestOs::named(None, Some("Debian GNU/Linux 12 (64-bit)".into()));
        assert_eq!((os.family, os.cim_number()), (OsFamily::Linux, 96));
    }
}
