//! PNG files (W3C PNG specification), as simple as they can be: eight bits for each of red, green
//! and blue.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use hyper_common::error::{Error, ErrorKind, Result};

/// How every file begins.
const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// A file of `pixels`, three bytes each, row by row.
///
/// # Errors
/// `Internal`; there is no such picture.
pub fn write(width: u16, height: u16, pixels: &[u8]) -> Result<Vec<u8>> {
    let failed = |error| Error::new(ErrorKind::Internal, "pack the picture").with_source(error);
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks(usize::from(width).max(1) * 3) {
        rows.write_all(&[0]).and_then(|()| rows.write_all(row)).map_err(failed)?;
    }
    let packed = rows.finish().map_err(failed)?;
    let mut head = Vec::with_capacity(13);
    head.extend(u32::from(width).to_be_bytes());
    head.extend(u32::from(height).to_be_bytes());
    // Eight bits, colours, and the only way there is of each of packing, filtering, interlacing.
    head.extend([8, 2, 0, 0, 0]);
    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &head);
    chunk(&mut file, b"IDAT", &packed);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(data);
    file.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(sum.sum().to_be_bytes());
}

/// Width and height of a file.
///
/// # Errors
/// `Protocol` for what is no PNG file.
pub fn size(file: &[u8]) -> Result<(u32, u32)> {
    let number = |at: usize| {
        let bytes = file.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let is_png = file.starts_with(SIGNATURE) && file.get(12..16) == Some(b"IHDR");
    match (number(16), number(20)) {
        (Some(width), Some(height)) if is_png => Ok((width, height)),
        _ => Err(Error::new(ErrorKind::Protocol, "what the platform sent is no PNG file")),
    }
}
