//! From an envelope to a machine: references, disks, the one virtual system.

use roxmltree::Node;

use super::dialect::Extras;
use super::hardware::{Hardware, HostResource};
use crate::error::{Error, Result};
use crate::image::ImageFormat;
use crate::package::description::{Description, DiskData, DiskFile, number_disks};
use crate::package::units;
use crate::package::xml::{attribute, child, children, number, text, with_document};
use crate::vm::{GuestOs, Machine, MachineDisk, OsFamily};

/// An OVF envelope's machine and the files it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfPackage {
    /// The machine and its disks' files.
    pub description: Description,
    /// All references, in order.
    pub files: Vec<OvfFile>,
}

/// A file that an envelope refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvfFile {
    /// Its identifier in the envelope.
    pub id: String,
    /// Its name.
    pub href: String,
    /// Its size in bytes, where the envelope tells. Some writers put the disk's capacity here.
    pub size: Option<u64>,
    /// How it is compressed as a whole (`gzip`), where it is.
    pub compression: Option<String>,
    /// Bytes per chunk, where it is cut in several files.
    pub chunk_size: Option<u64>,
}

/// One element of the disk section.
#[derive(Debug)]
struct Disk<'a> {
    id: &'a str,
    file: Option<&'a str>,
    capacity: Option<u64>,
    format: Option<ImageFormat>,
    parent: Option<&'a str>,
}

/// Reads an envelope. `system` picks one of several virtual systems by its `ovf:id` or name.
///
/// # Errors
/// `Integrity` for what is no envelope or contradicts itself; `Conflict` where several virtual
/// systems are there and none was picked, with their names as hints; `NotFound` where the picked
/// one is not there; `Unsupported` for disks in chunks, compressed files and delta disks.
pub fn read_ovf(bytes: &[u8], system: Option<&str>) -> Result<OvfPackage> {
    with_document(bytes, |document| {
        let envelope = document.root_element();
        if envelope.tag_name().name() != "Envelope" {
            let name = envelope.tag_name().name();
            return Err(Error::integrity(format!("it is no OVF envelope but <{name}>")));
        }
        let files = read_references(envelope)?;
        let disks = read_disks(envelope)?;
        let system = pick_system(envelope, system)?;
        let description = read_system(envelope, system, &files, &disks)?;
        Ok(OvfPackage { description, files })
    })
}

/// What kind of section an element is: its own name, or in the dialect of OVF 0.9 and oVirt
/// (`<Section xsi:type="ovf:DiskSection_Type">`) that of its type.
pub(super) fn kind<'a>(node: Node<'a, '_>) -> &'a str {
    match node.tag_name().name() {
        name @ ("Section" | "Content") => attribute(node, "type").map_or(name, |word| {
            let word = word.rsplit_once(':').map_or(word, |(_, local)| local);
            word.strip_suffix("_Type").unwrap_or(word)
        }),
        name => name,
    }
}

/// The child sections of a kind.
pub(super) fn sections<'a, 'i: 'a>(
    node: Node<'a, 'i>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |section| section.is_element() && kind(*section) == name)
}

fn read_references(envelope: Node<'_, '_>) -> Result<Vec<OvfFile>> {
    let references = children(envelope, "References").flat_map(|node| children(node, "File"));
    references
        .map(|node| {
            let missing = |what| Error::integrity(format!("a file reference has no {what}"));
            Ok(OvfFile {
                id: attribute(node, "id").ok_or_else(|| missing("id"))?.to_owned(),
                href: attribute(node, "href").ok_or_else(|| missing("href"))?.to_owned(),
                size: attribute(node, "size").and_then(|size| size.parse().ok()),
                compression: attribute(node, "compression")
                    .filter(|how| *how != "identity")
                    .map(str::to_owned),
                chunk_size: number(attribute(node, "chunkSize"), "a file's chunk size")?,
            })
        })
        .collect()
}

fn read_disks<'a>(envelope: Node<'a, '_>) -> Result<Vec<Disk<'a>>> {
    let nodes = sections(envelope, "DiskSection").flat_map(|node| children(node, "Disk"));
    let mut disks: Vec<Disk<'a>> = Vec::new();
    for node in nodes {
        let id = attribute(node, "diskId").unwrap_or_default();
        if disks.iter().any(|disk| disk.id == id) {
            return Err(Error::integrity(format!("two disks are called {id:?}")));
        }
        let unit = attribute(node, "capacityAllocationUnits");
        disks.push(Disk {
            id,
            file: attribute(node, "fileRef"),
            capacity: attribute(node, "capacity").and_then(|size| units::bytes_of(size, unit)),
            format: attribute(node, "format").and_then(format_of_uri),
            parent: attribute(node, "parentRef"),
        });
    }
    Ok(disks)
}

/// The image format that a disk's format URI stands for; the image's content decides, this only
/// tells what to expect.
fn format_of_uri(uri: &str) -> Option<ImageFormat> {
    let uri = uri.to_ascii_lowercase();
    [
        ("vmdk", ImageFormat::Vmdk),
        ("vhdx", ImageFormat::Vhdx),
        ("vhd", ImageFormat::Vhd),
        ("qcow", ImageFormat::Qcow2),
        ("vdi", ImageFormat::Vdi),
        ("raw", ImageFormat::Raw),
    ]
    .into_iter()
    .find(|(part, _)| uri.contains(part))
    .map(|(_, format)| format)
}

/// The virtual systems below a node, collections opened, in document order.
fn systems<'a, 'i>(envelope: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
    envelope
        .descendants()
        .filter(|node| node.is_element() && kind(*node) == "VirtualSystem")
        .collect()
}

fn pick_system<'a, 'i>(envelope: Node<'a, 'i>, wanted: Option<&str>) -> Result<Node<'a, 'i>> {
    let all = systems(envelope);
    let is = |node: &Node<'_, '_>, name: &str| {
        attribute(*node, "id") == Some(name) || system_name(*node) == Some(name)
    };
    if let Some(name) = wanted {
        return all.iter().copied().find(|node| is(node, name)).ok_or_else(|| {
            with_candidates(Error::not_found(format!("it holds no virtual system {name:?}")), &all)
        });
    }
    match all[..] {
        [] => Err(Error::integrity("it describes no virtual system")),
        [only] => Ok(only),
        _ => {
            let count = all.len();
            Err(with_candidates(Error::conflict(format!("it holds {count} virtual systems")), &all))
        }
    }
}

fn with_candidates(error: Error, all: &[Node<'_, '_>]) -> Error {
    let names: Vec<&str> = all.iter().take(20).filter_map(|node| system_name(*node)).collect();
    error.with_hint(format!("name one of them as FILE#NAME: {}", names.join(", ")))
}

fn system_name<'a>(system: Node<'a, '_>) -> Option<&'a str> {
    text(system, "Name").or_else(|| attribute(system, "id"))
}

fn read_system(
    envelope: Node<'_, '_>,
    system: Node<'_, '_>,
    files: &[OvfFile],
    disks: &[Disk<'_>],
) -> Result<Description> {
    let mut notes = Vec::new();
    let mut hardware = Hardware::read(envelope, system, &mut notes)?;
    let extras = Extras::read(system, files);
    super::boot::order(system, &mut hardware);
    let mut machine = Machine {
        name: system_name(system).unwrap_or("machine").to_owned(),
        uuid: extras.uuid,
        cpus: hardware.cpus,
        memory_bytes: hardware.memory_bytes,
        firmware: extras.firmware,
        os: read_os(system),
        controllers: hardware.controllers.0,
        nics: hardware.nics,
        tpm: hardware.tpm || extras.tpm,
        annotation: read_annotation(system),
        ..Machine::default()
    };
    if machine.tpm {
        notes.push("the state of its TPM cannot be carried over".to_owned());
    }
    let mut disk_files = Vec::new();
    for item in hardware.disks {
        let (file, capacity) = find_disk(&item.host, files, disks, item.label.as_deref())?;
        machine.disks.push(MachineDisk {
            id: String::new(),
            label: item.label,
            capacity_bytes: capacity,
            controller: item.controller,
            unit: item.unit,
            file: match &file.data {
                DiskData::File(name) => Some(name.clone()),
                DiskData::Blank => None,
            },
        });
        disk_files.push(file);
    }
    note_unused(disks, &disk_files, files, &mut notes);
    number_disks(&mut machine);
    Ok(Description { machine, disks: disk_files, notes })
}

/// The file and the capacity of a disk drive.
fn find_disk(
    host: &HostResource,
    files: &[OvfFile],
    disks: &[Disk<'_>],
    label: Option<&str>,
) -> Result<(DiskFile, u64)> {
    let label = label.unwrap_or("a disk drive");
    let missing =
        |what: &str| Error::integrity(format!("{label} refers to {what}, which is not there"));
    let disk = match host {
        HostResource::Disk(id) => {
            Some(disks.iter().find(|disk| disk.id == id).ok_or_else(|| missing(id))?)
        }
        HostResource::File(id) => disks.iter().find(|disk| disk.file == Some(id.as_str())),
        HostResource::Other(path) => {
            Some(by_any_name(path, files, disks).ok_or_else(|| missing(path))?)
        }
    };
    if let Some(parent) = disk.and_then(|disk| disk.parent) {
        return Err(Error::unsupported(format!(
            "{label} only holds the differences to the disk {parent:?}"
        ))
        .with_hint("export the machine without snapshots"));
    }
    let reference = match (host, disk) {
        (HostResource::File(id), _) => Some(id.as_str()),
        (_, Some(disk)) => disk.file,
        (_, None) => None,
    };
    let capacity = disk.and_then(|disk| disk.capacity);
    let format = disk.and_then(|disk| disk.format);
    let Some(reference) = reference else {
        let capacity = capacity.filter(|bytes| *bytes > 0);
        let capacity = capacity
            .ok_or_else(|| Error::integrity(format!("{label} has neither a file nor a size")))?;
        return Ok((DiskFile { data: DiskData::Blank, format: None, size: None }, capacity));
    };
    let file = files.iter().find(|file| file.id == reference).ok_or_else(|| missing(reference))?;
    refuse_wrapped(file)?;
    let data = DiskData::File(file.href.clone());
    Ok((DiskFile { data, format, size: file.size }, capacity.unwrap_or(0)))
}

fn refuse_wrapped(file: &OvfFile) -> Result<()> {
    let name = &file.href;
    if let Some(how) = &file.compression {
        return Err(Error::unsupported(format!("the disk file {name:?} is compressed ({how})"))
            .with_hint("decompress it and take its compression attribute out of the OVF"));
    }
    if file.chunk_size.is_some() {
        return Err(Error::unsupported(format!("the disk file {name:?} is cut into chunks"))
            .with_hint("join the chunks and take its chunkSize attribute out of the OVF"));
    }
    Ok(())
}

/// oVirt names a disk by a path whose parts are identifiers of the image.
fn by_any_name<'d, 'a>(
    path: &str,
    files: &[OvfFile],
    disks: &'d [Disk<'a>],
) -> Option<&'d Disk<'a>> {
    let names = |disk: &Disk<'_>, part: &str| {
        let href = files.iter().find(|file| Some(file.id.as_str()) == disk.file);
        disk.id == part || disk.file == Some(part) || href.is_some_and(|file| file.href == part)
    };
    let parts = || std::iter::once(path).chain(path.rsplit('/'));
    parts().find_map(|part| disks.iter().find(|disk| names(disk, part)))
}

/// Disks that no drive of the machine uses: never dropped without a word.
fn note_unused(disks: &[Disk<'_>], used: &[DiskFile], files: &[OvfFile], notes: &mut Vec<String>) {
    for disk in disks {
        let Some(file) = files.iter().find(|file| Some(file.id.as_str()) == disk.file) else {
            continue;
        };
        if !used.iter().any(|one| matches!(&one.data, DiskData::File(name) if *name == file.href)) {
            let name = &file.href;
            notes.push(format!("the package's disk file {name:?} belongs to no drive of it"));
        }
    }
}

fn read_os(system: Node<'_, '_>) -> GuestOs {
    let Some(section) = sections(system, "OperatingSystemSection").next() else {
        return GuestOs::default();
    };
    let description = text(section, "Description");
    // VMware's attribute, else VirtualBox's element: both more exact than the CIM number.
    let id = attribute(section, "osType").or_else(|| text(section, "OSType"));
    let number = attribute(section, "id").and_then(|id| id.parse::<u32>().ok());
    let fallback = number.map(|number| format!("cim:{number}"));
    let mut os = GuestOs::named(id.map(str::to_owned).or(fallback), description.map(str::to_owned));
    if os.family == OsFamily::Unknown {
        os.family = number.map(OsFamily::of_cim).unwrap_or_default();
    }
    os
}

fn read_annotation(system: Node<'_, '_>) -> Option<String> {
    let section = sections(system, "AnnotationSection").next()?;
    text(section, "Annotation").map(str::to_owned)
}

/// The first child of a kind; for the modules that read below a system.
pub(super) fn section<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    child(node, name).or_else(|| node.children().find(|one| one.is_element() && kind(*one) == name))
}
