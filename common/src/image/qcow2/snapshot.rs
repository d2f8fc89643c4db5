//! The table of internal snapshots. They are named in `info` and counted by `check`; their
//! contents are not read.

use super::header::{Header, L1_MAX, be16, be32, be64};
use crate::image::{ImageError, ReadAt};

/// Most snapshots that qemu reads.
const SNAPSHOTS_MAX: u32 = 65_536;
/// Bytes of the largest snapshot table that qemu reads.
const TABLE_MAX: u64 = 64 << 20;
/// Bytes of a name that are kept.
const NAME_KEPT: usize = 64;

/// One snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its name, shortened.
    pub name: String,
    /// File offset of its L1 table.
    pub l1_offset: u64,
    /// Entries of its L1 table.
    pub l1_size: u64,
}

/// Reads the table; with it, the bytes that it takes.
///
/// # Errors
/// [`ImageError::Corrupt`] or [`ImageError::Truncated`].
pub fn read_snapshots(
    file: &dyn ReadAt,
    header: &Header,
) -> Result<(Vec<Snapshot>, u64), ImageError> {
    if header.snapshots > SNAPSHOTS_MAX {
        return Err(ImageError::corrupt(format!("{} internal snapshots", header.snapshots)));
    }
    let mut found = Vec::new();
    let mut len = 0u64;
    for _ in 0..header.snapshots {
        let mut fixed = [0; 40];
        let at = header.snapshots_offset.saturating_add(len);
        read(file, &mut fixed, at)?;
        let (id_len, name_len) = (be16(&fixed, 12), be16(&fixed, 14));
        let before_name = 40 + u64::from(be32(&fixed, 36)) + u64::from(id_len);
        let mut name = vec![0; usize::from(name_len).min(NAME_KEPT)];
        read(file, &mut name, at.saturating_add(before_name))?;
        let l1_size = u64::from(be32(&fixed, 8));
        if l1_size > L1_MAX {
            return Err(ImageError::corrupt(format!("a snapshot's L1 table of {l1_size} entries")));
        }
        found.push(Snapshot {
            name: String::from_utf8_lossy(&name).into_owned(),
            l1_offset: be64(&fixed, 0),
            l1_size,
        });
        len += (before_name + u64::from(name_len)).next_multiple_of(8);
        if len > TABLE_MAX {
            return Err(ImageError::corrupt("the snapshot table is too large"));
        }
    }
    header.region(
        "the snapshot table",
        header.snapshots_offset,
        len,
        file.len().next_multiple_of(8),
    )?;
    Ok((found, len))
}

fn read(file: &dyn ReadAt, buf: &mut [u8], at: u64) -> Result<(), ImageError> {
    file.read_exact_at(buf, at).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated("the snapshot table reaches past the end of the file".to_owned())
        }
        _ => ImageError::Io(error),
    })
}
