//! Checking the structure of a VHD.

use crate::image::blocks::{SECTOR, Table, Window, find_overlap};
use crate::image::{Image, ImageError};

use super::decode::{BlockTable, UNUSED, Vhd, read_copy};
use super::header::{DYNAMIC_HEADER, FOOTER, Kind};

/// See [`Image::check`].
pub fn check(image: &Vhd) -> Result<Vec<String>, ImageError> {
    let mut findings = Vec::new();
    check_footers(image, &mut findings);
    if let Some(blocks) = &image.blocks {
        check_blocks(image, blocks, &mut findings)?;
    }
    if let Some(parent) = &image.parent {
        // The footer's time is that of creation: a parent created after the child saw it last
        // was made anew under the same identity.
        if parent.image.footer.time > parent.named.time {
            findings.push(format!(
                "the parent disk {:?} was made after this disk last saw it change",
                parent.name
            ));
        }
        if parent.image.capacity() != image.capacity() {
            findings.push(format!("the parent disk {:?} has another size", parent.name));
        }
        for finding in parent.image.check()? {
            findings.push(format!("in the parent disk {:?}: {finding}", parent.name));
        }
    }
    Ok(findings)
}

fn check_footers(image: &Vhd, findings: &mut Vec<String>) {
    if image.footer_len == 0 {
        findings.push("the footer is damaged, its copy in front is whole".to_owned());
    } else if image.footer.kind != Kind::Fixed {
        match read_copy(&*image.file) {
            Ok(copy) if copy == image.footer => {}
            Ok(_) => findings.push("the copy of the footer in front differs from it".to_owned()),
            Err(_) => findings.push("the copy of the footer in front is damaged".to_owned()),
        }
    }
}

/// Every block lies within the file, on no structure and on no other block.
fn check_blocks(
    image: &Vhd,
    BlockTable { header, table }: &BlockTable,
    findings: &mut Vec<String>,
) -> Result<(), ImageError> {
    let block = u64::from(header.block);
    let span = (header.bitmap() + block) / SECTOR;
    let header_at = image.footer.header_at;
    let structures = [
        ("the copy of the footer", 0..FOOTER as u64),
        ("the dynamic disk header", header_at..header_at.saturating_add(DYNAMIC_HEADER as u64)),
        ("the block table", table.range()),
    ];
    let data_end = image.file.len() - image.footer_len;
    let used = image.capacity().div_ceil(block);
    let mut surplus = 0u64;
    each_block(table, |index, sector| {
        let at = sector * SECTOR;
        let end = at + span * SECTOR;
        for (name, structure) in &structures {
            if at < structure.end && structure.start < end {
                return Err(ImageError::corrupt(format!("block {index} lies on {name}")));
            }
        }
        // The disk's last block may be cut after its last sector.
        let needed = image.capacity().saturating_sub(index * block).min(block);
        if at + header.bitmap() + needed > data_end && index < used {
            return Err(ImageError::Truncated(format!(
                "block {index} at byte {at} leaves the file of {} bytes",
                image.file.len()
            )));
        }
        surplus += u64::from(index >= used);
        Ok(())
    })?;
    if surplus > 0 {
        findings.push(format!("{surplus} blocks lie beyond the end of the disk"));
    }
    let overlap = find_overlap(span as u32, |each| {
        each_block(table, |_, sector| {
            each(sector);
            Ok(())
        })
    })?;
    match overlap {
        None => Ok(()),
        Some(sector) => Err(ImageError::corrupt(format!(
            "two blocks share the bytes from {} on",
            sector * SECTOR
        ))),
    }
}

/// Calls `each` with index and first sector of every block that is there.
fn each_block(
    table: &Table,
    mut each: impl FnMut(u64, u64) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut window = Window::default();
    let mut index = 0;
    while index < table.entries() {
        let (entry, count) = table.run(&mut window, index, u64::MAX)?;
        if entry != UNUSED {
            for index in index..index + count {
                each(index, entry)?;
            }
        }
        index += count;
    }
    Ok(())
}
