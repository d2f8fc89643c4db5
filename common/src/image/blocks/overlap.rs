//! Finding blocks that lie on one another, in memory that does not grow with the image.

use crate::image::ImageError;

/// Cells looked at in one pass: 4 MiB of memory.
const CELLS: u64 = 1 << 20;

/// Two blocks of `span` units each that share units: the start of one of them. `replay` names
/// the start of every block to its argument, in any order, and is called once per pass: one pass
/// for each stretch of [`CELLS`] spans in which any block starts.
///
/// The file is taken as cells of one span each. Blocks that start in the same cell overlap; those
/// in neighbouring cells do where the second starts earlier in its cell than the first.
///
/// # Errors
/// Those of `replay`.
pub fn find_overlap(
    span: u32,
    mut replay: impl FnMut(&mut dyn FnMut(u64)) -> Result<(), ImageError>,
) -> Result<Option<u64>, ImageError> {
    let span = u64::from(span.max(1));
    let mut cells: Vec<Option<std::num::NonZeroU32>> = vec![None; CELLS as usize];
    let (mut base, mut before) = (0, None);
    loop {
        let (mut next, mut found) = (None::<u64>, None);
        // Cells behind the last one in use are not swept: most images fill few of them.
        let mut used = 0;
        replay(&mut |start| {
            let cell = start / span;
            if cell < base {
                return;
            }
            let Some(slot) = cells.get_mut((cell - base) as usize) else {
                next = Some(next.map_or(cell, |next| next.min(cell)));
                return;
            };
            used = used.max(cell - base + 1);
            if slot.is_some() {
                found = Some(start);
            }
            *slot = std::num::NonZeroU32::new((start % span) as u32 + 1);
        })?;
        if found.is_some() {
            return Ok(found);
        }
        for (cell, slot) in cells.iter_mut().take(used as usize).enumerate() {
            let now = slot.take();
            if let (Some(before), Some(now)) = (before, now)
                && now < before
            {
                return Ok(Some((base + cell as u64) * span + u64::from(now.get()) - 1));
            }
            before = now;
        }
        match next {
            None => return Ok(None),
            Some(cell) => {
                if cell != base + CELLS || used < CELLS {
                    before = None;
                }
                base = cell;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(span: u32, starts: &[u64]) -> Option<u64> {
        find_overlap(span, |each| {
            starts.iter().for_each(|start| each(*start));
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn blocks_side_by_side_do_not_overlap_in_any_order() {
        assert_eq!(overlap(7, &[21, 0, 14, 7]), None);
        assert_eq!(overlap(7, &[3, 10, 17, 24]), None);
        assert_eq!(overlap(1, &[5, 4, 3, 9]), None);
    }

    #[test]
    fn an_overlap_is_found_in_one_cell_in_neighbours_and_across_passes() {
        assert!(overlap(7, &[0, 6]).is_some());
        assert!(overlap(7, &[5, 11]).is_some());
        assert_eq!(overlap(7, &[5, 12]), None);
        assert!(overlap(1, &[8, 8]).is_some());
        let edge = CELLS * 8;
        assert!(overlap(8, &[edge - 2, edge + 5, 0]).is_some());
        assert_eq!(overlap(8, &[edge - 2, edge + 6, 0]), None);
        let far = 1 << 50;
        assert!(overlap(8, &[0, far, far + 7]).is_some());
        assert_eq!(overlap(8, &[0, far, far + 8, 8]), None);
    }
}
