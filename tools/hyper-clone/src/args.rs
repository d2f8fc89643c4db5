//! What `hyper clone` takes.

use std::net::IpAddr;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use hyper_common::tool::flags::{
    CustomizeFlags, DryRunFlags, OutputFlags, ProgressFlags, ReferenceFlags, TimeoutFlags,
};

/// The arguments of `hyper clone`.
///
/// Everything is looked at before anything is made: sources, snapshots, places, names. A clone that
/// is there and was made of the same source is reported as `exists` and left alone, so that a run
/// that was interrupted can be run again; any other machine of its name is an error.
///
/// On vSphere the clone is full unless `--linked` is given. In a cluster with KubeVirt it is in the
/// namespace of its source, or in the one that its name says: as NAMESPACE/NAME. Into another namespace
/// the source's disks are exported and imported by the cluster itself, so that the source must be off,
/// or a snapshot of it named; its network cards get other addresses.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// The machine or template to clone: NAME, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "SOURCE", required_unless_present = "bulk")]
    pub source: Option<String>,

    /// The name of the clone; NAMESPACE/NAME in a cluster
    #[arg(value_name = "NAME", value_parser = Text::new(), required_unless_present_any = ["name", "bulk"])]
    pub target: Option<String>,

    /// Name clones so: web-{n:02} stands for web-01, web-02, ...; {source} is the source's name
    #[arg(long, value_name = "PATTERN", value_parser = Text::new(), conflicts_with = "target")]
    pub name: Option<String>,

    /// Make so many, numbered from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), requires = "name")]
    pub count: Option<u32>,

    /// Make those of this file: YAML or JSON with `clones`, CSV, or JSON records; - is standard
    /// input
    ///
    /// Each has source_vm and target_name, and may have power_on, resource_pool, target_folder,
    /// datastore, host, linked_clone, instant_clone, snapshot, customize, hostname and ip; what it
    /// does not say is as the flags say.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "target", "name", "count"])]
    pub bulk: Option<String>,

    /// Clone this snapshot of the source: its name, or @ID
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Option<String>,

    /// Share the disks of a snapshot with the source instead of copying them (vSphere)
    #[arg(long)]
    pub linked: bool,

    /// Take the snapshot that linked clones need; it stays with the source
    #[arg(long, requires = "linked", conflicts_with = "snapshot")]
    pub make_snapshot: bool,

    /// Let clones go on where their source, which runs, is: they share its memory and disks, and run
    /// (vSphere)
    #[arg(long)]
    pub instant: bool,

    #[command(flatten)]
    pub customize: CustomizeFlags,

    /// Give the guest these addresses where the specification fixes them or leaves them open, in the
    /// order of its network cards
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', requires = "customize", conflicts_with_all = ["name", "bulk"])]
    pub ip: Vec<IpAddr>,

    /// Put clones into this folder: a name or a path (vSphere)
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<String>,

    /// Put clones into this resource pool or cluster: a name or a path (vSphere)
    #[arg(long, value_name = "POOL")]
    pub pool: Option<String>,

    /// Put the disks of clones on this datastore: a name or a path (vSphere)
    #[arg(long, value_name = "DATASTORE")]
    pub datastore: Option<String>,

    /// Put clones on this host (vSphere)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Switch clones on, those that are there already as well
    #[arg(long)]
    pub power_on: bool,

    /// Wait until the guest's agent (VMware Tools) runs
    #[arg(long, requires = "power_on")]
    pub wait: bool,

    /// Make at most so many at a time
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_concurrent: u32,

    /// Make what can be made although others cannot; without it one that cannot keeps all from being
    /// begun
    #[arg(long, conflicts_with_all = ["stop_on_error", "rollback"])]
    pub keep_going: bool,

    /// Begin no more clones once one has failed
    #[arg(long)]
    pub stop_on_error: bool,

    /// Remove what this run has made where anything fails, and begin no more
    #[arg(long)]
    pub rollback: bool,

    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub context: ReferenceFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub progress: ProgressFlags,
}
