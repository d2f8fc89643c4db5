//! The members of a tar file and where their bytes lie.

use std::ops::Range;

use super::BLOCK;
use super::header::{Header, HeaderBlock, parse};
use crate::error::{Error, Result};
use crate::fs::safe_name;
use crate::image::ReadAt;

/// Most members; an OVA has one per disk and a handful more.
pub(super) const MOST_MEMBERS: usize = 4096;

/// Largest extended header in bytes.
pub(super) const LARGEST_EXTENSION: u64 = 64 << 10;

/// A file in a tar archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, relative and free of `.` and `..`.
    pub name: String,
    /// Where its bytes lie in the archive.
    pub range: Range<u64>,
}

/// What extended headers say about the member that follows them.
#[derive(Debug, Default)]
pub(super) struct Extension {
    path: Option<String>,
    size: Option<u64>,
}

/// Walks the headers of a tar file. Reads nothing of the members themselves.
///
/// # Errors
/// `Integrity` for damage, for names that are absolute or lead out of the folder, for names that
/// come twice, for links and devices; `Unsupported` for sparse members.
pub fn find_members(file: &dyn ReadAt) -> Result<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    let mut extension = Extension::default();
    let mut at = 0;
    while at < file.len() {
        let mut block: HeaderBlock = [0; BLOCK as usize];
        read(file, &mut block, at)?;
        let Some(header) = parse(&block)? else { break };
        let start = at + BLOCK;
        let size = match header.kind {
            b'x' | b'g' | b'L' | b'K' => header.size,
            _ => extension.size_of(&header),
        };
        let end = start.checked_add(size).filter(|end| *end <= file.len()).ok_or_else(|| {
            let name = &header.name;
            Error::integrity(format!("the package ends before its member {name:?} does"))
        })?;
        match extend(&header, &mut extension, |len| content(file, start, len))? {
            Step::Extended => {}
            Step::Folder => extension = Extension::default(),
            Step::File => {
                let name = std::mem::take(&mut extension).path.unwrap_or(header.name);
                let name = checked_name(&name)?;
                if members.iter().any(|member| member.name == name) {
                    return Err(Error::integrity(format!("the package holds {name:?} twice")));
                }
                if members.len() == MOST_MEMBERS {
                    return Err(Error::integrity("the package holds too many files"));
                }
                members.push(Member { name, range: start..end });
            }
        }
        at = end.next_multiple_of(BLOCK);
    }
    Ok(members)
}

/// What a header stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It extends the next one.
    Extended,
    /// A folder: nothing to read.
    Folder,
    /// A file.
    File,
}

/// Takes in one header; `content` reads so many bytes of what follows it.
pub(super) fn extend(
    header: &Header,
    extension: &mut Extension,
    content: impl FnOnce(u64) -> Result<Vec<u8>>,
) -> Result<Step> {
    let refuse = |what: &str| {
        let name = &header.name;
        Err(Error::integrity(format!("the package's member {name:?} is {what}, not a file")))
    };
    if header.size > LARGEST_EXTENSION && matches!(header.kind, b'x' | b'L') {
        return Err(Error::integrity("an extended header of the tar file is too large"));
    }
    match header.kind {
        b'0' | b'\0' | b'7' => Ok(Step::File),
        b'5' => Ok(Step::Folder),
        b'x' => {
            read_pax(&content(header.size)?, extension)?;
            Ok(Step::Extended)
        }
        b'L' => {
            let bytes = content(header.size)?;
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let name = std::str::from_utf8(&bytes[..end])
                .map_err(|_| Error::integrity("a member's name in the tar file is not UTF-8"))?;
            extension.path = Some(name.to_owned());
            Ok(Step::Extended)
        }
        b'g' | b'K' => Ok(Step::Extended),
        b'1' | b'2' => refuse("a link"),
        b'3' | b'4' | b'6' => refuse("a device or pipe"),
        b'S' => Err(sparse(&header.name)),
        _ => refuse("of an unknown kind"),
    }
}

impl Extension {
    /// The size of the file that `header` starts.
    pub(super) fn size_of(&self, header: &Header) -> u64 {
        self.size.unwrap_or(header.size)
    }

    /// The size of the member that `header` starts, and its name.
    pub(super) fn apply(&mut self, header: &Header) -> (String, u64) {
        let taken = std::mem::take(self);
        (taken.path.unwrap_or_else(|| header.name.clone()), taken.size.unwrap_or(header.size))
    }
}

fn sparse(name: &str) -> Error {
    Error::unsupported(format!("the package's member {name:?} is stored sparsely"))
        .with_hint("unpack it with tar and read the OVF folder instead")
}

/// Records of an extended header (POSIX pax): `LENGTH KEY=VALUE\n`, the length counting itself.
fn read_pax(bytes: &[u8], extension: &mut Extension) -> Result<()> {
    let damaged = || Error::integrity("an extended header of the tar file is damaged");
    let mut rest = bytes;
    while rest.first().is_some_and(|byte| *byte != 0) {
        let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
        let digits = std::str::from_utf8(&rest[..space]).map_err(|_| damaged())?;
        let len: usize = digits.parse().map_err(|_| damaged())?;
        let record = rest.get(space + 1..len).ok_or_else(damaged)?;
        rest = rest.get(len..).ok_or_else(damaged)?;
        let record = std::str::from_utf8(record).map_err(|_| damaged())?;
        let (key, value) = record
            .strip_suffix('\n')
            .and_then(|record| record.split_once('='))
            .ok_or_else(damaged)?;
        match key {
            "path" => extension.path = Some(value.to_owned()),
            "size" => extension.size = Some(value.parse().map_err(|_| damaged())?),
            key if key.starts_with("GNU.sparse") => return Err(sparse(value)),
            _ => {}
        }
    }
    Ok(())
}

/// A member's name without a leading `./`, each part of it a plain name.
pub(super) fn checked_name(name: &str) -> Result<String> {
    let mut plain = name;
    while let Some(rest) = plain.strip_prefix("./") {
        plain = rest;
    }
    for part in plain.split('/') {
        safe_name(part).map_err(|error| {
            let shown: String = name.chars().take(80).collect();
            Error::integrity(format!("the package names a member {shown:?}")).with_source(error)
        })?;
    }
    Ok(plain.to_owned())
}

fn read(file: &dyn ReadAt, buf: &mut [u8], at: u64) -> Result<()> {
    file.read_exact_at(buf, at).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::integrity("the package ends in a header"),
        _ => Error::io("read the package", e),
    })
}

fn content(file: &dyn ReadAt, start: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len.min(LARGEST_EXTENSION)).unwrap_or(0)];
    read(file, &mut bytes, start)?;
    Ok(bytes)
}
