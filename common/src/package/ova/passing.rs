//! A tar stream as it passes by: its members in order, each once.

use std::io::Read;

use super::BLOCK;
use super::header::{Header, HeaderBlock, parse};
use super::members::{Extension, MOST_MEMBERS, Member, Step, checked_name, extend};
use crate::error::{Error, Result};

/// Bytes that are thrown away at once.
const STEP: usize = 64 << 10;

/// A tar stream, read from front to back.
#[derive(Debug)]
pub struct Passing<R> {
    reader: R,
    /// Bytes of the stream that have gone by.
    at: u64,
    /// Bytes of the current member that have not.
    left: u64,
    names: Vec<String>,
    ended: bool,
}

impl<R: Read> Passing<R> {
    /// Before the first byte.
    pub fn new(reader: R) -> Self {
        Self { reader, at: 0, left: 0, names: Vec::new(), ended: false }
    }

    /// The next file of the archive; what is left of the one before goes by. `None` once the
    /// archive's end mark has come.
    ///
    /// # Errors
    /// As [`super::find_members`]; `Integrity` where the stream ends without an end mark, which
    /// is how a transfer that broke off looks.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        let mut extension = Extension::default();
        loop {
            if self.ended {
                return Ok(None);
            }
            self.skip()?;
            let Some(header) = self.header()? else {
                self.ended = true;
                return Ok(None);
            };
            self.left = match header.kind {
                b'x' | b'g' | b'L' | b'K' => header.size,
                _ => extension.size_of(&header),
            };
            let step = extend(&header, &mut extension, |len| self.bytes(len))?;
            match step {
                Step::Extended => {}
                Step::Folder => extension = Extension::default(),
                Step::File => {
                    let (name, size) = extension.apply(&header);
                    return self.enter(&name, size).map(Some);
                }
            }
        }
    }

    /// The next bytes of the current member; none once all have come.
    ///
    /// # Errors
    /// `Integrity` where the stream ends before the member does; what reading met otherwise.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = self.left.min(buf.len() as u64) as usize;
        let Some(part) = buf.get_mut(..len).filter(|part| !part.is_empty()) else { return Ok(0) };
        let got = loop {
            match self.reader.read(part) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(failed)?,
            }
        };
        if got == 0 {
            return Err(early());
        }
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }

    /// All that is left of the current member, which may be `most` bytes.
    ///
    /// # Errors
    /// `Integrity` where it is more; as [`Passing::read`].
    pub fn content(&mut self, most: u64) -> Result<Vec<u8>> {
        if self.left > most {
            let name = self.names.last().map(String::as_str).unwrap_or_default();
            return Err(Error::integrity(format!("the package's member {name:?} is too large")));
        }
        self.bytes(self.left)
    }

    /// Lets everything behind the archive's end mark go by, so that whoever writes the stream can
    /// end well.
    ///
    /// # Errors
    /// What reading met.
    pub fn drain(&mut self) -> Result<()> {
        std::io::copy(&mut self.reader, &mut std::io::sink()).map(|_| ()).map_err(failed)
    }

    fn enter(&mut self, name: &str, size: u64) -> Result<Member> {
        let name = checked_name(name)?;
        if self.names.contains(&name) {
            return Err(Error::integrity(format!("the package holds {name:?} twice")));
        }
        if self.names.len() == MOST_MEMBERS {
            return Err(Error::integrity("the package holds too many files"));
        }
        let end = self.at.checked_add(size).filter(|end| *end <= i64::MAX as u64);
        let end = end.ok_or_else(|| {
            Error::integrity(format!("the package's member {name:?} is larger than any file"))
        })?;
        self.names.push(name.clone());
        self.left = size;
        Ok(Member { name, range: self.at..end })
    }

    /// Lets the rest of the current member and its padding go by.
    fn skip(&mut self) -> Result<()> {
        let mut piece = [0; STEP];
        while self.left > 0 {
            self.read(&mut piece)?;
        }
        self.left = self.at.next_multiple_of(BLOCK) - self.at;
        while self.left > 0 {
            self.read(&mut piece)?;
        }
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let mut block: HeaderBlock = [0; BLOCK as usize];
        self.reader.read_exact(&mut block).map_err(failed)?;
        self.at += BLOCK;
        parse(&block)
    }

    /// The next `len` bytes of the current member.
    fn bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let got = (&mut self.reader).take(len).read_to_end(&mut bytes).map_err(failed)? as u64;
        self.at += got;
        self.left = self.left.saturating_sub(got);
        if got == len { Ok(bytes) } else { Err(early()) }
    }
}

fn early() -> Error {
    Error::integrity("the package ends too early")
}

/// A decompressor reports damage as input that is invalid or ends early.
fn failed(e: std::io::Error) -> Error {
    use std::io::ErrorKind as Os;
    match e.kind() {
        Os::UnexpectedEof => early(),
        Os::InvalidData | Os::InvalidInput | Os::Other => {
            Error::integrity("the package is damaged or ends too early").with_source(e)
        }
        _ => Error::io("read the package", e),
    }
}
