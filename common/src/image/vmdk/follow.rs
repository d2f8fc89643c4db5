//! Following a streamOptimized file as it passes by, once and in order. The [`Follower`] does no
//! I/O: it says what it wants next and takes it. Both [`super::stream`], which hands the grains
//! on, and [`super::watch`], which only counts them, drive it.

use serde::{Deserialize, Serialize};

use super::descriptor::{DESCRIPTOR_MAX, Descriptor};
use super::header::{AT_END, Header, Marker, SECTOR, SECTOR_LEN, stream_max};
use super::ledger::Ledger;
use crate::image::ImageError;

/// Directory bytes taken at once.
const DIRECTORY_STEP: u64 = 64 << 10;

/// What the follower wants from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Exactly so many bytes, for [`Follower::took`].
    Take(usize),
    /// So many bytes to go by, then [`Follower::passed`].
    Pass(u64),
    /// The compressed bytes of a grain to go by, then [`Follower::passed`].
    Grain {
        /// Guest byte that the grain starts at.
        start: u64,
        /// Bytes of its stream.
        len: u32,
    },
    /// Whatever is left, for [`Follower::rest`].
    Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Header,
    /// Whatever lies before the next thing that matters, up to this file offset.
    Gap(u64),
    Descriptor(u64),
    Directory(u64),
    Table(u64),
    /// The first bytes of a marker: enough for a grain.
    MarkerHead,
    /// The rest of the sector of a marker that is no grain.
    MarkerRest([u8; 12]),
    Grain {
        number: u64,
        len: u32,
    },
    Footer,
    Rest,
}

/// Follows one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Follower {
    state: State,
    /// File offset of what comes next.
    at: u64,
    header: Option<Header>,
    ledger: Ledger,
    /// File offset of the directory, once it was seen.
    directory_at: Option<u64>,
    descriptor_due: bool,
    directory_due: bool,
    /// Tables in front of the grains, last one first.
    tables_due: Vec<u32>,
    footer_seen: bool,
    last_grain: Option<u64>,
}

impl Follower {
    /// Before the first byte.
    pub(super) fn new() -> Self {
        Self {
            state: State::Header,
            at: 0,
            header: None,
            ledger: Ledger::default(),
            directory_at: None,
            descriptor_due: false,
            directory_due: false,
            tables_due: Vec::new(),
            footer_seen: false,
            last_grain: None,
        }
    }

    /// The header, once it was taken.
    pub(super) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Grains that went by.
    pub(super) fn grains(&self) -> u64 {
        self.ledger.grains()
    }

    /// The last grain that went by.
    pub(super) fn last_grain(&self) -> Option<u64> {
        self.last_grain
    }

    /// What comes next.
    pub(super) fn want(&self) -> Want {
        match self.state {
            State::Header | State::Footer => Want::Take(SECTOR_LEN),
            State::Gap(end) => Want::Pass(end - self.at),
            State::Descriptor(end) | State::Table(end) => Want::Take((end - self.at) as usize),
            State::Directory(end) => Want::Take((end - self.at).min(DIRECTORY_STEP) as usize),
            State::MarkerHead => Want::Take(Marker::GRAIN_LEN as usize),
            State::MarkerRest(_) => Want::Take(SECTOR_LEN - Marker::GRAIN_LEN as usize),
            State::Grain { number, len } => Want::Grain { start: number * self.grain_bytes(), len },
            State::Rest => Want::Rest,
        }
    }

    /// Takes the bytes that [`Want::Take`] asked for.
    pub(super) fn took(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let start = self.at;
        self.at += bytes.len() as u64;
        match self.state {
            State::Header => self.take_header(bytes),
            State::Descriptor(_) => {
                refuse_child(&Descriptor::parse(bytes)?)?;
                self.enter_front()
            }
            State::Directory(end) => {
                self.directory_at.get_or_insert(start);
                self.ledger.add_directory(bytes);
                if self.at < end { Ok(()) } else { self.directory_done() }
            }
            State::Table(_) => {
                let zeroed = self.header.as_ref().is_some_and(|header| header.has_zeroed);
                self.ledger.add_table(sector_of(start)?, bytes, zeroed);
                self.enter_front()
            }
            State::MarkerHead => self.take_marker(bytes),
            State::MarkerRest(head) => self.take_special(head, bytes),
            State::Footer => self.take_footer(bytes),
            State::Gap(_) | State::Grain { .. } | State::Rest => Ok(()),
        }
    }

    /// What [`Want::Pass`] or [`Want::Grain`] asked for has gone by.
    pub(super) fn passed(&mut self) -> Result<(), ImageError> {
        match self.state {
            State::Gap(end) => {
                self.at = end;
                self.enter_front()
            }
            State::Grain { number, len } => {
                let marker = self.at - Marker::GRAIN_LEN;
                self.ledger.add_grain(number, sector_of(marker)?);
                self.last_grain = Some(number);
                self.at += u64::from(len);
                let end = self.at.next_multiple_of(SECTOR);
                self.state = if end > self.at { State::Gap(end) } else { State::MarkerHead };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Bytes behind the end: padding is let pass.
    pub(super) fn rest(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(ImageError::corrupt("there is data behind the end of the VMDK stream"))
    }

    /// The stream has ended, with `pending` bytes of what was wanted.
    pub(super) fn end(&mut self, pending: usize) -> Result<(), ImageError> {
        // Only a directory in front tells that the grains were all; with one behind them, footer
        // and end marker must have come.
        let front = self.header.as_ref().is_some_and(|header| header.directory != AT_END);
        let whole = match self.state {
            State::Rest => front || self.footer_seen,
            State::MarkerHead => front && pending == 0,
            _ => false,
        };
        if !whole {
            let text = match self.last_grain {
                Some(grain) => format!("the VMDK stream breaks off after grain {grain}"),
                None => "the VMDK stream breaks off before its first grain".to_owned(),
            };
            return Err(ImageError::Truncated(text));
        }
        if let (Some(header), Some(at)) = (&self.header, self.directory_at)
            && header.directory != AT_END
            && offset_of(header.directory)? != at
        {
            return Err(ImageError::corrupt("the grain directory is not where the header says"));
        }
        self.ledger.settle(self.tables())
    }

    fn grain_bytes(&self) -> u64 {
        self.header.as_ref().map_or(0, Header::grain_bytes)
    }

    fn tables(&self) -> u64 {
        self.header.as_ref().map_or(0, Header::tables)
    }

    fn take_header(&mut self, sector: &[u8]) -> Result<(), ImageError> {
        let header = Header::parse(sector)?;
        if !header.compressed || !header.markers {
            return Err(ImageError::unsupported(
                "a VMDK that is not streamOptimized can only be read from a file",
            ));
        }
        if header.tables() > u64::from(u32::MAX) {
            return Err(ImageError::corrupt("the VMDK header claims more than 2^32 tables"));
        }
        if header.descriptor_len > (DESCRIPTOR_MAX as u64) / SECTOR {
            return Err(ImageError::corrupt("the VMDK descriptor is larger than 4 MiB"));
        }
        self.ledger = Ledger::new(u64::from(header.table_len));
        self.descriptor_due = header.descriptor != 0 && header.descriptor_len != 0;
        self.directory_due = header.directory < header.overhead && header.tables() > 0;
        self.header = Some(header);
        self.enter_front()
    }

    /// Goes to the next thing in front of the grains that matters, or to the grains. Also where
    /// to go on after a table or a gap further back, when nothing is due any more.
    fn enter_front(&mut self) -> Result<(), ImageError> {
        let Some(header) = &self.header else { return Ok(()) };
        let at = self.at;
        let (from, state) = if self.descriptor_due {
            let from = offset_of(header.descriptor)?;
            (from, State::Descriptor(from + header.descriptor_len * SECTOR))
        } else if self.directory_due {
            let from = offset_of(header.directory)?;
            (from, State::Directory(from + header.tables() * 4))
        } else if let Some(sector) = self.tables_due.last() {
            let from = u64::from(*sector) * SECTOR;
            (from, State::Table(from + u64::from(header.table_len) * 4))
        } else {
            let from = offset_of(header.overhead)?.max(at.next_multiple_of(SECTOR));
            (from, State::MarkerHead)
        };
        if from < at {
            return Err(ImageError::unsupported(
                "the VMDK's tables are in an order that can only be read from a file",
            ));
        }
        if from > at {
            self.state = State::Gap(from);
            return Ok(());
        }
        match state {
            State::Descriptor(_) => self.descriptor_due = false,
            State::Directory(_) => self.directory_due = false,
            State::Table(_) => {
                self.tables_due.pop();
            }
            _ => {}
        }
        self.state = state;
        Ok(())
    }

    fn directory_done(&mut self) -> Result<(), ImageError> {
        let Some(header) = &self.header else { return Ok(()) };
        self.ledger.cut_directory(header.tables());
        let (start, end) = (self.at / SECTOR, header.overhead);
        if self.at <= end.saturating_mul(SECTOR) {
            let zeroed = header.has_zeroed;
            self.tables_due = self.ledger.tables_between(start..end, zeroed);
        }
        self.enter_front()
    }

    fn take_marker(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let Some(header) = &self.header else { return Ok(()) };
        let mut head = [0; 16];
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let Marker::Grain { lba, len } = Marker::parse(&head) else {
            let mut kept = [0; 12];
            kept.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            self.state = State::MarkerRest(kept);
            return Ok(());
        };
        if lba >= header.capacity || lba % header.grain != 0 {
            let text = format!("a grain is marked as sector {lba}, where none can be");
            return Err(ImageError::corrupt(text));
        }
        if u64::from(len) > stream_max(header.grain_bytes()) {
            let text = format!("the grain at sector {lba} claims {len} compressed bytes");
            return Err(ImageError::corrupt(text));
        }
        let number = lba / header.grain;
        if self.last_grain.is_some_and(|last| number <= last) {
            return Err(ImageError::unsupported(
                "the VMDK's grains are not in ascending order, which only a file allows",
            ));
        }
        self.state = State::Grain { number, len };
        Ok(())
    }

    fn take_special(&mut self, head: [u8; 12], rest: &[u8]) -> Result<(), ImageError> {
        let mut raw = [0; 16];
        raw.iter_mut().zip(head.iter().chain(rest)).for_each(|(to, from)| *to = *from);
        let Some(header) = &self.header else { return Ok(()) };
        let table_len = u64::from(header.table_len) * 4;
        let directory_len = header.tables() * 4;
        self.state = match Marker::parse(&raw) {
            Marker::EndOfStream | Marker::Grain { .. } => State::Rest,
            Marker::Footer => State::Footer,
            Marker::Table(sectors) if sectors == table_len.div_ceil(SECTOR) => {
                State::Table(self.at + table_len)
            }
            Marker::Directory(0) if directory_len == 0 => State::MarkerHead,
            Marker::Directory(sectors)
                if sectors == directory_len.div_ceil(SECTOR) && self.directory_at.is_none() =>
            {
                State::Directory(self.at + directory_len)
            }
            Marker::Table(sectors) | Marker::Directory(sectors) => {
                let text = format!("a table of {sectors} sectors in the stream is of no use");
                return Err(ImageError::corrupt(text));
            }
            Marker::Other(sectors) => match sectors.checked_mul(SECTOR) {
                Some(len) if len > 0 && len < 1 << 40 => State::Gap(self.at + len),
                Some(0) => State::MarkerHead,
                _ => return Err(ImageError::corrupt("a marker in the stream makes no sense")),
            },
        };
        Ok(())
    }

    fn take_footer(&mut self, sector: &[u8]) -> Result<(), ImageError> {
        let footer = Header::parse(sector)?;
        let Some(header) = &self.header else { return Ok(()) };
        let at = offset_of(footer.directory)?;
        let same = (footer.capacity, footer.grain, footer.table_len)
            == (header.capacity, header.grain, header.table_len);
        if !same || (header.tables() > 0 && self.directory_at != Some(at)) {
            return Err(ImageError::corrupt("the VMDK footer contradicts what came before it"));
        }
        self.footer_seen = true;
        self.state = State::MarkerHead;
        Ok(())
    }
}

/// A stream that holds only what differs from another image would read wrong without it.
fn refuse_child(descriptor: &Descriptor) -> Result<(), ImageError> {
    if let Some(sign) = &descriptor.encryption {
        return Err(ImageError::unsupported(format!("the disk is encrypted ({sign})")));
    }
    match &descriptor.parent_cid {
        None => Ok(()),
        Some(_) => Err(ImageError::unsupported(
            "the VMDK stands on another image, which a stream cannot bring along",
        )),
    }
}

fn offset_of(sector: u64) -> Result<u64, ImageError> {
    sector
        .checked_mul(SECTOR)
        .filter(|offset| *offset < 1 << 62)
        .ok_or_else(|| ImageError::corrupt(format!("sector {sector} lies beyond any file")))
}

fn sector_of(at: u64) -> Result<u32, ImageError> {
    u32::try_from(at / SECTOR)
        .map_err(|_| ImageError::corrupt("the stream is longer than sector numbers of 32 bits"))
}
