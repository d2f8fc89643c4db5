//! What a list shows of the machines in a folder.

use std::path::PathBuf;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::identify::Kind;
use super::locate::{self, Place};
use super::open::{allocated, open};
use super::piped::read_front;
use super::spool::InOrder;
use super::{Local, scan, shown};
use crate::error::{Result, ResultExt};
use crate::fs::FileBytes;
use crate::package::LARGEST_DESCRIPTION;
use crate::package::ova::{PackageCompression, first_member, unpacker};
use crate::package::ovf::read_ovf;
use crate::provider::ExportOptions;
use crate::vm::{Machine, Vm, VmFilter};

/// Records that wait for the reader at the most.
const QUEUE: usize = 16;

/// What a list shows of one machine.
pub(super) struct Summary {
    pub machine: Machine,
    pub format: String,
    pub allocated_bytes: Option<u64>,
    pub updated: Option<Timestamp>,
}

/// The machines that pass the filter: of one folder and its subfolders, or the one in a file.
pub(super) fn stream(local: Local, filter: VmFilter) -> BoxStream<'static, Result<Vm>> {
    let (send, receive) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = filter.without_labels(super::NAME) {
            let _ = send.blocking_send(Err(error));
            return;
        }
        let accepted = |vm: &Result<Vm>| vm.as_ref().map_or(true, |vm| filter.accepts(vm));
        for place in places(&local, filter.within.as_deref().unwrap_or_default()) {
            let vm = place.and_then(|place| local.record(&place));
            if accepted(&vm) && send.blocking_send(vm).is_err() {
                return;
            }
        }
    });
    stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) }).boxed()
}

fn places(local: &Local, within: &str) -> Box<dyn Iterator<Item = Result<Place>>> {
    let folder = local.root.join(within);
    if folder.is_dir() || within.is_empty() {
        return Box::new(scan::machines(&folder, true));
    }
    Box::new(std::iter::once(locate::resolve(&local.root, within)))
}

/// Opens a machine for a moment, disks included: what a list says was seen.
pub(super) fn summary(place: &Place) -> Result<Summary> {
    let (machine, files) = match place.kind {
        Kind::PackedOva(compression) => (packed(place, compression)?, vec![place.path.clone()]),
        Kind::Piped => (read_front(place)?.package.description.machine, Vec::new()),
        _ => {
            let open = open(place, &ExportOptions::default())?;
            let mut files: Vec<PathBuf> = vec![open.source.path().to_owned()];
            let disks = open.disks.iter().flat_map(|disk| disk.opened.all());
            files.extend(disks.map(|file| file.path().to_owned()));
            files.sort();
            files.dedup();
            (open.machine, files)
        }
    };
    let format = match place.kind {
        Kind::Ovf => "ovf".to_owned(),
        Kind::Ova | Kind::Piped => "ova".to_owned(),
        Kind::PackedOva(compression) => format!("ova.{}", suffix(compression)),
        Kind::Vmx => "vmx".to_owned(),
        Kind::Domain => "libvirt".to_owned(),
        Kind::Image(format) => format.map_or("raw", |format| format.name()).to_owned(),
    };
    let sizes: Vec<_> = files.iter().filter_map(|file| allocated(file)).collect();
    let times = files.iter().filter_map(|file| std::fs::metadata(file).ok()?.modified().ok());
    Ok(Summary {
        machine,
        format,
        allocated_bytes: sizes.into_iter().reduce(u64::saturating_add),
        updated: times.max().and_then(|time| Timestamp::try_from(time).ok()),
    })
}

fn suffix(compression: PackageCompression) -> &'static str {
    match compression {
        PackageCompression::Gzip => "gz",
        PackageCompression::Zstd => "zst",
    }
}

/// The machine in a compressed package, from its envelope, which comes first: no more than that
/// is unpacked, so the disks are as large as the envelope says.
fn packed(place: &Place, compression: PackageCompression) -> Result<Machine> {
    let file = FileBytes::open(&place.path)?;
    let read = || -> Result<Machine> {
        let mut reader = unpacker(compression, InOrder { file: &file, at: 0 })?;
        let (_, bytes) = first_member(&mut reader, LARGEST_DESCRIPTION.min(file.len() << 10))?;
        Ok(read_ovf(&bytes, place.system.as_deref())?.description.machine)
    };
    read().subject(|| shown(&place.path))
}
