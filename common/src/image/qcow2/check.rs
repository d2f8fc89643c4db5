//! Checking that the reference counts are what the tables make them, as `qemu-img check` does:
//! clusters that nothing uses are a finding, clusters used more often than counted or for two
//! things at once are damage.
//!
//! Memory is bounded whatever the size: host clusters are counted in windows, and so are the L2
//! tables, each of which is read once however many snapshots share it.

use super::decode::Qcow2;
use super::entry::{self, Entry, Host, OFFSET};
use super::header::{DATA_FILE, DIRTY, be16, be32, be64};
use super::refcount::{
    BITMAP, COPIED, EXCLUSIVE, PACKED, PLAIN, SHARED, Stated, TABLE, USES, WINDOW, Window,
};
use super::snapshot::read_snapshots;
use super::table::Pages;
use crate::image::ImageError;

/// Most dirty bitmaps that qemu reads.
const BITMAPS_MAX: u32 = 65_535;

/// Checks `image` and those below it.
///
/// # Errors
/// The first damage.
pub fn check(image: &Qcow2) -> Result<Vec<String>, ImageError> {
    let mut findings = check_alone(image, WINDOW)?;
    if let Some(backing) = &image.backing {
        let below = backing.check()?;
        findings.extend(below.into_iter().map(|text| format!("backing file: {text}")));
    }
    Ok(findings)
}

/// Checks `image` without what lies below it, `window` clusters at a time.
///
/// # Errors
/// The first damage.
pub fn check_alone(image: &Qcow2, window: u64) -> Result<Vec<String>, ImageError> {
    Checker::new(image, window)?.run()
}

/// A table of 64-bit entries: file offset and number of entries.
type Table = (u64, u64);

struct Checker<'a> {
    image: &'a Qcow2,
    /// Clusters that are counted at a time.
    window: u64,
    clusters: u64,
    /// What is never shared: file offset and length in bytes.
    exclusive: Vec<(u64, u64)>,
    /// L1 tables, the active one first.
    l1: Vec<Table>,
    bitmaps: Vec<Table>,
    tally: Tally,
}

/// Clusters with findings of one kind, and the first of them.
#[derive(Default)]
struct Tally {
    leaked: (u64, u64),
    overcounted: (u64, u64),
    unmarked: (u64, u64),
}

impl<'a> Checker<'a> {
    fn new(image: &'a Qcow2, window: u64) -> Result<Self, ImageError> {
        let header = &image.header;
        let file_len = image.file.len();
        let (snapshots, table_len) = read_snapshots(&*image.file, header)?;
        let mut checker = Self {
            image,
            window,
            clusters: file_len.div_ceil(header.cluster()),
            exclusive: vec![(0, header.cluster())],
            l1: vec![(header.l1_offset, header.l1_size)],
            bitmaps: Vec::new(),
            tally: Tally::default(),
        };
        checker.exclude("the refcount table", header.reftable_offset, header.reftable_len)?;
        checker.exclude("the L1 table", header.l1_offset, header.l1_size * 8)?;
        if table_len > 0 {
            checker.exclusive.push((header.snapshots_offset, table_len));
        }
        for snapshot in snapshots {
            let what = format!("the L1 table of snapshot {:?}", snapshot.name);
            checker.exclude(&what, snapshot.l1_offset, snapshot.l1_size * 8)?;
            checker.l1.push((snapshot.l1_offset, snapshot.l1_size));
        }
        checker.find_bitmaps()?;
        checker.refuse_overlaps()?;
        Ok(checker)
    }

    fn exclude(&mut self, what: &str, offset: u64, len: u64) -> Result<(), ImageError> {
        self.image.header.region(what, offset, len, self.image.file.len())?;
        if len > 0 {
            self.exclusive.push((offset, len));
        }
        Ok(())
    }

    fn find_bitmaps(&mut self) -> Result<(), ImageError> {
        let Some((offset, len, count)) = self.image.header.bitmaps else { return Ok(()) };
        self.exclude("the directory of bitmaps", offset, len)?;
        if count > BITMAPS_MAX {
            return Err(ImageError::corrupt(format!("{count} dirty bitmaps")));
        }
        let mut at = 0u64;
        for _ in 0..count {
            let mut fixed = [0; 24];
            if at + 24 > len {
                return Err(ImageError::corrupt("the directory of bitmaps ends early"));
            }
            self.image.file.read_exact_at(&mut fixed, offset + at)?;
            let entries = u64::from(be32(&fixed, 8));
            self.exclude("the table of a bitmap", be64(&fixed, 0), entries * 8)?;
            self.bitmaps.push((be64(&fixed, 0), entries));
            let variable = u64::from(be16(&fixed, 18)) + u64::from(be32(&fixed, 20));
            at += (24 + variable).next_multiple_of(8);
        }
        Ok(())
    }

    /// Tables that overlap are damage; it also keeps a small file from having endless tables.
    fn refuse_overlaps(&self) -> Result<(), ImageError> {
        let mut regions = self.exclusive.clone();
        regions.sort_unstable();
        for pair in regions.windows(2) {
            if pair[0].0 + pair[0].1 > pair[1].0 {
                return Err(used_twice(pair[1].0));
            }
        }
        Ok(())
    }

    fn run(mut self) -> Result<Vec<String>, ImageError> {
        let mut first = 0;
        while first < self.clusters {
            let mut window = self.window_at(first);
            self.count_tables(&mut window)?;
            self.count_clusters(&mut window)?;
            self.compare(&window)?;
            first += self.window;
        }
        self.leaks_past_the_end()?;
        Ok(self.findings())
    }

    fn window_at(&self, first: u64) -> Window {
        let len = self.window.min(self.clusters - first);
        Window::new(self.image.header.cluster_bits, first, len as usize)
    }

    /// Counts everything but guest clusters.
    fn count_tables(&self, window: &mut Window) -> Result<(), ImageError> {
        let (file, header) = (&*self.image.file, &self.image.header);
        let cluster = header.cluster();
        for (offset, len) in &self.exclusive {
            window.add(*offset, *len, 1, EXCLUSIVE);
        }
        let mut stated = Stated::new(file, header);
        for index in 0..header.reftable_len / 8 {
            let block = stated.block(index)?;
            if block != 0 {
                window.add(block, cluster, 1, EXCLUSIVE);
            }
        }
        for table in &self.bitmaps {
            self.each_entry(*table, |word| {
                if word & OFFSET != 0 {
                    window.add(self.placed(word & OFFSET)?, cluster, 1, BITMAP);
                }
                Ok(())
            })?;
        }
        for (number, table) in self.l1.iter().enumerate() {
            self.each_entry(*table, |word| {
                let copied = if word & entry::COPIED != 0 { COPIED } else { SHARED };
                let marks = if number == 0 { TABLE | copied } else { TABLE };
                if word & OFFSET != 0 {
                    window.add(self.placed(word & OFFSET)?, cluster, 1, marks);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Counts guest clusters, one window of L2 tables after the other.
    fn count_clusters(&self, window: &mut Window) -> Result<(), ImageError> {
        let header = &self.image.header;
        if header.incompatible & DATA_FILE != 0 {
            return Ok(()); // they are elsewhere and not counted
        }
        let mut first = 0;
        while first < self.clusters {
            let mut tables = self.window_at(first);
            for (number, table) in self.l1.iter().enumerate() {
                // EXCLUSIVE stands for: reachable from the active L1 table.
                let marks = if number == 0 { EXCLUSIVE } else { 0 };
                self.each_entry(*table, |word| {
                    if word & OFFSET != 0 {
                        tables.add(word & OFFSET, header.cluster(), 1, marks);
                    }
                    Ok(())
                })?;
            }
            for (index, times, marks) in tables.iter().filter(|(_, times, _)| *times > 0) {
                self.count_l2(window, index << header.cluster_bits, times, marks != 0)?;
            }
            first += self.window;
        }
        Ok(())
    }

    fn count_l2(
        &self,
        window: &mut Window,
        table: u64,
        times: u16,
        active: bool,
    ) -> Result<(), ImageError> {
        let header = &self.image.header;
        let mut index = 0;
        self.each_entry((table, header.cluster() / 8), |word| {
            index += 1;
            if header.extended() && index % 2 == 0 {
                return Ok(()); // the bitmap of subclusters
            }
            match (Entry { word, bits: 0 }).host(header) {
                Host::None => {}
                Host::Cluster(offset) => {
                    let copied = if word & entry::COPIED != 0 { COPIED } else { SHARED };
                    let marks = if active { PLAIN | copied } else { PLAIN };
                    window.add(self.placed(offset)?, header.cluster(), times, marks);
                }
                Host::Packed(offset, len) => {
                    if offset >= self.image.file.len() {
                        return Err(past_the_end(offset));
                    }
                    window.add(offset, u64::from(len), times, PACKED);
                }
            }
            Ok(())
        })
    }

    /// Hands on the entries of a table.
    fn each_entry(
        &self,
        (offset, entries): Table,
        mut each: impl FnMut(u64) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut pages = Pages::default();
        for index in 0..entries {
            each(pages.get(&*self.image.file, offset + index * 8)?)?;
        }
        Ok(())
    }

    /// A cluster's offset, if a cluster can be there.
    fn placed(&self, offset: u64) -> Result<u64, ImageError> {
        if !offset.is_multiple_of(self.image.header.cluster()) {
            return Err(ImageError::corrupt(format!("a cluster lies at byte {offset}")));
        }
        if offset >= self.image.file.len() {
            return Err(past_the_end(offset));
        }
        Ok(offset)
    }

    fn compare(&mut self, window: &Window) -> Result<(), ImageError> {
        let (file, header) = (&*self.image.file, &self.image.header);
        let mut stated = Stated::new(file, header);
        for (index, uses, marks) in window.iter() {
            let at = index << header.cluster_bits;
            let mixed = (marks & USES).count_ones() > 1;
            // What is shared by design is held against its count; where that is stale, only an
            // image without snapshots says whether sharing is right.
            let stale = header.incompatible & DIRTY != 0;
            let shareable =
                if stale && self.l1.len() == 1 { PACKED } else { TABLE | PLAIN | PACKED };
            if mixed || uses > 1 && marks & USES & !shareable != 0 {
                return Err(used_twice(at));
            }
            if stale || uses == u16::MAX {
                continue;
            }
            let count = stated.get(index)?;
            if count < u64::from(uses) || marks & COPIED != 0 && count != 1 {
                return Err(ImageError::corrupt(format!(
                    "the cluster at byte {at} is used {uses} times and counted {count} times"
                )));
            }
            if uses == 0 && count > 0 {
                note(&mut self.tally.leaked, at);
            } else if count > u64::from(uses) {
                note(&mut self.tally.overcounted, at);
            } else if marks & SHARED != 0 && count == 1 {
                note(&mut self.tally.unmarked, at);
            }
        }
        Ok(())
    }

    /// Counts behind the last cluster of the file, in the last block that has any before it.
    fn leaks_past_the_end(&mut self) -> Result<(), ImageError> {
        let header = &self.image.header;
        if header.incompatible & DIRTY != 0 {
            return Ok(());
        }
        let mut stated = Stated::new(&*self.image.file, header);
        let end = self.clusters.next_multiple_of(stated.per_block());
        for index in self.clusters..end {
            if stated.get(index)? > 0 {
                note(&mut self.tally.leaked, index << header.cluster_bits);
            }
        }
        Ok(())
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if self.image.header.incompatible & DIRTY != 0 {
            findings.push(
                "the reference counts are stale (dirty bit) and were not held \
                           against the tables"
                    .to_owned(),
            );
        }
        let mut add = |(number, first): (u64, u64), what: &str| {
            if number > 0 {
                findings.push(format!("{number} clusters {what}, the first at byte {first}"));
            }
        };
        add(self.tally.leaked, "are counted as used and are not (leaked)");
        add(self.tally.overcounted, "are counted more often than they are used");
        add(self.tally.unmarked, "are used once and not marked so");
        findings
    }
}

fn note(tally: &mut (u64, u64), at: u64) {
    if tally.0 == 0 {
        tally.1 = at;
    }
    tally.0 += 1;
}

fn used_twice(at: u64) -> ImageError {
    ImageError::corrupt(format!("the cluster at byte {at} is used for two things"))
}

fn past_the_end(offset: u64) -> ImageError {
    ImageError::Truncated(format!("a cluster lies at byte {offset}, past the end of the file"))
}
