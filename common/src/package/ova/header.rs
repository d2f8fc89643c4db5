//! One tar header: POSIX ustar with GNU's long numbers.

use super::BLOCK;
use crate::error::{Error, Result};

/// A header block.
pub(super) type HeaderBlock = [u8; BLOCK as usize];

/// The fields that matter of a checked header.
#[derive(Debug)]
pub(super) struct Header {
    pub name: String,
    pub size: u64,
    pub kind: u8,
}

/// Parses a header block; `None` for a block of zeros, which ends the archive.
///
/// # Errors
/// `Integrity` for a wrong checksum, a number that is none, a name that is not UTF-8.
pub(super) fn parse(block: &HeaderBlock) -> Result<Option<Header>> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let stated = number(&block[148..156]);
    let (mut unsigned, mut signed) = (0_u64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    // Some old writers summed signed characters.
    let fits = |sum: u64| sum == unsigned || i64::try_from(sum) == Ok(signed);
    if !stated.is_some_and(fits) {
        return Err(Error::integrity("it is no tar file, or a header in it is damaged"));
    }
    let size = number(&block[124..136])
        .ok_or_else(|| Error::integrity("a member of the tar file has no usable size"))?;
    let name = text(&block[..100])?;
    let prefix = if &block[257..263] == b"ustar\0" { text(&block[345..500])? } else { "" };
    let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    Ok(Some(Header { name, size, kind: block[156] }))
}

/// A numeric field: octal digits, or GNU's base 256 where the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // 0xff would be negative; no file is larger than 2^63.
        let (high, low) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
        let value = u64::from_be_bytes(low.try_into().ok()?);
        let plain = *first == 0x80 && high.iter().all(|byte| *byte == 0);
        return (plain && value <= i64::MAX as u64).then_some(value);
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    u64::from_str_radix(digits, 8).ok()
}

/// A text field, up to its NUL.
fn text(field: &[u8]) -> Result<&str> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..end])
        .map_err(|_| Error::integrity("a member's name in the tar file is not UTF-8"))
}
