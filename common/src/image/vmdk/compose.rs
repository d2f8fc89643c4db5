//! Writing the text descriptor, in the form and with the entries that VMware's tools write.

use super::header::SECTOR;
use crate::image::WriteOptions;

/// Content ids from here on have a meaning of their own (no parent; see the long id).
const CID_RESERVED: u32 = 0xffff_fffe;

/// The descriptor of a monolithicFlat disk whose bytes are in the file `flat_name` beside it.
/// Same options, same text.
pub fn flat_descriptor(options: &WriteOptions, flat_name: &str) -> String {
    compose(options, "monolithicFlat", &format!("FLAT \"{}\" 0", quotable(flat_name)))
}

/// The descriptor inside a sparse file.
pub(super) fn embedded_descriptor(options: &WriteOptions, create_type: &str) -> String {
    compose(options, create_type, &format!("SPARSE \"{}\"", quotable(&options.file_name)))
}

fn compose(options: &WriteOptions, create_type: &str, extent: &str) -> String {
    let sectors = options.capacity.div_ceil(SECTOR);
    let (heads, per_track) = geometry(options.capacity);
    let cylinders = (sectors / u64::from(heads * per_track)).clamp(1, 65_535);
    let cid = content_id(&options.seed);
    let long_id: String = options.seed[4..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         encoding=\"UTF-8\"\n\
         CID={cid:08x}\n\
         parentCID=ffffffff\n\
         createType=\"{create_type}\"\n\
         \n\
         # Extent description\n\
         RW {sectors} {extent}\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{per_track}\"\n\
         ddb.longContentID = \"{long_id}{cid:08x}\"\n\
         ddb.virtualHWVersion = \"4\"\n"
    )
}

/// Heads and sectors per track as the BIOS of a SCSI adapter has them for a disk of that size.
fn geometry(capacity: u64) -> (u32, u32) {
    match capacity >> 30 {
        0 => (64, 32),
        1 => (128, 32),
        _ => (255, 63),
    }
}

fn content_id(seed: &[u8; 32]) -> u32 {
    let cid = u32::from_be_bytes([seed[0], seed[1], seed[2], seed[3]]);
    if cid >= CID_RESERVED || cid == 0 { cid ^ 0x5a5a_5a5a } else { cid }
}

/// A file name that cannot end its quotes or its line: the descriptor knows no escapes.
fn quotable(name: &str) -> String {
    name.chars().map(|c| if c == '"' || c.is_control() { '_' } else { c }).collect()
}
