//! What `hyper vm` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use hyper_common::image::ImageFormat;
use hyper_common::provider::Link;
use hyper_common::time::parse_duration;
use hyper_common::tool::SaveFlags;
use hyper_common::tool::flags::{
    ChoiceFlags, ContextFlags, DryRunFlags, FilterFlags, OutputFlags, PatienceFlags, ProgressFlags,
    ReferenceFlags, TalkFlags, YesFlags,
};
use hyper_common::vm::parse_bytes;

/// The arguments of `hyper vm`.
#[derive(Debug, Args)]
pub struct VmArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with machines.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show machines
    ///
    /// Several places are looked at at the same time, and shown in their order. Where one cannot be
    /// read the others are shown, and the exit status is 10.
    ///
    /// Machines in files are seen in the context's folder and the folders directly below it. A
    /// file that should hold one and cannot be read is a warning; exit status 10 says that there
    /// was one. -o csv has the columns that HyperSDK's lists had; what has no source is empty.
    List(ListArgs),
    /// Show all about some machines
    ///
    /// Without a name, one is picked on the terminal.
    Get(GetArgs),
    /// Make machines
    ///
    /// From flags, from manifests (-f, in clusters), or from answers to questions (--interactive). A
    /// machine is made switched off unless --start is given or its manifest says otherwise. On
    /// vSphere it has a new disk (--blank); what is not named is the only pool, datastore or folder
    /// there is. Manifests hold VirtualMachine objects of kubevirt.io, or VirtualMachine, VMTemplate,
    /// VMSnapshot and VMOperation objects of hypersdk.io/v1alpha1, which become what KubeVirt has
    /// for them; every field that has no counterpart is a warning.
    Create(Box<CreateArgs>),
    /// Switch machines on
    ///
    /// A machine that runs already is left as it is, and that is no failure.
    Start(StartArgs),
    /// Shut machines down
    ///
    /// The guest is asked to shut down, and it is waited until the machine is off. One that is off
    /// already is no failure.
    Stop(StopArgs),
    /// Restart machines that run
    ///
    /// On KubeVirt the guest is shut down and the machine started anew, and it is waited until it
    /// runs. On vSphere the guest is asked to restart, which takes as long as it takes.
    Restart(RestartArgs),
    /// Hold machines still, with all that they have in memory
    ///
    /// On KubeVirt a machine that is held stays on its node; on vSphere it is suspended to disk.
    Pause(ChangeArgs),
    /// Let machines go on that were held
    Unpause(ChangeArgs),
    /// Delete machines and the disks that are theirs alone
    ///
    /// On KubeVirt a machine that runs is shut down, and the volumes that it has templates for go
    /// with it; other volumes stay. On vSphere a machine must be off, and its disks go with it.
    Delete(DeleteArgs),
    /// Give machines more or fewer processors, or memory
    ///
    /// Only what is named changes. A guest that runs gets it at once where its platform can do
    /// that. On KubeVirt the machine has it from its next restart on otherwise, and the note of
    /// the result says so; on vSphere it must be off.
    Resize(ResizeArgs),
    /// Move machines to other hosts
    ///
    /// A machine moves as it runs, and its disks stay where they are unless --to-datastore names
    /// another place for them. What stands in the way is told before anything is done.
    Migrate(MigrateArgs),
    /// Connect network cards of machines to other networks (vSphere)
    ///
    /// All that is named is changed by one step. A card keeps its hardware address.
    Network(NetworkArgs),
    /// Put machines into other resource pools or folders (vSphere)
    ///
    /// Both are looked up before anything is changed.
    Move(MoveArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only machines in this place: CONTEXT:, CONTEXT:FOLDER or FOLDER
    #[arg(value_name = "PLACE")]
    pub places: Vec<String>,

    /// Show only how many there are in each place
    #[arg(long, conflicts_with = "save")]
    pub count: bool,

    /// Go on and tell what changes, as hyper watch does
    #[arg(long, short, conflicts_with_all = ["count", "save"])]
    pub watch: bool,

    #[command(flatten)]
    pub save: SaveFlags,
    #[command(flatten)]
    pub filter: FilterFlags,
    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Machines: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,

    /// Go on and tell what changes, as hyper watch does
    #[arg(long, short)]
    pub watch: bool,

    #[command(flatten)]
    pub context: ContextFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The machine: NAME, CONTEXT:NAME, NAMESPACE/NAME
    #[arg(value_name = "NAME", required_unless_present_any = ["file", "interactive"])]
    pub name: Option<String>,

    /// Give it so many processors, as the guest counts them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "instancetype")]
    pub cpus: Option<u32>,

    /// Give it so much memory, such as 4Gi
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, conflicts_with = "instancetype")]
    pub memory: Option<u64>,

    /// Let it start from this container image; what the guest writes is lost when it stops
    #[arg(long, value_name = "IMAGE", group = "source")]
    pub container_disk: Option<String>,

    /// Give it this volume, a DataVolume or a claim that is there
    #[arg(long, value_name = "NAME", group = "source")]
    pub datavolume: Option<String>,

    /// Give it a copy of the image in this DataSource
    #[arg(long, value_name = "[NAMESPACE/]NAME", group = "source")]
    pub data_source: Option<String>,

    /// Make it from this DataSource with the instancetype and the preference that its labels name
    #[arg(long, value_name = "[NAMESPACE/]NAME", group = "source")]
    pub template: Option<String>,

    /// Give it a new disk of this size without content
    #[arg(long, value_name = "SIZE", value_parser = parse_disk, group = "source")]
    pub blank: Option<u64>,

    /// Give it a new disk with the content of this image, which is sent through CDI's upload proxy
    ///
    /// raw and qcow2 go as they are; VMDK, VHD, VHDX, VDI, qcow2 with a backing file, and the disk of
    /// an OVA, an OVF or a VMX with one, are converted on the way. The disk is as large as the
    /// image's guest sees it. Where it fails or is interrupted nothing of the machine stays.
    #[arg(long, value_name = "FILE", group = "source")]
    pub image_upload: Option<PathBuf>,

    /// Read the image as this format: raw, qcow2, vmdk, vhd, vhdx or vdi
    #[arg(long, value_name = "FORMAT", requires = "image_upload")]
    pub from_format: Option<ImageFormat>,

    /// Send the image to this upload proxy instead of the one that CDI names
    #[arg(long, value_name = "URL", requires = "image_upload")]
    pub upload_proxy_url: Option<String>,

    /// Reach the upload proxy this way: ingress (the address that CDI names), port-forward (a port of
    /// its pod, through the API server), or auto (the second where the first does not lead to it)
    #[arg(
        long,
        value_name = "WAY",
        default_value = "auto",
        value_parser = ["auto", "ingress", "port-forward"],
        requires = "image_upload",
        conflicts_with = "upload_proxy_url"
    )]
    pub transport: String,

    /// Believe an upload proxy for which the authorities in this file of PEM vouch, instead of those
    /// that CDI names
    #[arg(long, value_name = "FILE", requires = "image_upload")]
    pub upload_proxy_ca: Option<PathBuf>,

    /// Believe any upload proxy
    #[arg(long, requires = "image_upload")]
    pub insecure: bool,

    /// Keep its new disk in this storage class
    #[arg(long, value_name = "NAME", conflicts_with_all = ["container_disk", "datavolume"])]
    pub storage_class: Option<String>,

    /// Give it the size of this instancetype, of the namespace or of the whole cluster
    #[arg(long, value_name = "NAME")]
    pub instancetype: Option<String>,

    /// Give it the devices of this preference, of the namespace or of the whole cluster
    #[arg(long, value_name = "NAME")]
    pub preference: Option<String>,

    /// Let cloud-init have this file as user data
    #[arg(long, value_name = "FILE")]
    pub cloud_init: Option<PathBuf>,

    /// Let the keys in this file log in, through cloud-init; repeat it for several
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Vec<PathBuf>,

    /// Connect it to this network: on vSphere its name, in a cluster a NetworkAttachmentDefinition
    /// or the cluster's own (pod, which it has otherwise); repeat it for several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub network: Vec<String>,

    /// Give it a GPU or vGPU that nodes offer under this name; repeat it for several
    #[arg(long, value_name = "RESOURCE")]
    pub gpu: Vec<String>,

    /// Give it another device of its node, such as a USB one; repeat it for several
    #[arg(long, value_name = "RESOURCE")]
    pub host_device: Vec<String>,

    /// Say which system its guest is, such as debian11_64Guest (vSphere; otherGuest64 otherwise)
    #[arg(long, value_name = "ID")]
    pub guest_id: Option<String>,

    /// Put it into this folder: a name or a path (vSphere)
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<String>,

    /// Put it into this resource pool or cluster: a name or a path (vSphere)
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,

    /// Put its disk on this datastore: a name or a path (vSphere)
    #[arg(long, value_name = "DATASTORE")]
    pub datastore: Option<String>,

    /// Put it on this host (vSphere)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Label it; repeat it for several
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    pub label: Vec<(String, String)>,

    /// Make what is in this file of YAML or JSON; - is standard input
    #[arg(long, short, value_name = "FILE", conflicts_with_all = FROM_FLAGS)]
    pub file: Option<PathBuf>,

    /// Ask for everything on the terminal
    #[arg(long, conflicts_with = "file", conflicts_with_all = FROM_FLAGS)]
    pub interactive: bool,

    /// Switch it on
    #[arg(long)]
    pub start: bool,

    /// Wait until its disks are filled and, where it is switched on, until it runs
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: PatienceFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub progress: ProgressFlags,
}

/// The arguments that describe a machine.
const FROM_FLAGS: [&str; 22] = [
    "name",
    "cpus",
    "memory",
    "container_disk",
    "datavolume",
    "data_source",
    "template",
    "blank",
    "image_upload",
    "storage_class",
    "instancetype",
    "preference",
    "cloud_init",
    "ssh_key",
    "network",
    "gpu",
    "host_device",
    "guest_id",
    "folder",
    "pool",
    "datastore",
    "host",
];

/// A label and its value.
fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// The arguments of `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Wait until the guest's agent (VMware Tools) runs
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Switch off as by pulling the plug, without asking the guest
    #[arg(long)]
    pub force: bool,

    /// Let the guest have so long to shut down before it is switched off all the same, such as 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "force")]
    pub grace_period: Option<Duration>,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Restart as by the reset button, without asking the guest
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Wait until the machine is gone
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub yes: YesFlags,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `resize`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("size").required(true).multiple(true).args(["cpus", "memory"])))]
pub struct ResizeArgs {
    /// Give so many processors, as the guest counts them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub cpus: Option<u32>,

    /// Give so much memory, such as 8Gi
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<u64>,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Move to this host; a cluster chooses one where none is named
    #[arg(long, value_name = "HOST")]
    pub to_node: Option<String>,

    /// Move its disks to this datastore: a name or a path (vSphere)
    #[arg(long, value_name = "DATASTORE")]
    pub to_datastore: Option<String>,

    /// Where a machine cannot move while it runs, bind it to the host, stop it and start it there
    #[arg(long, requires = "to_node")]
    pub allow_cold: bool,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `network`.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Connect this card to this network; a card is its number from 1 on, its label or its hardware
    /// address; repeat it for several
    #[arg(long, value_name = "CARD=NETWORK", required = true, value_parser = parse_link)]
    pub set: Vec<Link>,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// A card and its network. Neither holds `=` in its name but the network may.
fn parse_link(text: &str) -> Result<Link, String> {
    match text.split_once('=') {
        Some((card, network)) if !card.is_empty() && !network.is_empty() => {
            Ok(Link { card: card.to_owned(), network: network.to_owned() })
        }
        _ => Err("write CARD=NETWORK".to_owned()),
    }
}

/// The arguments of `move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Put them into this resource pool, or that of this cluster: a name or a path
    #[arg(long, value_name = "POOL", required_unless_present = "folder")]
    pub pool: Option<String>,

    /// Put them into this folder: a name or a path
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<String>,

    #[command(flatten)]
    pub change: ChangeArgs,
}

/// What the verbs that change machines share.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Machines: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,

    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: PatienceFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub progress: ProgressFlags,
    // Last: its heading is that of all that follows.
    #[command(flatten)]
    pub choice: ChoiceFlags,
}

/// The size of a disk.
fn parse_disk(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("a disk of 0 bytes holds nothing".to_owned()),
        bytes => Ok(bytes),
    }
}

/// An amount of memory that a machine can have.
fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("a machine needs memory".to_owned()),
        bytes => Ok(bytes),
    }
}

impl VmArgs {
    /// The references as typed.
    pub fn references(&self) -> Vec<String> {
        match &self.verb {
            Verb::List(args) => args.places.clone(),
            Verb::Get(args) => args.vms.clone(),
            Verb::Create(args) => args.name.iter().cloned().collect(),
            Verb::Start(StartArgs { change, .. })
            | Verb::Stop(StopArgs { change, .. })
            | Verb::Restart(RestartArgs { change, .. })
            | Verb::Pause(change)
            | Verb::Unpause(change)
            | Verb::Delete(DeleteArgs { change, .. })
            | Verb::Resize(ResizeArgs { change, .. })
            | Verb::Migrate(MigrateArgs { change, .. })
            | Verb::Network(NetworkArgs { change, .. })
            | Verb::Move(MoveArgs { change, .. }) => change.vms.clone(),
        }
    }
}
