//! Checking the structure of a VHDX.

use std::ops::Range;

use crate::image::blocks::{MIB, Window, find_overlap};
use crate::image::{Image, ImageError};

use super::decode::Vhdx;
use super::header::REGION_TABLES;

/// See [`Image::check`]. Redundant copies were looked at when the image was opened.
pub fn check(image: &Vhdx) -> Result<Vec<String>, ImageError> {
    let mut findings = image.findings.clone();
    let structures = structures(image);
    for (index, (name, range)) in structures.iter().enumerate() {
        for (other_name, other) in structures.iter().skip(index + 1) {
            if range.start < other.end && other.start < range.end {
                return Err(ImageError::corrupt(format!("{name} lies on {other_name}")));
            }
        }
    }
    check_places(image, &structures)?;
    check_overlap(image)?;
    if let Some(parent) = &image.parent {
        for finding in parent.image.check()? {
            findings.push(format!("in the parent disk {:?}: {finding}", parent.name));
        }
    }
    Ok(findings)
}

fn structures(image: &Vhdx) -> [(&'static str, Range<u64>); 4] {
    [
        ("the header section", 0..REGION_TABLES[1] + (64 << 10)),
        ("the log", image.header.log_range.clone()),
        ("the metadata region", image.regions.metadata.clone()),
        ("the block table", image.regions.bat.clone()),
    ]
}

/// A block in the file.
struct Block {
    /// Index of its entry in the table.
    entry: u64,
    /// File offset in MiB.
    at: u64,
    /// Whether it is a sector bitmap.
    is_bitmap: bool,
}

/// Calls `each` for every block that is in the file.
fn each_block(
    image: &Vhdx,
    mut each: impl FnMut(Block) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let chunk = image.metadata.chunk_ratio() + 1;
    let mut window = Window::default();
    let mut entry = 0;
    while entry < image.bat.entries() {
        let (value, count) = image.bat.run(&mut window, entry, u64::MAX)?;
        if matches!(value & 7, 6 | 7) {
            for entry in entry..entry + count {
                each(Block { entry, at: value / MIB, is_bitmap: entry % chunk == chunk - 1 })?;
            }
        }
        entry += count;
    }
    Ok(())
}

/// Every block lies within the file and on no structure.
fn check_places(image: &Vhdx, structures: &[(&'static str, Range<u64>)]) -> Result<(), ImageError> {
    each_block(image, |block| {
        let len = if block.is_bitmap { MIB } else { image.metadata.block.into() };
        let (entry, start) = (block.entry, block.at * MIB);
        let end = start.saturating_add(len);
        for (name, structure) in structures {
            if start < structure.end && structure.start < end {
                return Err(ImageError::corrupt(format!(
                    "the block of table entry {entry} lies on {name}"
                )));
            }
        }
        if end > image.file.len() {
            return Err(ImageError::Truncated(format!(
                "the block of table entry {entry} at byte {start} leaves the file of {} bytes",
                image.file.len()
            )));
        }
        Ok(())
    })
}

/// No payload block lies on another, no sector bitmap on another, and neither on the other.
fn check_overlap(image: &Vhdx) -> Result<(), ImageError> {
    let span = u64::from(image.metadata.block) / MIB;
    let payload = find_overlap(span as u32, |each| {
        each_block(image, |block| {
            if !block.is_bitmap {
                each(block.at);
            }
            Ok(())
        })
    })?;
    // Seen as blocks of 1 MiB, everything may share nothing. Payload blocks need that only where
    // there are bitmaps to share with.
    let mixed = if image.metadata.has_parent && payload.is_none() {
        find_overlap(1, |each| {
            each_block(image, |block| {
                let len = if block.is_bitmap { 1 } else { span };
                (block.at..block.at + len).for_each(&mut *each);
                Ok(())
            })
        })?
    } else {
        None
    };
    match payload.or(mixed) {
        None => Ok(()),
        Some(at) => {
            Err(ImageError::corrupt(format!("two blocks share the bytes from {} on", at * MIB)))
        }
    }
}
