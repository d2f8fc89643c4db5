//! Files of the datastore over `/folder`: flat disks with ranges, and the small files beside them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper_common::image::ReadAt;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::inventory::DATASTORE;
use super::machine::{Machine, Power};
use super::sim::Sim;

/// Bytes of the firmware's memory.
pub const NVRAM_LEN: u64 = 8684;

/// The memory of the firmware: the same for all machines.
pub fn nvram() -> Bytes {
    let mut bytes = b"MRVN\x01\x00\x00\x00".to_vec();
    bytes.extend((0..NVRAM_LEN as usize - bytes.len()).map(|at| (at % 251) as u8));
    bytes.into()
}

/// What is escaped in a part of an address: all but the unreserved characters of RFC 3986.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A part of an address, percent-encoded.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NAME).to_string()
}

/// The reverse of [`encode`]; a plus is a space where `form`.
pub fn decode(text: &str, form: bool) -> String {
    let text = if form { text.replace('+', " ") } else { text.to_owned() };
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// A file that can be sent.
pub struct Found {
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// When it was last written.
    pub modified: Timestamp,
}

/// Why a file is not sent: the HTTP status and a reason.
pub type Refused = (u16, String);

/// Looks a file up: the path below `/folder/`, and the query.
///
/// # Errors
/// 404 for what is not there, 500 for a disk that a running machine writes to.
pub async fn find(sim: &Sim, path: &str, query: &str) -> Result<Found, Refused> {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value, true))
    };
    let missing = || (404, format!("{path} is not there"));
    if value("dsName").as_deref() != Some(DATASTORE) {
        return Err((404, "there is no such datastore".to_owned()));
    }
    let path = decode(path, false);
    let (directory, file) = path.split_once('/').ok_or_else(missing)?;
    let machine = {
        let state = sim.lock();
        let centre = state.tree.name(&state.tree.places.datacenter).unwrap_or_default();
        let meant = value("dcPath");
        let meant = meant.as_deref().map(|path| path.trim_matches('/'));
        // A single host has one data centre and needs no name for it.
        if meant != Some(centre) && !(state.tree.esx && meant.is_none()) {
            return Err((404, "there is no such datacenter".to_owned()));
        }
        let mut machines = state.tree.machines.values();
        machines.find(|machine| machine.directory() == directory).cloned()
    };
    let machine = machine.ok_or_else(missing)?;
    let bytes: Arc<dyn ReadAt> = match small(&machine, file) {
        Some(bytes) => Arc::new(bytes),
        None => extent(sim, &machine, file).await?,
    };
    Ok(Found { bytes, modified: machine.created })
}

/// The small files of a machine.
fn small(machine: &Machine, file: &str) -> Option<Bytes> {
    let (stem, suffix) = file.rsplit_once('.')?;
    match suffix {
        "vmdk" => {
            let at = (0..machine.disks.len()).find(|at| machine.disk_stem(*at) == stem)?;
            let sectors = machine.disks.get(at)?.image.capacity / 512;
            Some(
                format!(
                    "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\n\
                     parentCID=ffffffff\ncreateType=\"vmfs\"\n\n# Extent description\n\
                     RW {sectors} VMFS \"{stem}-flat.vmdk\"\n\n# The Disk Data Base\n#DDB\n\n\
                     ddb.adapterType = \"lsilogic\"\nddb.virtualHWVersion = \"19\"\n"
                )
                .into(),
            )
        }
        _ if stem == "vmware" && suffix == "log" => Some(Bytes::from_static(b"vmx| log\n")),
        _ if stem != machine.name => None,
        "nvram" => Some(nvram()),
        "vmsd" => Some(Bytes::from_static(b".encoding = \"UTF-8\"\n")),
        "vmx" => {
            let (name, guest) = (&machine.name, machine.guest.0);
            let (cpus, memory) = (machine.cpus, machine.memory_mib);
            let text = format!(
                ".encoding = \"UTF-8\"\nconfig.version = \"8\"\nvirtualHW.version = \"19\"\n\
                 displayName = \"{name}\"\nguestOS = \"{guest}\"\nnumvcpus = \"{cpus}\"\n\
                 memSize = \"{memory}\"\nnvram = \"{name}.nvram\"\n"
            );
            Some(text.into())
        }
        _ => None,
    }
}

async fn extent(sim: &Sim, machine: &Machine, file: &str) -> Result<Arc<dyn ReadAt>, Refused> {
    let missing = || (404, format!("{file} is not there"));
    let extent = |at: &usize| format!("{}-flat.vmdk", machine.disk_stem(*at)) == file;
    let at = (0..machine.disks.len()).find(extent);
    let disk = at.and_then(|at| machine.disks.get(at)).ok_or_else(missing)?;
    // What a running machine writes to is locked; under a snapshot it writes elsewhere.
    if machine.power == Power::On && machine.current.is_none() {
        return Err((500, format!("{file} is locked")));
    }
    sim.store.flat(&disk.image).await.map_err(|error| (500, error.to_string()))
}

/// The bytes that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// A part.
    Part(Range<u64>),
    /// A part that lies behind the end.
    Nothing,
}

/// Understands the header `Range` (RFC 9110, 14.2). Several ranges and other units ask for all.
pub fn wanted(header: Option<&str>, len: u64) -> Wanted {
    let Some(ranges) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = ranges.split_once('-').filter(|_| !ranges.contains(',')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let (start, end) = match (first.trim().is_empty(), number(first), number(last)) {
        (true, _, Ok(0)) => return Wanted::Nothing,
        (true, _, Ok(back)) => (len.saturating_sub(back), len),
        (false, Ok(start), Ok(last)) if start <= last => (start, len.min(last.saturating_add(1))),
        (false, Ok(start), _) if last.trim().is_empty() => (start, len),
        _ => return Wanted::All,
    };
    if start < end { Wanted::Part(start..end) } else { Wanted::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood() {
        for (text, expected) in [
            (None, Wanted::All),
            (Some("bytes=0-9"), Wanted::Part(0..10)),
            (Some("bytes=10-"), Wanted::Part(10..100)),
            (Some("bytes=90-1000"), Wanted::Part(90..100)),
            (Some("bytes=-10"), Wanted::Part(90..100)),
            (Some("bytes=100-"), Wanted::Nothing),
            (Some("bytes=-0"), Wanted::Nothing),
            (Some("bytes=9-1"), Wanted::All),
            (Some("bytes=0-1,5-6"), Wanted::All),
            (Some("lines=0-1"), Wanted::All),
        ] {
            assert_eq!(wanted(text, 100), expected, "{text:?}");
        }
    }

    #[test]
    fn addresses_survive() {
        let text = "a [b]/c+d%e ü";
        assert_eq!(decode(&encode(text), false), text);
        assert_eq!(decode("a+b%5B%", true), "a b[%");
    }
}
