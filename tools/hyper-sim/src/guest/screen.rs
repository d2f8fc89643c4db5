//! The screen of a guest: a field of coloured cells, in which every key that is pressed and every
//! place that is pointed at leaves its colour.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Pixels in a row.
pub const WIDTH: u16 = 640;
/// Rows.
pub const HEIGHT: u16 = 400;
/// Pixels of a cell, each way.
const CELL: u16 = 8;

/// A screen.
#[derive(Debug)]
pub struct Screen {
    pixels: Mutex<Pixels>,
    /// How often it has changed.
    pub changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Pixels {
    /// A pixel each: red, green and blue.
    all: Vec<[u8; 3]>,
    /// The cell that the next key colours.
    next: u16,
}

impl Screen {
    /// A screen as it is after the start.
    pub fn new() -> Self {
        let mut all = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT));
        for row in 0..HEIGHT {
            for column in 0..WIDTH {
                let share = |at: u16, all: u16| (u32::from(at) * 255 / u32::from(all)) as u8;
                all.push([share(column, WIDTH), share(row, HEIGHT), 64]);
            }
        }
        Self { pixels: Mutex::new(Pixels { all, next: 0 }), changes: watch::channel(0).0 }
    }

    fn fill(&self, cell: Option<(u16, u16)>, colour: [u8; 3]) {
        let mut pixels = self.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        let columns = WIDTH / CELL;
        let (column, row) = cell.unwrap_or_else(|| {
            let at = pixels.next;
            pixels.next = (at + 1) % (columns * (HEIGHT / CELL));
            (at % columns, at / columns)
        });
        for y in row * CELL..(row + 1) * CELL {
            for x in column * CELL..(column + 1) * CELL {
                let at = usize::from(y) * usize::from(WIDTH) + usize::from(x);
                if let Some(pixel) = pixels.all.get_mut(at) {
                    *pixel = colour;
                }
            }
        }
        drop(pixels);
        self.changes.send_modify(|count| *count += 1);
    }

    /// A key is pressed: the next cell gets its colour.
    pub fn key(&self, symbol: u32) {
        let [_, high, middle, low] = symbol.to_be_bytes();
        self.fill(None, [low, middle, 255 - high]);
    }

    /// A button is pressed at a place: the cell there gets white.
    pub fn point(&self, x: u16, y: u16) {
        self.fill(Some((x.min(WIDTH - 1) / CELL, y.min(HEIGHT - 1) / CELL)), [255; 3]);
    }

    /// The pixels of a rectangle, row by row.
    pub fn part(&self, x: u16, y: u16, width: u16, height: u16) -> Vec<[u8; 3]> {
        let pixels = self.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |row: u16| {
            let start = usize::from(row) * usize::from(WIDTH) + usize::from(x);
            pixels.all[start..start + usize::from(width)].to_vec()
        };
        (y..y + height).flat_map(row).collect()
    }

    /// All of it as a PNG file.
    pub fn png(&self) -> std::io::Result<Vec<u8>> {
        let mut rows = Vec::new();
        for row in self.part(0, 0, WIDTH, HEIGHT).chunks(usize::from(WIDTH)) {
            rows.push(0);
            rows.extend(row.iter().flatten());
        }
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut head = Vec::new();
        head.extend(u32::from(WIDTH).to_be_bytes());
        head.extend(u32::from(HEIGHT).to_be_bytes());
        head.extend([8, 2, 0, 0, 0]);
        chunk(&mut file, b"IHDR", &head);
        use std::io::Write;
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&rows)?;
        chunk(&mut file, b"IDAT", &packed.finish()?);
        chunk(&mut file, b"IEND", &[]);
        Ok(file)
    }
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(data);
    file.extend(kind);
    file.extend(data);
    file.extend(sum.sum().to_be_bytes());
}
