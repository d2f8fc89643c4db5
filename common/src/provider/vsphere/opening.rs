//! Opening a machine for export: which moment is read, which way its disks take. Nothing is made on
//! the server.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::client::Client;
use super::datastore::{FlatDisk, datacenter_of};
use super::export::{Held, VsphereSource};
use super::machine::{Described, VmDisk, describe, plain_name};
use super::property::Properties;
use super::snapshot;
use super::soap::MoRef;
use crate::error::{Error, ErrorKind, Result, one_line};
use crate::provider::facets::export::choose_moment;
use crate::provider::{DiskInfo, ExportOptions, Moment, Seek, Transport};

/// What is asked of a machine.
const PATHS: [&str; 8] = [
    "name",
    "config",
    "layoutEx.file",
    "runtime.powerState",
    "runtime.host",
    "snapshot",
    "parent",
    "parentVApp",
];

/// Grains of the streams that servers send.
pub(super) const GRAIN: u32 = 64 << 10;

/// A machine that is being opened.
pub(super) struct Opening {
    pub client: Client,
    pub vm: MoRef,
}

impl Opening {
    /// Asks the server about it.
    pub(super) async fn open(self, options: &ExportOptions) -> Result<VsphereSource> {
        options.transport.check("vSphere", &[Transport::Nfc, Transport::Datastore])?;
        let properties = self.client.properties(&self.vm, &PATHS).await?;
        let name = plain_name(properties.str("name").unwrap_or(&self.vm.value));
        let off = properties.str("runtime.powerState") == Some("poweredOff");
        if options.moment == Moment::AsIs && !off {
            return Err(choose_moment(&name));
        }
        let (mut described, subject) = self.describe(&name, &properties, &options.moment).await?;
        self.name_networks(&mut described).await?;
        let datacenter = self.datacenter(&properties).await;
        // What is still running changes until it has been brought to rest, and its files are
        // locked.
        let settled = match &options.moment {
            Moment::AsIs | Moment::Snapshot(_) => true,
            Moment::TempSnapshot { .. } => false,
            Moment::PowerOff => off,
        };
        let by_file = by_file(options.transport, &described);
        let finder =
            FlatFinder { client: self.client.clone(), transport: options.transport, datacenter };
        let flat = match by_file && settled {
            true => finder.find(&described).await?,
            false => None,
        };
        let streams = !by_file || settled && flat.is_none();
        let changed = properties.get("config").and_then(|config| config.str("changeVersion"));
        let marks = settled.then(|| match &subject {
            Some(snapshot) => Some(snapshot.value.clone()),
            None => changed.map(str::to_owned),
        });
        let marks = marks.flatten();
        let disks = disk_infos(&described, flat.as_deref(), settled, marks.as_deref());
        let found = OnceLock::new();
        if settled {
            let _ = found.set(flat);
        }
        Ok(VsphereSource {
            client: self.client,
            vm: self.vm,
            name,
            moment: options.moment.clone(),
            off,
            subject,
            leased: Arc::default(),
            flat: found,
            streams,
            finder,
            disks,
            described,
            held: Held::default(),
        })
    }

    /// The machine as it is, or as it was at the snapshot.
    async fn describe(
        &self,
        name: &str,
        properties: &Properties,
        moment: &Moment,
    ) -> Result<(Described, Option<MoRef>)> {
        let files = properties.get("layoutEx.file");
        let missing = || {
            Error::new(ErrorKind::Unavailable, "the server does not tell its configuration")
                .with_subject(name)
                .with_hint("its host may be disconnected, or this user may not see it")
        };
        let Moment::Snapshot(wanted) = moment else {
            let config = properties.get("config").ok_or_else(missing)?;
            return Ok((describe(name, config, files)?, None));
        };
        let found = snapshot::find(properties.get("snapshot"), wanted)?;
        let then = self.client.properties(&found.id, &["config"]).await?;
        let config = then.get("config").ok_or_else(missing)?;
        Ok((describe(name, config, files)?, Some(found.id)))
    }

    /// Asks for the names of port groups that adapters know by their keys.
    async fn name_networks(&self, described: &mut Described) -> Result<()> {
        let groups: Vec<MoRef> = described.ports.iter().map(|(_, group)| group.clone()).collect();
        let mut names = HashMap::new();
        for group in groups {
            let asked = self.client.properties(&group, &["name"]).await;
            match asked {
                Ok(found) => names.extend(found.str("name").map(|name| (group, plain_name(name)))),
                // The key is better than nothing, and no reason to fail.
                Err(error) => tracing::info!("{group}: {}", one_line(&error)),
            }
        }
        for (number, group) in &described.ports {
            if let (Some(nic), Some(name)) =
                (described.machine.nics.get_mut(*number), names.get(group))
            {
                nic.network = Some(name.clone());
            }
        }
        Ok(())
    }

    async fn datacenter(&self, properties: &Properties) -> Result<String> {
        let above = ["parent", "parentVApp", "runtime.host"];
        let above = above.iter().find_map(|path| properties.reference(path));
        let above = above.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server does not say where the machine is")
        })?;
        datacenter_of(&self.client, above).await
    }
}

/// The disks of a machine as files; none for those that cannot be exported.
pub(super) type Flat = Vec<Option<Arc<FlatDisk>>>;

/// Whether the disks are to be looked for as files.
fn by_file(transport: Transport, described: &Described) -> bool {
    let suits = |disk: &VmDisk| disk.preallocated && disk.refusal.is_none();
    match transport {
        Transport::Datastore => true,
        Transport::Nfc | Transport::Ingress | Transport::PortForward => false,
        Transport::Auto => !described.disks.is_empty() && described.disks.iter().all(suits),
    }
}

/// Looks for the files of disks.
pub(super) struct FlatFinder {
    client: Client,
    transport: Transport,
    pub datacenter: Result<String>,
}

impl FlatFinder {
    /// The disks as files; none where they cannot be had and the choice is ours.
    pub(super) async fn find(&self, described: &Described) -> Result<Option<Flat>> {
        let auto = self.transport == Transport::Auto;
        let datacenter = match &self.datacenter {
            Ok(datacenter) => datacenter,
            Err(_) if auto => return Ok(None),
            Err(error) => return Err(Error::new(error.kind(), one_line(error))),
        };
        let mut flat = Vec::new();
        for disk in &described.disks {
            if disk.refusal.is_some() {
                flat.push(None);
                continue;
            }
            match FlatDisk::open(&self.client, datacenter, disk).await {
                Ok(open) => flat.push(Some(Arc::new(open))),
                Err(error) if auto => {
                    tracing::info!("{}: exported as a stream: {}", disk.label, one_line(&error));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(flat))
    }
}

fn disk_infos(
    described: &Described,
    flat: Option<&[Option<Arc<FlatDisk>>]>,
    settled: bool,
    marks: Option<&str>,
) -> Vec<DiskInfo> {
    let info = |(number, (disk, vm)): (usize, (&crate::vm::MachineDisk, &VmDisk))| {
        let file = flat.and_then(|flat| flat.get(number)?.as_ref());
        let identity = match file {
            Some(file) => {
                file.identity().filter(|_| settled).map(|id| format!("{id} {}", vm.marks))
            }
            // The platform's own marks of a content are part of it: with none of them nothing
            // is proven.
            None => marks.filter(|_| !vm.marks.is_empty()).map(|id| format!("{id} {}", vm.marks)),
        };
        DiskInfo {
            id: disk.id.clone(),
            name: vm.label.clone(),
            capacity: vm.capacity,
            settled: true,
            block_size: GRAIN,
            seek: if file.is_some() { Seek::Ranges } else { Seek::Stream },
            format: None,
            identity,
            modified_seconds: file.map_or(0, |file| file.modified_seconds()),
            refusal: vm.refusal.clone(),
        }
    };
    described.machine.disks.iter().zip(&described.disks).enumerate().map(info).collect()
}
