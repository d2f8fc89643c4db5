//! What stands beside the disks: small files, each named only when whole.

use std::path::{Path, PathBuf};

use hyper_common::error::{Error, Result, ResultExt};
use hyper_common::fs::{Target as Place, write_small};
use hyper_common::image::{ImageFormat, ReadAt};
use hyper_common::package::artifact_manifest::{ArtifactManifest, ManifestFile};
use hyper_common::package::domain_xml::{DomainDisk, write_domain};
use hyper_common::package::machine_json::machine_json;
use hyper_common::transfer::{SumKind, Summer};

use crate::plan::{MachinePlan, PlannedDisk};
use crate::record::Artifact;

/// Largest firmware variables file that is carried over.
const LARGEST_NVRAM: u64 = 64 << 20;

/// A small file to be written.
#[derive(Debug)]
pub struct SmallFile {
    /// Its place.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is, as in [`Artifact::role`].
    pub role: &'static str,
}

impl SmallFile {
    /// Writes it under its final name. Where an earlier run is gone on with (`resumed`), the same
    /// bytes may be there already.
    ///
    /// # Errors
    /// `Conflict` where the name is taken and may not be replaced; `Io`.
    pub fn write(&self, overwrite: bool, resumed: bool) -> Result<Artifact> {
        let subject = || self.path.display().to_string();
        if resumed && self.is_there() {
            // A kill right after the naming leaves the lock.
            Place::new(&self.path)?.claim()?.discard();
        } else {
            write_small(&self.path, &self.bytes, overwrite)?;
        }
        let mut sum = Summer::new(SumKind::Sha256);
        sum.update(&self.bytes);
        Ok(Artifact {
            path: subject(),
            role: self.role,
            format: None,
            disk: None,
            size_bytes: self.bytes.len() as u64,
            checksum: Some(sum.finish().to_string()),
            verified: false,
        })
    }

    fn is_there(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|it| it.len() == self.bytes.len() as u64)
            && std::fs::read(&self.path).is_ok_and(|bytes| bytes == self.bytes)
    }
}

/// The bytes of a firmware variables file.
///
/// # Errors
/// `Integrity` where it is too large to be one; `Io`.
pub fn read_nvram(name: &str, file: &dyn ReadAt) -> Result<Vec<u8>> {
    if file.len() > LARGEST_NVRAM {
        return Err(Error::integrity("it is too large for firmware variables").with_subject(name));
    }
    let mut bytes = vec![0; file.len() as usize];
    let read = file.read_exact_at(&mut bytes, 0);
    read.map_err(|error| Error::io("read the firmware variables", error)).subject(|| name)?;
    Ok(bytes)
}

/// The file of the firmware variables, named in the machine's description.
pub fn nvram_file(plan: &mut MachinePlan, nvram: Option<(String, Vec<u8>)>) -> Option<SmallFile> {
    let Some((name, bytes)) = nvram else {
        plan.machine.firmware.nvram_file = None;
        return None;
    };
    let path = nvram_path(plan, &name);
    plan.machine.firmware.nvram_file =
        path.file_name().map(|file| file.to_string_lossy().into_owned());
    Some(SmallFile { path, bytes, role: "nvram" })
}

/// Where the firmware variables stand that the source calls `name`.
pub fn nvram_path(plan: &MachinePlan, name: &str) -> PathBuf {
    let suffix = Path::new(name).extension().map_or("nvram".into(), |s| s.to_string_lossy());
    plan.folder.join(format!("{}.{suffix}", plan.stem))
}

/// Where the neutral description stands.
pub fn machine_path(plan: &MachinePlan) -> PathBuf {
    plan.folder.join(format!("{}.machine.json", plan.stem))
}

/// Where the libvirt domain stands.
pub fn domain_path(plan: &MachinePlan) -> PathBuf {
    plan.folder.join(format!("{}.xml", plan.stem))
}

/// The neutral description of the machine.
///
/// # Errors
/// `Internal` where it cannot be serialised.
pub fn machine_file(plan: &MachinePlan) -> Result<SmallFile> {
    let json = machine_json(&plan.machine)?;
    Ok(SmallFile { path: machine_path(plan), bytes: json.into_bytes(), role: "machine" })
}

/// The libvirt domain that starts the machine from its disk images. Warnings go to the plan.
pub fn domain_file(plan: &mut MachinePlan) -> SmallFile {
    let folder = std::path::absolute(&plan.folder).unwrap_or_else(|_| plan.folder.clone());
    let disk = |disk: &PlannedDisk| DomainDisk {
        path: folder.join(&disk.file_name).display().to_string(),
        format: disk.plan.format,
    };
    let disks: Vec<_> = plan.disks.iter().map(disk).collect();
    let domain = write_domain(&plan.machine, &disks);
    plan.warnings.extend(domain.warnings);
    SmallFile { path: domain_path(plan), bytes: domain.text.into_bytes(), role: "domain" }
}

/// Where the Artifact Manifest stands.
pub fn manifest_path(plan: &MachinePlan) -> PathBuf {
    plan.folder.join(format!("{}.artifact-manifest.json", plan.stem))
}

/// The Artifact Manifest of what was written.
///
/// # Errors
/// `Internal` where it is not valid.
pub fn manifest_file(
    plan: &MachinePlan,
    provider: &str,
    vm_id: &str,
    artifacts: &[Artifact],
) -> Result<SmallFile> {
    let disks: Vec<_> = plan
        .disks
        .iter()
        .zip(artifacts.iter().filter(|artifact| artifact.disk.is_some()))
        .map(|(disk, artifact)| ManifestFile {
            id: disk.info.id.clone(),
            format: disk.plan.format,
            capacity_bytes: disk.plan.options.capacity,
            path: std::path::absolute(&artifact.path)
                .map_or_else(|_| artifact.path.clone(), |path| path.display().to_string()),
            checksum: artifact.checksum.clone(),
        })
        .collect();
    let manifest = ArtifactManifest::new(&plan.machine, provider, vm_id, &disks, &plan.warnings);
    let path = manifest_path(plan);
    Ok(SmallFile { path, bytes: manifest.to_json()?.into_bytes(), role: "manifest" })
}

/// How to start what was written, for a person.
pub fn how_to_start(plan: &MachinePlan) -> Vec<String> {
    let domain = domain_path(plan);
    let starts = plan
        .disks
        .iter()
        .all(|disk| matches!(disk.plan.format, ImageFormat::Qcow2 | ImageFormat::Raw));
    if !starts {
        return Vec::new();
    }
    vec![format!(
        "start it under KVM: virsh define {} && virsh start {}",
        shell_word(&domain.display().to_string()),
        shell_word(&plan.machine.name)
    )]
}

/// `text` as one word of a shell.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
