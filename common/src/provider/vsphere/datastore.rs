//! Files of datastores over HTTP: `/folder/{path}?dcPath=…&dsName=…` (vSphere Web Services SDK
//! Programming Guide, "Accessing datastore files"). Ranges can be asked for, several at once.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Client, Download};
use super::machine::{VmDisk, base_name};
use super::soap::MoRef;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::net::{Response, retry};
use crate::provider::ExtentStream;
use crate::transfer::ranged_extents;

/// What is escaped in a part of a URL: all but the unreserved characters of RFC 3986.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same in a path.
const PATH: &AsciiSet = &NAME.remove(b'/');

/// Requests of a disk that are under way at once. One connection to an ESXi host brings 445 Mbit/s,
/// eight bring 730 to 773.
const AT_ONCE: usize = 8;

/// Largest descriptor of a disk.
const DESCRIPTOR: usize = 1 << 20;

/// Largest firmware variables file.
const NVRAM: usize = 64 << 20;

/// A file in a datastore.
#[derive(Debug, Clone)]
pub(super) struct StoreFile {
    client: Client,
    url: String,
    /// How messages call it: `[datastore] folder/name`.
    name: String,
}

impl StoreFile {
    /// The file that the platform calls `[datastore] folder/name`.
    ///
    /// # Errors
    /// `Protocol` where that is no such name.
    pub(super) fn new(client: &Client, datacenter: &str, name: &str) -> Result<Self> {
        let parts = name.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (store, path) = parts.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "it is not in a datastore").with_subject(name)
        })?;
        let base = &client.endpoint().url;
        let origin = base.origin().ascii_serialization();
        let url = format!(
            "{origin}/folder/{}?dcPath={}&dsName={}",
            utf8_percent_encode(path.trim_start(), PATH),
            utf8_percent_encode(datacenter, PATH),
            utf8_percent_encode(store, NAME)
        );
        Ok(Self { client: client.clone(), url, name: name.to_owned() })
    }

    /// The file `name` in the folder of this one.
    fn sibling(&self, datacenter: &str, name: &str) -> Result<Self> {
        let folder = self.name.len() - base_name(&self.name).len();
        let whole = format!("{}{name}", self.name.get(..folder).unwrap_or_default());
        Self::new(&self.client, datacenter, &whole)
    }

    /// All of a small file.
    ///
    /// # Errors
    /// The server's; `Protocol` for a longer one.
    pub(super) async fn small(&self, most: usize) -> Result<Vec<u8>> {
        let options = || Download { cookie: true, ..Download::default() };
        let read = || async { self.client.download(&self.url, options()).await?.bytes(most).await };
        retry(read).await.context(|| format!("read {}", self.name))
    }

    /// The firmware variables.
    ///
    /// # Errors
    /// As [`StoreFile::small`].
    pub(super) async fn nvram(&self) -> Result<Vec<u8>> {
        self.small(NVRAM).await
    }

    /// A part of the file, and what the server says of the whole.
    async fn part(&self, range: Range<u64>) -> Result<(Vec<u8>, Facts)> {
        let wanted = range.end - range.start;
        let options = Download { range: Some(range.clone()), cookie: true, thumbprint: None };
        let response = self.client.download(&self.url, options).await?;
        let facts = Facts::of(&response, &range).map_err(|e| e.with_subject(&self.name))?;
        let bytes = response.bytes(wanted as usize).await?;
        if bytes.len() as u64 != wanted {
            let text = format!("{} of {wanted} bytes came", bytes.len());
            return Err(Error::new(ErrorKind::Unavailable, text)
                .with_subject(&self.name)
                .with_retry_after(Duration::from_secs(1)));
        }
        Ok((bytes, facts))
    }
}

/// What an answer says of the whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    len: u64,
    /// `Last-Modified` as it came.
    modified: String,
}

impl Facts {
    fn of(response: &Response, range: &Range<u64>) -> Result<Self> {
        if response.status() != 206 {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the server sends all of the file though a part of it was asked for",
            )
            .with_hint("--transport nfc does without ranges"));
        }
        let span = response.header("content-range").and_then(|text| {
            let (span, len) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = span.split_once('-')?;
            Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, len.parse().ok()?))
        });
        match span {
            Some((first, last, len))
                if first == range.start && last.checked_add(1) == Some(range.end) =>
            {
                let modified = response.header("last-modified").unwrap_or_default().to_owned();
                Ok(Self { len, modified })
            }
            _ => Err(Error::new(
                ErrorKind::Protocol,
                "the server sends another part of the file than was asked for",
            )),
        }
    }
}

/// A disk that is one flat file.
#[derive(Debug)]
pub(super) struct FlatDisk {
    file: StoreFile,
    facts: Facts,
}

impl FlatDisk {
    /// Finds the flat file of a disk through its descriptor, and looks whether parts of it can
    /// be read.
    ///
    /// # Errors
    /// `Unsupported` for a disk that is not one flat file; the server's.
    pub(super) async fn open(client: &Client, datacenter: &str, disk: &VmDisk) -> Result<Self> {
        let subject = || disk.label.clone();
        if !disk.flat {
            return Err(
                not_flat("it stands on a snapshot or is no plain file").with_subject(subject())
            );
        }
        let descriptor = StoreFile::new(client, datacenter, &disk.file)?;
        let text = descriptor.small(DESCRIPTOR).await.subject(subject)?;
        let name = flat_name(&text).subject(subject)?;
        let file = descriptor.sibling(datacenter, &name)?;
        let first = 0..512.min(disk.capacity);
        let read = || file.part(first.clone());
        let (_, facts) = retry(read).await.context(|| format!("read {}", file.name))?;
        if facts.len != disk.capacity {
            let text = format!("{} has {} bytes, the disk {}", file.name, facts.len, disk.capacity);
            return Err(Error::integrity(text).with_subject(subject()));
        }
        Ok(Self { file, facts })
    }

    /// What tells this state of the file from others.
    pub(super) fn identity(&self) -> Option<String> {
        let Facts { len, modified } = &self.facts;
        (!modified.is_empty()).then(|| format!("{} {len} {modified}", self.file.name))
    }

    /// When it was last changed, in seconds since 1970; 0 where the server does not say.
    pub(super) fn modified_seconds(&self) -> i64 {
        let time = jiff::fmt::rfc2822::parse(&self.facts.modified);
        time.map_or(0, |time| time.timestamp().as_second())
    }

    /// Whether the file is what it was.
    ///
    /// # Errors
    /// `Conflict` where it changed; the server's.
    pub(super) async fn still_same(&self) -> Result<()> {
        self.fetch(0..512.min(self.facts.len)).await.map(|_| ())
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let read = || self.file.part(range.clone());
        let (bytes, facts) = retry(read).await.context(|| format!("read {}", self.file.name))?;
        if facts != self.facts {
            return Err(Error::conflict("the disk's file changed while it was read")
                .with_subject(&self.file.name));
        }
        Ok(bytes.into())
    }

    /// The extents of a range, fetched in pieces, several at once.
    pub(super) fn extents(self: &Arc<Self>, range: Range<u64>) -> ExtentStream {
        let disk = self.clone();
        ranged_extents(range, AT_ONCE, move |piece| {
            let disk = disk.clone();
            async move { disk.fetch(piece).await }
        })
    }
}

fn not_flat(text: &str) -> Error {
    Error::unsupported(format!("{text}, so that it cannot be read from the datastore"))
        .with_hint("--transport nfc exports it")
}

/// The name of the one flat extent that a descriptor names (VMware Virtual Disks, Virtual Disk
/// Format 5.0).
fn flat_name(descriptor: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(descriptor);
    if !text.contains("DescriptorFile") {
        return Err(not_flat("its file is no descriptor"));
    }
    let mut extents = text
        .lines()
        .map(str::trim)
        .filter(|line| ["RW ", "RDONLY ", "NOACCESS "].iter().any(|word| line.starts_with(word)));
    let (Some(extent), None) = (extents.next(), extents.next()) else {
        return Err(not_flat("it is not one file"));
    };
    let mut words = extent.split_whitespace();
    let kind = words.nth(2).unwrap_or_default();
    let name = extent.split('"').nth(1).unwrap_or_default();
    let plain = matches!(kind, "VMFS" | "FLAT") && !name.is_empty() && !name.contains(['/', '\\']);
    if plain { Ok(name.to_owned()) } else { Err(not_flat("it is no flat file")) }
}

/// The inventory path of the datacenter that a machine is in, as `dcPath` wants it.
///
/// # Errors
/// `Protocol` where nothing above the machine is a datacenter; the server's.
pub(super) async fn datacenter_of(client: &Client, start: MoRef) -> Result<String> {
    let mut path: Vec<String> = Vec::new();
    let mut next = Some(start);
    let mut inside = false;
    while let Some(object) = next {
        let properties = client.properties(&object, &["name", "parent"]).await?;
        next = properties.reference("parent");
        inside |= object.kind == "Datacenter";
        // The top folder is no part of paths.
        if inside && next.is_some() {
            path.push(properties.str("name").unwrap_or_default().to_owned());
        }
    }
    if path.is_empty() {
        return Err(Error::new(ErrorKind::Protocol, "the machine is in no datacenter"));
    }
    path.reverse();
    Ok(path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flat_file_is_the_one_that_the_descriptor_names() {
        let flat = b"# Disk DescriptorFile\nversion=1\nCID=1\n\nRW 2048 VMFS \"a b-flat.vmdk\"\n";
        assert_eq!(flat_name(flat).unwrap(), "a b-flat.vmdk");
        for wrong in [
            &b"KDMV"[..],
            b"# Disk DescriptorFile\n",
            b"# Disk DescriptorFile\nRW 2 VMFS \"a\"\nRW 2 VMFS \"b\"\n",
            b"# Disk DescriptorFile\nRW 2 SESPARSE \"a-sesparse.vmdk\"\n",
            b"# Disk DescriptorFile\nRW 2 VMFS \"../../etc/a-flat.vmdk\"\n",
        ] {
            assert_eq!(flat_name(wrong).unwrap_err().kind(), ErrorKind::Unsupported);
        }
        assert_eq!(utf8_percent_encode("a b/ü&c", PATH).to_string(), "a%20b/%C3%BC%26c");
    }
}
