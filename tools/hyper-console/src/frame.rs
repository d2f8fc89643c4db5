//! A copy of a machine's screen that knows which parts changed since when.

use std::sync::Arc;

/// Pixels of a tile, each way: what is told of as one when any of it changes.
const TILE: usize = 64;

/// A rectangle: left, top, width and height.
pub type Area = [u16; 4];

/// The shape of the mouse's pointer.
#[derive(Debug)]
pub struct Pointer {
    /// Where in it the point is.
    pub point: (u16, u16),
    /// Width and height.
    pub size: (u16, u16),
    /// Its pixels, row by row: blue, green and red from the lowest byte up.
    pub pixels: Vec<u32>,
    /// A bit for each pixel that is seen, rows in whole bytes.
    pub mask: Vec<u8>,
}

/// A copy of a screen.
#[derive(Debug, Default)]
pub struct Frame {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
    /// The version in which a tile changed last.
    tiles: Vec<u64>,
    version: u64,
    shape: u64,
    pointer: Option<(u64, Arc<Pointer>)>,
}

impl Frame {
    /// Gives the screen a size. What was on it is gone, unless it had that size.
    pub fn resize(&mut self, width: u16, height: u16) {
        let size = (usize::from(width), usize::from(height));
        if (self.width, self.height) == size {
            return;
        }
        (self.width, self.height) = size;
        self.version += 1;
        self.shape = self.version;
        self.pixels = vec![0; self.width * self.height];
        self.tiles = vec![self.version; self.columns() * self.height.div_ceil(TILE)];
    }

    /// Width and height.
    pub fn size(&self) -> (u16, u16) {
        let side = |side: usize| u16::try_from(side).unwrap_or(u16::MAX);
        (side(self.width), side(self.height))
    }

    /// The number of the latest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The change that gave it its size.
    pub fn shape(&self) -> u64 {
        self.shape
    }

    /// The pointer, and the change that gave it its shape.
    pub fn pointer(&self) -> Option<&(u64, Arc<Pointer>)> {
        self.pointer.as_ref()
    }

    /// Gives the pointer a shape.
    pub fn point(&mut self, pointer: Pointer) {
        self.version += 1;
        self.pointer = Some((self.version, Arc::new(pointer)));
    }

    fn columns(&self) -> usize {
        self.width.div_ceil(TILE)
    }

    /// Whether a rectangle is on the screen.
    pub fn holds(&self, [x, y, width, height]: Area) -> bool {
        let end = |start: u16, len: u16| usize::from(start) + usize::from(len);
        end(x, width) <= self.width && end(y, height) <= self.height
    }

    /// Paints a rectangle that is on the screen, row by row.
    pub fn paint(&mut self, area: Area, pixels: impl Iterator<Item = u32>) {
        let [x, y, width, height] = area.map(usize::from);
        let mut pixels = pixels;
        for row in y..y + height {
            let start = row * self.width + x;
            for (to, from) in self.pixels[start..start + width].iter_mut().zip(&mut pixels) {
                *to = from;
            }
        }
        self.touch(area);
    }

    /// Copies a rectangle of the screen to another place of it.
    pub fn copy(&mut self, from: (u16, u16), area: Area) {
        let pixels = self.part([from.0, from.1, area[2], area[3]]);
        self.paint(area, pixels.into_iter());
    }

    fn touch(&mut self, area: Area) {
        let [x, y, width, height] = area.map(usize::from);
        if width == 0 || height == 0 {
            return;
        }
        self.version += 1;
        let columns = self.columns();
        for row in y / TILE..=(y + height - 1) / TILE {
            let start = row * columns;
            self.tiles[start + x / TILE..=start + (x + width - 1) / TILE].fill(self.version);
        }
    }

    /// What changed within a rectangle after a version.
    pub fn changed(&self, since: u64, area: Area) -> Vec<Area> {
        let [x, y, width, height] = area.map(usize::from);
        let (right, bottom) = ((x + width).min(self.width), (y + height).min(self.height));
        let mut found = Vec::new();
        for row in 0..self.height.div_ceil(TILE) {
            let (top, end) = ((row * TILE).max(y), (row * TILE + TILE).min(bottom));
            if top >= end {
                continue;
            }
            let mut open: Option<(usize, usize)> = None;
            for column in 0..self.columns() {
                let (left, stop) = ((column * TILE).max(x), (column * TILE + TILE).min(right));
                let new = left < stop && self.tiles[row * self.columns() + column] > since;
                open = match (new, open) {
                    (true, Some((start, _))) => Some((start, stop)),
                    (true, None) => Some((left, stop)),
                    (false, Some(span)) => {
                        found.push(whole(span, top, end));
                        None
                    }
                    (false, None) => None,
                };
            }
            found.extend(open.map(|span| whole(span, top, end)));
        }
        found
    }

    /// The pixels of a rectangle, row by row. What lies outside of the screen is black.
    pub fn part(&self, area: Area) -> Vec<u32> {
        let [x, y, width, height] = area.map(usize::from);
        let mut part = Vec::with_capacity(width * height);
        for row in y..y + height {
            let start = row * self.width + x;
            match self.pixels.get(start..start + width).filter(|_| x + width <= self.width) {
                Some(pixels) => part.extend_from_slice(pixels),
                None => part.extend(std::iter::repeat_n(0, width)),
            }
        }
        part
    }
}

fn whole((left, right): (usize, usize), top: usize, bottom: usize) -> Area {
    [left, top, right - left, bottom - top].map(|side| u16::try_from(side).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let mut frame = Frame::default();
        frame.resize(200, 100);
        let all = [0, 0, 200, 100];
        assert_eq!(frame.changed(0, all), [[0, 0, 200, 64], [0, 64, 200, 36]]);
        let before = frame.version();
        assert!(frame.changed(before, all).is_empty());
        frame.paint([60, 10, 10, 2], std::iter::repeat_n(7, 20));
        assert_eq!(frame.changed(before, all), [[0, 0, 128, 64]]);
        assert_eq!(frame.changed(before, [64, 0, 4, 20]), [[64, 0, 4, 20]]);
        assert!(frame.changed(before, [0, 64, 200, 36]).is_empty());
        assert_eq!(frame.part([59, 10, 3, 1]), [0, 7, 7]);
        frame.copy((60, 10), [190, 90, 10, 2]);
        assert_eq!(frame.part([189, 91, 2, 1]), [0, 7]);
        assert!(!frame.holds([191, 0, 10, 1]) && frame.holds(all));
        assert_eq!(frame.part([199, 0, 2, 1]), [0, 0]);
        let before = frame.version();
        frame.resize(200, 100);
        assert_eq!(frame.version(), before, "the same size is no change");
        frame.resize(10, 10);
        assert_eq!(frame.changed(before, all), [[0, 0, 10, 10]]);
    }
}
