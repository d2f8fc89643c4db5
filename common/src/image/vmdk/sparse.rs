//! One sparse extent: where its directory, its tables and its grains are.

use std::ops::Range;
use std::sync::Arc;

use super::header::{
    AT_END, COWD_MAGIC, CowdHeader, Header, Marker, SECTOR, SECTOR_LEN, SESPARSE_MAGIC,
    SPARSE_MAGIC, entries, stream_max,
};
use crate::image::{Frame, ImageError, ReadAt};

/// How far from the end of a file a footer is looked for: some tools pad.
const FOOTER_REACH: u64 = 64 << 10;

/// A sparse extent, hosted (`KDMV`) or ESX (`COWD`).
#[derive(Debug)]
pub(super) struct Sparse {
    /// The file.
    pub file: Arc<dyn ReadAt>,
    /// The file's name and a colon in front of messages; empty for the image's own file.
    pub label: String,
    /// Guest bytes.
    pub capacity: u64,
    /// Guest bytes of a grain.
    pub grain: u64,
    /// Entries of a grain table.
    pub table_len: u64,
    /// File offset of the directory.
    pub directory: u64,
    /// File offset of the redundant directory.
    pub redundant: Option<u64>,
    /// How grains are stored.
    pub packing: Packing,
    /// An entry of 1 stands for zeros.
    pub has_zeroed: bool,
    /// The directory follows the grains, behind a footer.
    pub has_footer: bool,
    /// The writer did not close the file.
    pub unclean: bool,
    /// Bytes before which no grain can be.
    pub header_len: u64,
    /// Reads the markers of compressed grains.
    pub grains: Arc<Grains>,
}

/// How grains are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As they are.
    None,
    /// As zlib streams, each behind a marker.
    Marked,
    /// As zlib streams whose length is not told.
    Unmarked,
}

/// What a table says of a grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Not in this extent: the image below says.
    Absent,
    /// Reads as zero.
    Zeroed,
    /// At this file offset.
    At(u64),
}

/// What the first bytes of an extent's file say it is.
#[derive(Debug)]
pub(super) enum Head {
    /// A hosted sparse extent.
    Hosted(Header),
    /// An ESX sparse extent.
    Cowd(CowdHeader),
}

impl Head {
    /// Reads the header of `file`, which must be a sparse extent.
    pub(super) fn read(file: &dyn ReadAt) -> Result<Self, ImageError> {
        let mut raw = vec![0; file.len().min(CowdHeader::LEN as u64) as usize];
        file.read_exact_at(&mut raw, 0)?;
        if raw.starts_with(&SPARSE_MAGIC) {
            return Ok(Self::Hosted(Header::parse(&raw)?));
        }
        if raw.starts_with(&COWD_MAGIC) {
            return Ok(Self::Cowd(CowdHeader::parse(&raw)?));
        }
        if raw.starts_with(&SESPARSE_MAGIC) {
            let text = "a space-efficient (SESPARSE) snapshot of ESXi; consolidate it first";
            return Err(ImageError::unsupported(text));
        }
        Err(ImageError::corrupt("not a sparse extent of a VMDK"))
    }
}

impl Sparse {
    /// Opens the sparse extent in `file`. `label` goes in front of messages.
    pub(super) fn open(
        file: Arc<dyn ReadAt>,
        label: String,
        head: Head,
    ) -> Result<Self, ImageError> {
        let extent = match head {
            Head::Hosted(header) if header.directory == AT_END => {
                let footer = find_footer(&*file)?;
                if (footer.capacity, footer.grain, footer.table_len)
                    != (header.capacity, header.grain, header.table_len)
                {
                    return Err(ImageError::corrupt("the VMDK footer contradicts the header"));
                }
                Self { has_footer: true, ..Self::hosted(file, label, &footer)? }
            }
            Head::Hosted(header) => Self::hosted(file, label, &header)?,
            Head::Cowd(header) => Self::cowd(file, label, &header)?,
        };
        extent.check_directory(extent.directory)?;
        Ok(extent)
    }

    fn hosted(file: Arc<dyn ReadAt>, label: String, header: &Header) -> Result<Self, ImageError> {
        let packing = match (header.compressed, header.markers) {
            (false, _) => Packing::None,
            (true, true) => Packing::Marked,
            (true, false) => Packing::Unmarked,
        };
        let redundant = header.has_redundant && header.redundant != 0;
        let grain = header.grain_bytes();
        Ok(Self {
            grains: Grains::of(&*file, &label, grain),
            file,
            label,
            capacity: header.capacity * SECTOR,
            grain,
            table_len: u64::from(header.table_len),
            directory: bytes_of(header.directory)?,
            redundant: if redundant { Some(bytes_of(header.redundant)?) } else { None },
            packing,
            has_zeroed: header.has_zeroed,
            has_footer: false,
            unclean: header.unclean,
            header_len: SECTOR,
        })
    }

    fn cowd(file: Arc<dyn ReadAt>, label: String, header: &CowdHeader) -> Result<Self, ImageError> {
        let grain = header.grain * SECTOR;
        Ok(Self {
            grains: Grains::of(&*file, &label, grain),
            file,
            label,
            capacity: header.capacity * SECTOR,
            grain,
            table_len: u64::from(CowdHeader::TABLE_LEN),
            directory: bytes_of(header.directory)?,
            redundant: None,
            packing: Packing::None,
            has_zeroed: false,
            has_footer: false,
            unclean: header.unclean,
            header_len: CowdHeader::LEN as u64,
        })
    }

    /// A directory must lie in the file as a whole, so that its length is bounded by the file's.
    pub(super) fn check_directory(&self, at: u64) -> Result<(), ImageError> {
        let end = self.tables().checked_mul(4).and_then(|len| at.checked_add(len));
        if end.is_none_or(|end| end > self.file.len()) {
            let text = format!("{}the file ends before its grain directory does", self.label);
            return Err(ImageError::Truncated(text));
        }
        if self.tables() > 0 && at < self.header_len {
            let text = format!("{}the grain directory lies inside the header", self.label);
            return Err(ImageError::corrupt(text));
        }
        Ok(())
    }

    /// Grains of the extent.
    pub(super) fn grains(&self) -> u64 {
        self.capacity.div_ceil(self.grain)
    }

    /// Entries of the directory.
    pub(super) fn tables(&self) -> u64 {
        self.grains().div_ceil(self.table_len)
    }

    /// Guest bytes that a whole table covers.
    pub(super) fn span(&self) -> u64 {
        self.grain * self.table_len
    }

    /// Largest guest run of one compressed grain.
    pub(super) fn packed_unit(&self) -> Option<u32> {
        (self.packing != Packing::None).then_some(u32::try_from(self.grain).ok()).flatten()
    }

    /// Entries of table `number` that stand for a part of the disk.
    pub(super) fn used_entries(&self, number: u64) -> usize {
        let before = number.saturating_mul(self.table_len);
        self.grains().saturating_sub(before).min(self.table_len) as usize
    }

    /// Reads `count` entries at `at`.
    pub(super) fn read_entries(
        &self,
        at: u64,
        count: usize,
        what: &str,
        into: &mut Vec<u32>,
    ) -> Result<(), ImageError> {
        let mut raw = vec![0; count * 4];
        let end = at.checked_add(raw.len() as u64);
        if end.is_none_or(|end| end > self.file.len()) {
            let text = format!("{}the file ends before {what} at byte {at} does", self.label);
            return Err(ImageError::Truncated(text));
        }
        self.file.read_exact_at(&mut raw, at)?;
        into.clear();
        into.extend(entries(&raw));
        Ok(())
    }

    /// What `entry` says of grain `number`, whose place in the file is checked.
    pub(super) fn cell(&self, number: u64, entry: u32) -> Result<Cell, ImageError> {
        match entry {
            0 => return Ok(Cell::Absent),
            1 if self.has_zeroed => return Ok(Cell::Zeroed),
            _ => {}
        }
        let at = u64::from(entry) * SECTOR;
        let needed = match self.packing {
            Packing::None => self.grain.min(self.capacity - number * self.grain),
            Packing::Marked => Marker::GRAIN_LEN,
            Packing::Unmarked => 1,
        };
        if at < self.header_len {
            let text = format!("{}grain {number} lies inside the header", self.label);
            return Err(ImageError::corrupt(text));
        }
        if at + needed > self.file.len() {
            let text =
                format!("{}grain {number} lies at byte {at}, beyond the file's end", self.label);
            return Err(ImageError::Truncated(text));
        }
        Ok(Cell::At(at))
    }

    /// Bytes to read for the compressed grain at `at`, if the next one is at `next`.
    pub(super) fn reach(&self, at: u64, next: Option<u64>) -> u32 {
        let most = Marker::GRAIN_LEN + stream_max(self.grain);
        let gap = next.and_then(|next| next.checked_sub(at)).filter(|gap| *gap > 0);
        gap.unwrap_or(most).min(most).min(self.file.len().saturating_sub(at)) as u32
    }

    /// File offset and length of the stream of grain `number`, whose marker is at `at`.
    pub(super) fn stream(&self, number: u64, at: u64) -> Result<(u64, u32), ImageError> {
        let mut head = [0; Marker::GRAIN_LEN as usize];
        self.file.read_exact_at(&mut head, at)?;
        self.grains.stream_at(number, at, &head)
    }
}

/// The markers in front of an extent's grains.
#[derive(Debug)]
pub(super) struct Grains {
    label: String,
    /// Guest bytes of a grain.
    grain: u64,
    file_len: u64,
}

impl Grains {
    fn of(file: &dyn ReadAt, label: &str, grain: u64) -> Arc<Self> {
        Arc::new(Self { label: label.to_owned(), grain, file_len: file.len() })
    }

    /// File offset and length of the stream of grain `number`, whose marker `head` is at `at`.
    fn stream_at(&self, number: u64, at: u64, head: &[u8]) -> Result<(u64, u32), ImageError> {
        let mut raw = [0; 16];
        let head = head.iter().take(Marker::GRAIN_LEN as usize);
        raw.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        let label = &self.label;
        let start = at + Marker::GRAIN_LEN;
        match Marker::parse(&raw) {
            Marker::Grain { lba, len } if lba != number * (self.grain / SECTOR) => {
                Err(ImageError::corrupt(format!(
                    "{label}the {len} bytes at {at} are marked as sector {lba}, but the tables say \
                     grain {number}"
                )))
            }
            Marker::Grain { len, .. } if u64::from(len) > stream_max(self.grain) => Err(
                ImageError::corrupt(format!("{label}grain {number} claims {len} compressed bytes")),
            ),
            Marker::Grain { len, .. } if start + u64::from(len) > self.file_len => {
                let text = format!("{label}the file ends inside grain {number}");
                Err(ImageError::Truncated(text))
            }
            Marker::Grain { len, .. } => Ok((start, len)),
            _ => Err(ImageError::corrupt(format!("{label}there is no grain at byte {at}"))),
        }
    }
}

impl Frame for Grains {
    fn stream(&self, number: u64, offset: u64, bytes: &[u8]) -> Result<Range<usize>, ImageError> {
        let (_, len) = self.stream_at(number, offset, bytes)?;
        let place = Marker::GRAIN_LEN as usize..Marker::GRAIN_LEN as usize + len as usize;
        if place.end > bytes.len() {
            let text = format!("{}grain {number} reaches into the next one", self.label);
            return Err(ImageError::corrupt(text));
        }
        Ok(place)
    }
}

/// The file offset of a 64-bit sector number.
fn bytes_of(sector: u64) -> Result<u64, ImageError> {
    sector
        .checked_mul(SECTOR)
        .ok_or_else(|| ImageError::corrupt(format!("sector {sector} lies beyond any file")))
}

/// The footer of a stream: the last sector that starts like a header, near the file's end.
fn find_footer(file: &dyn ReadAt) -> Result<Header, ImageError> {
    let end = file.len() / SECTOR * SECTOR;
    let start = end.saturating_sub(FOOTER_REACH).max(SECTOR).min(end);
    let mut tail = vec![0; (end - start) as usize];
    file.read_exact_at(&mut tail, start)?;
    let (sectors, _) = tail.as_chunks::<SECTOR_LEN>();
    let found = sectors.iter().rposition(|sector| sector.starts_with(&SPARSE_MAGIC));
    let Some(found) = found.filter(|at| *at > 0) else {
        return Err(ImageError::Truncated("the stream ends before its footer".into()));
    };
    let marker = sectors[found - 1].first_chunk().map(Marker::parse);
    let footer = Header::parse(&sectors[found])?;
    if marker != Some(Marker::Footer) || footer.directory == AT_END {
        return Err(ImageError::corrupt("the stream's footer is damaged"));
    }
    if sectors.get(found + 1).is_none() {
        return Err(ImageError::Truncated("the stream ends before its end marker".into()));
    }
    Ok(footer)
}
