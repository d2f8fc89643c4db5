//! Opening a disk: from the file in hand to the extents it names and the images it stands on.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::descriptor::{DESCRIPTOR_MAX, Descriptor, ExtentKind, ExtentLine};
use super::disk::Disk;
use super::header::{COWD_MAGIC, Header, SECTOR, SESPARSE_MAGIC, SPARSE_MAGIC};
use super::layer::{Layer, Segment, SegmentBody};
use super::shelf::Shelf;
use super::sparse::{Head, Sparse};
use crate::image::{Image, ImageError, ReadAt, Siblings};

/// Most images in a chain. VMware allows 32 snapshots, linked clones add some.
const CHAIN_MAX: usize = 128;

/// Opens the disk in `file`. Extents and the images below are opened through `folder`, and those
/// that they name through their own folders.
///
/// # Errors
/// [`ImageError::Corrupt`] and [`ImageError::Truncated`] for damage, a chain without end and an
/// image below that was changed; [`ImageError::Unsupported`] for encrypted disks, raw devices,
/// SESPARSE snapshots and single pieces of a disk; [`ImageError::Outside`] where `folder`
/// refuses a file.
pub fn open(
    file: Arc<dyn ReadAt>,
    folder: Arc<dyn Siblings>,
) -> Result<Box<dyn Image>, ImageError> {
    let mut layers = Vec::new();
    let mut seen = HashSet::new();
    let mut next = Some((file, folder, String::new(), None));
    while let Some((file, folder, name, wanted)) = next.take() {
        if layers.len() == CHAIN_MAX {
            let text = format!("more than {CHAIN_MAX} images stand on each other");
            return Err(ImageError::corrupt(text));
        }
        let (layer, descriptor) =
            open_layer(file, &folder, name).map_err(|error| within(&layers, error))?;
        if let (Some(wanted), found) = (wanted, descriptor.cid)
            && found != Some(wanted)
        {
            return Err(ImageError::corrupt(format!(
                "{} was changed after the disk that stands on it was made: its content id is \
                 {:08x} instead of {wanted:08x}",
                layer.name,
                found.unwrap_or_default()
            )));
        }
        if let Some(parent) = descriptor.parent_cid {
            let hint = descriptor.parent_hint.clone().ok_or_else(|| {
                ImageError::corrupt("the disk stands on another, but does not say which")
            })?;
            let below = folder.open(&hint)?;
            next = Some((below.file, below.folder, below.name, Some(parent)));
        }
        layers.push(layer);
        // Two images of one chain never say the same: each names its own files and parent.
        if !seen.insert(fingerprint(&descriptor)) {
            return Err(ImageError::corrupt("the images stand on each other in a circle"));
        }
    }
    Ok(Box::new(Disk { layers }))
}

fn fingerprint(descriptor: &Descriptor) -> u64 {
    let mut hasher = DefaultHasher::new();
    descriptor.hash(&mut hasher);
    hasher.finish()
}

/// Says in which image of the chain something is wrong.
fn within(above: &[Layer], error: ImageError) -> ImageError {
    match error {
        ImageError::Corrupt(text) if !above.is_empty() => {
            ImageError::Corrupt(format!("an image below: {text}"))
        }
        other => other,
    }
}

fn open_layer(
    file: Arc<dyn ReadAt>,
    folder: &Arc<dyn Siblings>,
    name: String,
) -> Result<(Layer, Descriptor), ImageError> {
    let mut magic = vec![0; file.len().min(8) as usize];
    file.read_exact_at(&mut magic, 0)?;
    if magic.starts_with(&SPARSE_MAGIC) {
        return open_embedded(file, folder, name);
    }
    if magic.starts_with(&COWD_MAGIC) || magic.starts_with(&SESPARSE_MAGIC) {
        return Err(ImageError::unsupported(
            "this file is one piece of an ESXi disk; open the text descriptor that names it",
        ));
    }
    let raw = read_text(&*file, 0, file.len())?;
    if !super::descriptor::looks_like_descriptor(&raw) {
        return Err(ImageError::corrupt("neither a VMDK nor the descriptor of one"));
    }
    let descriptor = Descriptor::parse(&raw)?;
    let layer = from_text(&descriptor, folder, name)?;
    Ok((layer, descriptor))
}

/// A sparse extent that holds its own descriptor.
fn open_embedded(
    file: Arc<dyn ReadAt>,
    folder: &Arc<dyn Siblings>,
    name: String,
) -> Result<(Layer, Descriptor), ImageError> {
    let head = Head::read(&*file)?;
    let Head::Hosted(header) = &head else {
        return Err(ImageError::corrupt("not a sparse extent of a VMDK"));
    };
    let descriptor = embedded_descriptor(&*file, header)?;
    refuse_what_is_no_image(&descriptor)?;
    if header.capacity == 0 && descriptor.sectors()? > 0 {
        let layer = from_text(&descriptor, folder, name)?;
        return Ok((layer, descriptor));
    }
    let mut remarks = Vec::new();
    let sectors = descriptor.sectors()?;
    if descriptor.extents.len() > 1 {
        return Err(ImageError::unsupported(
            "this file is one piece of a disk; open the descriptor that names all of them",
        ));
    }
    if sectors != header.capacity && sectors != 0 {
        remarks
            .push(format!("the header says {} sectors, the descriptor {sectors}", header.capacity));
    }
    let sparse = Sparse::open(file, label(&name), head)?;
    let body = SegmentBody::Sparse(Box::new(sparse));
    let range = 0..header_capacity(&body);
    let segments = if range.is_empty() { Vec::new() } else { vec![Segment { range, body }] };
    let mut layer = layer_of(&descriptor, name, segments);
    layer.files.clear();
    layer.remarks = remarks;
    if descriptor.create_type.is_empty() {
        layer.create_type = "streamOptimized".to_owned();
    }
    Ok((layer, descriptor))
}

fn header_capacity(body: &SegmentBody) -> u64 {
    if let SegmentBody::Sparse(extent) = body { extent.capacity } else { 0 }
}

/// The descriptor inside a sparse extent. A stream may do without one; any other extent without
/// (or with nothing in the room for it) is a piece of a larger disk, which read alone would be
/// wrong.
fn embedded_descriptor(file: &dyn ReadAt, header: &Header) -> Result<Descriptor, ImageError> {
    let place =
        header.descriptor.checked_mul(SECTOR).zip(header.descriptor_len.checked_mul(SECTOR));
    let (at, len) = place
        .filter(|(at, len)| at.checked_add(*len).is_some_and(|end| end <= file.len()))
        .ok_or_else(|| ImageError::Truncated("the file ends inside its descriptor".into()))?;
    let len = if at == 0 { 0 } else { len };
    let descriptor = Descriptor::parse(&read_text(file, at, len)?)?;
    if descriptor.extents.is_empty() && !header.compressed {
        return Err(ImageError::unsupported(
            "this file is one piece of a disk; open the text descriptor that names it",
        ));
    }
    Ok(descriptor)
}

fn read_text(file: &dyn ReadAt, at: u64, len: u64) -> Result<Vec<u8>, ImageError> {
    if len > DESCRIPTOR_MAX as u64 {
        return Err(ImageError::corrupt("neither a VMDK nor a descriptor of at most 4 MiB"));
    }
    let mut raw = vec![0; len as usize];
    file.read_exact_at(&mut raw, at)?;
    Ok(raw)
}

fn refuse_what_is_no_image(descriptor: &Descriptor) -> Result<(), ImageError> {
    if let Some(sign) = &descriptor.encryption {
        return Err(ImageError::unsupported(format!("the disk is encrypted ({sign})")));
    }
    match descriptor.create_type.as_str() {
        "fullDevice"
        | "partitionedDevice"
        | "vmfsRaw"
        | "vmfsRDM"
        | "vmfsRawDeviceMap"
        | "vmfsRDMP"
        | "vmfsPassthroughRawDeviceMap" => Err(ImageError::unsupported(format!(
            "a raw device ({}), not an image",
            descriptor.create_type
        ))),
        "seSparse" => Err(ImageError::unsupported(
            "a space-efficient (seSparse) snapshot of ESXi; consolidate it first",
        )),
        _ => Ok(()),
    }
}

/// The disk that a text descriptor makes of the files it names.
fn from_text(
    descriptor: &Descriptor,
    folder: &Arc<dyn Siblings>,
    name: String,
) -> Result<Layer, ImageError> {
    refuse_what_is_no_image(descriptor)?;
    descriptor.sectors()?;
    if descriptor.extents.is_empty() {
        return Err(ImageError::corrupt("the VMDK descriptor names no extent"));
    }
    let shelf = Shelf::new(folder.clone(), descriptor.extents.len());
    let mut segments = Vec::with_capacity(descriptor.extents.len());
    let mut at = 0;
    for line in descriptor.extents.iter().filter(|line| line.sectors > 0) {
        let range = at..at + line.sectors * SECTOR;
        at = range.end;
        let body = open_extent(line, &shelf)?;
        segments.push(Segment { range, body });
    }
    Ok(layer_of(descriptor, name, segments))
}

fn open_extent(line: &ExtentLine, shelf: &Arc<Shelf>) -> Result<SegmentBody, ImageError> {
    let len = line.sectors * SECTOR;
    match line.kind {
        ExtentKind::Zero => Ok(SegmentBody::Zero),
        ExtentKind::Flat => {
            let file = shelf.file(&line.file)?;
            let offset = line.offset.checked_mul(SECTOR);
            let end = offset.and_then(|offset| offset.checked_add(len));
            match offset.zip(end) {
                Some((offset, end)) if end <= file.len() => Ok(SegmentBody::Flat(file, offset)),
                _ => Err(ImageError::Truncated(format!(
                    "{} holds {} bytes, but the descriptor counts on {} sectors from {} on",
                    line.file,
                    file.len(),
                    line.sectors,
                    line.offset
                ))),
            }
        }
        ExtentKind::Sparse => {
            let file = shelf.file(&line.file)?;
            let named = |error| match error {
                ImageError::Corrupt(text) => ImageError::Corrupt(format!("{}: {text}", line.file)),
                other => other,
            };
            let head = Head::read(&*file).map_err(named)?;
            let extent = Sparse::open(file, label(&line.file), head)?;
            // A header may round up to a whole grain; anything else is another file's.
            if extent.capacity < len || extent.capacity - len >= extent.grain {
                return Err(ImageError::corrupt(format!(
                    "{} holds {} sectors, but the descriptor says {}",
                    line.file,
                    extent.capacity / SECTOR,
                    line.sectors
                )));
            }
            Ok(SegmentBody::Sparse(Box::new(extent)))
        }
    }
}

fn layer_of(descriptor: &Descriptor, name: String, segments: Vec<Segment>) -> Layer {
    let files = descriptor.extents.iter().map(|line| line.file.clone());
    Layer {
        name,
        create_type: match descriptor.create_type.as_str() {
            "" => "custom".to_owned(),
            named => named.to_owned(),
        },
        cid: descriptor.cid,
        parent_hint: descriptor.parent_cid.and(descriptor.parent_hint.clone()),
        files: files.filter(|file| !file.is_empty()).collect(),
        database: descriptor.database.clone(),
        remarks: Vec::new(),
        segments,
    }
}

fn label(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}: ") }
}
