//! The machines that a simulated vSphere starts with.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use hyper_common::error::{Error, ErrorKind, Result};
use jiff::{Timestamp, ToSpan};

use crate::request::{Generated, SAMPLE, Vsphere, generated_name};
use crate::vsphere::alarm::Alarm;
use crate::vsphere::disk::DiskImage;
use crate::vsphere::inventory::Inventory;
use crate::vsphere::machine::{BOOT, Disk, Machine, Power};

/// The tree with all machines, and the disks that come from image files, each with a name for it.
///
/// # Errors
/// Those of opening the image files.
pub async fn make(request: &Vsphere) -> Result<(Inventory, Vec<(String, Arc<DiskImage>)>)> {
    let mut tree = Inventory::new(request.args.esx);
    let (mut own, mut known) = (Vec::new(), HashMap::<_, Arc<DiskImage>>::new());
    for machine in &request.machines {
        let Some((name, folders)) = machine.path.split_last() else { continue };
        let mut images = Vec::new();
        for (at, file) in (1..).zip(&machine.files) {
            // Machines that name the same file share what is made of it.
            if let Some(image) = known.get(file) {
                images.push(image.clone());
                continue;
            }
            let image = Arc::new(open(file.clone()).await?);
            known.insert(file, image.clone());
            own.push((format!("{name}: disk {at} of {}", machine.files.len()), image.clone()));
            images.push(image);
        }
        let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
        add(&mut tree, request, name, &folders, images);
    }
    match request.generated {
        Generated::Many(count) => {
            for number in 1..=count {
                let disk = Arc::new(DiskImage::generated(u64::from(number) << 8));
                add(&mut tree, request, &generated_name(number), &[], vec![disk]);
            }
        }
        Generated::Sample => {
            for (at, (name, disks)) in (1..).zip(SAMPLE) {
                let disk = |disk: u32| Arc::new(DiskImage::generated(at << 8 | u64::from(disk)));
                add(&mut tree, request, name, &[], (0..disks).map(disk).collect());
            }
        }
    }
    Ok((tree, own))
}

async fn open(file: PathBuf) -> Result<DiskImage> {
    let opened = tokio::task::spawn_blocking(move || DiskImage::open(&file)).await;
    opened.map_err(|error| Error::new(ErrorKind::Internal, "open a disk").with_source(error))?
}

fn add(
    tree: &mut Inventory,
    request: &Vsphere,
    name: &str,
    folders: &[&str],
    images: Vec<Arc<DiskImage>>,
) {
    let args = &request.args;
    let oddity = args.odd.iter().find(|odd| odd.name == name).map(|odd| odd.kind);
    let disk = |image| Disk { image, thin: !args.thick, oddity };
    let folder = tree.folder(folders);
    let reference = tree.next_machine();
    let number = tree.machines.len() as u64 + 1;
    let now = Timestamp::now();
    let running = args.running.iter().any(|it| it == name);
    let efi = args.efi.iter().find(|efi| efi.name == name);
    let networks = &tree.places.network;
    let nics = networks.iter().take(if images.len() > 1 { 2 } else { 1 }).enumerate();
    let nics = nics.map(|(at, network)| (mac(number, at as u64), network.clone())).collect();
    for alarm in args.alarm.iter().filter(|alarm| alarm.name == name) {
        tree.alarms.push(Alarm {
            machine: reference.clone(),
            status: alarm.status,
            since: now,
            acknowledged_by: alarm.by.clone(),
        });
    }
    tree.insert(Machine {
        reference,
        name: name.to_owned(),
        folder,
        uuid: format!("4215f000-aaaa-bbbb-cccc-{number:012x}"),
        instance_uuid: format!("5015f000-aaaa-bbbb-cccc-{number:012x}"),
        cpus: if images.len() > 1 { 4 } else { 2 },
        memory_mib: if images.len() > 1 { 4096 } else { 2048 },
        efi: efi.is_some(),
        secure_boot: efi.is_some_and(|efi| efi.secure),
        tpm: efi.is_some_and(|efi| efi.tpm),
        guest: ("debian12_64Guest", "Debian GNU/Linux 12 (64-bit)"),
        power: if running { Power::On } else { Power::Off },
        booted: running.then(|| now - BOOT),
        created: now.checked_sub(24.hours()).unwrap_or(now),
        disks: images.into_iter().map(disk).collect(),
        nics,
        snapshots: Vec::new(),
        current: None,
        made_snapshots: 0,
        unmerged: false,
        options: Vec::new(),
        shared: None,
        serial: None,
        leases: Vec::new(),
        pending: None,
        identity: None,
    });
}

fn mac(machine: u64, card: u64) -> String {
    let [.., a, b, c, _] = (machine << 12 | card << 8).to_be_bytes();
    format!("00:50:56:{a:02x}:{b:02x}:{c:02x}")
}
