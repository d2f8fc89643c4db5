//! Tar headers for an OVA: ustar, sizes of 8 GiB and more in base 256, the same bytes for the
//! same input. A header's length depends on the name alone, so that a header can be reserved
//! before its member's size is known and written over it afterwards.

use super::BLOCK;
use super::header::HeaderBlock;
use crate::error::{Error, Result};
use crate::fs::safe_name;

/// Largest size that eleven octal digits hold.
const LARGEST_OCTAL: u64 = (8 << 30) - 1;

/// Longest name that a plain header holds.
const PLAIN_NAME: usize = 100;

/// Bytes that [`member_header`] gives for a name.
pub fn header_len(name: &str) -> u64 {
    if name.len() <= PLAIN_NAME {
        return BLOCK;
    }
    2 * BLOCK + (path_record(name).len() as u64).next_multiple_of(BLOCK)
}

/// The header of a member: mode 0644, owner 0, `mtime` in seconds since 1970. A name longer than
/// 100 bytes comes as a pax record before it.
///
/// # Errors
/// `Integrity` for a name that is no plain file name; `Unsupported` for a size beyond 2^63.
pub fn member_header(name: &str, size: u64, mtime: u64) -> Result<Vec<u8>> {
    safe_name(name)?;
    if size > i64::MAX as u64 {
        return Err(Error::unsupported(format!("{name:?} is too large for a tar file")));
    }
    let mut bytes = Vec::new();
    if name.len() > PLAIN_NAME {
        let record = path_record(name);
        bytes.extend(block(b"pax", record.len() as u64, mtime, b'x'));
        bytes.extend(record.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
    }
    let short = &name.as_bytes()[..name.len().min(PLAIN_NAME)];
    bytes.extend(block(short, size, mtime, b'0'));
    Ok(bytes)
}

/// Zeros that follow a member of `size` bytes.
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK
}

/// What ends an archive: two blocks of zeros.
pub fn end_blocks() -> Vec<u8> {
    vec![0; 2 * BLOCK as usize]
}

/// `LENGTH path=NAME\n`, where the length counts its own digits.
fn path_record(name: &str) -> String {
    let rest = format!(" path={name}\n");
    let mut len = rest.len() + 1;
    while len.to_string().len() + rest.len() != len {
        len = len.to_string().len() + rest.len();
    }
    format!("{len}{rest}")
}

fn block(name: &[u8], size: u64, mtime: u64, kind: u8) -> HeaderBlock {
    let mut block: HeaderBlock = [0; BLOCK as usize];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], 0o644);
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    if size <= LARGEST_OCTAL {
        octal(&mut block[124..136], size);
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    // Times past the year 2242 do not fit; the field then holds the latest that does.
    octal(&mut block[136..148], mtime.min(LARGEST_OCTAL));
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// Octal digits and a NUL.
fn octal(field: &mut [u8], value: u64) {
    let mut rest = value;
    for digit in field.iter_mut().rev().skip(1) {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    if let Some(last) = field.last_mut() {
        *last = 0;
    }
}
