//! Packages and machine descriptions. What was read must be fit to be written again.
#![expect(clippy::unwrap_used, reason = "a fault is told by a panic")]

use bytes::Bytes;
use hyper_common::image::ImageFormat;
use hyper_common::package::Description;
use hyper_common::package::artifact_manifest::ArtifactManifest;
use hyper_common::package::domain_xml::{DomainDisk, read_domain, write_domain};
use hyper_common::package::machine_json::machine_json;
use hyper_common::package::manifest::Manifest;
use hyper_common::package::ova::{
    PackageCompression, Passing, find_members, first_member, unpacker,
};
use hyper_common::package::ovf::{OvfDisk, OvfFiles, pad, read_ovf, reserved_len, write_ovf};
use hyper_common::package::vmx::read_vmx;
use hyper_common::vm::MachineDisk;

/// Largest first member that is read whole.
const MOST_FIRST: u64 = 1 << 20;

pub fn ova(input: &[u8]) {
    tar(input);
    tar(&with_sums(input));
    if let Some(compression) = PackageCompression::detect(input)
        && let Ok(mut plain) = unpacker(compression, input)
    {
        let _ = first_member(&mut plain, MOST_FIRST);
    }
}

/// The archive with the checksum of every header made right, which no mutation would ever hit.
fn with_sums(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    bytes
}

fn tar(input: &[u8]) {
    let file = Bytes::copy_from_slice(input);
    let found = find_members(&file);
    if let Ok(members) = &found {
        let mut at = 0;
        for member in members {
            assert!(at <= member.range.start && member.range.start <= member.range.end);
            at = member.range.end;
            let plain = |part: &str| !matches!(part, "" | "." | "..");
            assert!(member.name.split('/').all(plain), "the name {:?}", member.name);
        }
        assert!(at <= input.len() as u64, "a member beyond the file");
    }
    let mut passing = Passing::new(input);
    let mut passed = Vec::new();
    while let Ok(Some(member)) = passing.next_member() {
        passed.push(member);
    }
    if let Ok(members) = &found {
        assert!(members.starts_with(&passed), "another member in passing than in place");
    }
    let mut reader = input;
    let first = first_member(&mut reader, MOST_FIRST);
    if let (Ok(members), Ok((member, bytes))) = (&found, &first) {
        assert_eq!(members.first(), Some(member), "found in place and read in passing");
        let range = member.range.start as usize..member.range.end as usize;
        assert!(input.get(range) == Some(bytes), "another content of {:?}", member.name);
    }
}

pub fn ovf(input: &[u8]) {
    if let Ok(package) = read_ovf(input, None) {
        write_again(&package.description);
    }
}

pub fn vmx(input: &[u8]) {
    if let Ok(description) = read_vmx(input, "machine") {
        write_again(&description);
    }
}

pub fn domain_xml(input: &[u8]) {
    if let Ok(description) = read_domain(input) {
        write_again(&description);
    }
}

/// Whatever a stranger's description says, ours of the same machine can be read.
fn write_again(description: &Description) {
    let machine = &description.machine;
    assert_eq!(machine.disks.len(), description.disks.len(), "one file for each disk");
    machine_json(machine).unwrap();
    // The files are those that an export has written: their names are ours.
    let disks: Vec<_> = (0..machine.disks.len())
        .map(|number| DomainDisk {
            path: format!("/srv/{number}.qcow2"),
            format: ImageFormat::Qcow2,
        })
        .collect();
    let domain = read_domain(write_domain(machine, &disks).text.as_bytes()).unwrap();
    assert_eq!(domain.machine.disks.len(), disks.len(), "the disks of the domain");
    let disk = |(number, disk): (usize, &MachineDisk)| OvfDisk {
        file: format!("{number}.vmdk"),
        size: number as u64,
        capacity: disk.capacity_bytes,
        populated: None,
        format: ImageFormat::Vmdk,
        variant: None,
    };
    let files =
        OvfFiles { disks: machine.disks.iter().enumerate().map(disk).collect(), nvram: None };
    let envelope = write_ovf(machine, &files).unwrap();
    let padded = pad(envelope, reserved_len(machine, &files).unwrap()).unwrap();
    let again = read_ovf(padded.as_bytes(), None).unwrap().description;
    assert_eq!(again.machine.disks.len(), disks.len(), "the disks of the envelope");
    assert_eq!(again.machine.nics.len(), machine.nics.len(), "the adapters of the envelope");
}

pub fn manifest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(manifest) = Manifest::parse(text) else { return };
    for entry in &manifest.entries {
        assert!(manifest.digest_of(&entry.name).is_some());
    }
    assert_eq!(Manifest::parse(&manifest.to_text()).unwrap(), manifest);
}

pub fn artifact_manifest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(manifest) = ArtifactManifest::parse(text) else { return };
    assert_eq!(ArtifactManifest::parse(&manifest.to_json().unwrap()).unwrap(), manifest);
}
