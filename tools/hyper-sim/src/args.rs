//! What `hyper sim` takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hyper_common::time::parse_duration;
use hyper_common::tool::flags::{OutputFlags, TalkFlags};
use serde::Serialize;

use crate::kubevirt::args::KubevirtArgs;
use crate::rule::Rule;
use crate::vsphere::alarm::STATUSES;
use crate::vsphere::machine::Oddity;

/// The arguments of `hyper sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// What to simulate.
    #[command(subcommand)]
    pub platform: Platform,
}

/// What can be simulated.
#[derive(Debug, Subcommand)]
pub enum Platform {
    /// Simulate a vCenter or an ESXi host
    ///
    /// It runs until it is interrupted and prints the variables that govc, and hyper, take to
    /// reach it. Machines can be listed, switched on and off, cloned, given snapshots, exported and
    /// reached on their consoles.
    /// What clients change is forgotten at the end; image files are only read.
    Vsphere(Box<VsphereArgs>),
    /// Simulate KubeVirt in front of a real Kubernetes API server
    ///
    /// It starts etcd and kube-apiserver, defines KubeVirt's resources there and does what its
    /// controllers would do. It prints a kubeconfig for kubectl, and hyper, and runs until it is
    /// interrupted; then nothing is left. Machines can be made, started, stopped, moved between
    /// nodes and reached on their consoles; image files are only read.
    Kubevirt(Box<KubevirtArgs>),
}

/// The arguments of `vsphere`.
#[derive(Debug, Args)]
pub struct VsphereArgs {
    /// Listen on this address; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Speak HTTP instead of HTTPS
    #[arg(long)]
    pub plain: bool,

    /// Be a single ESXi host instead of a vCenter
    #[arg(long)]
    pub esx: bool,

    /// Accept this user
    #[arg(long, value_name = "NAME", default_value = "user")]
    pub user: String,

    /// Accept this password
    #[arg(long, value_name = "TEXT", default_value = "pass")]
    pub password: String,

    /// Have this machine, with image files as its disks, such as prod/web01=a.qcow2,b.raw
    #[arg(long = "vm", value_name = "NAME=FILE,…", value_parser = machine)]
    pub machines: Vec<MachineArg>,

    /// Have so many machines with small generated disks
    #[arg(long, value_name = "N")]
    pub vms: Option<u32>,

    /// Have this machine run
    #[arg(long, value_name = "NAME")]
    pub running: Vec<String>,

    /// Give this machine UEFI firmware, with =secure Secure Boot, with =tpm a virtual TPM as well
    #[arg(long, value_name = "NAME[=KIND]", value_parser = efi)]
    pub efi: Vec<EfiArg>,

    /// Give this machine a serial line that is a port of this host
    #[arg(long, value_name = "NAME")]
    pub serial: Vec<String>,

    /// Take the space of disks beforehand instead of as it is written
    #[arg(long)]
    pub thick: bool,

    /// Make the disks of a machine independent, rdm, shared or encrypted
    #[arg(long, value_name = "NAME=KIND", value_parser = oddity)]
    pub odd: Vec<OddArg>,

    /// Have so many events in the history
    #[arg(long, value_name = "N", default_value = "0")]
    pub events: u32,

    /// Add so many events to it at once, each second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub event_rate: Option<u32>,

    /// Have an alarm triggered on this machine: red or yellow, noted by USER
    #[arg(long, value_name = "NAME=COLOUR[:USER]", value_parser = alarm)]
    pub alarm: Vec<AlarmArg>,

    /// End a login that was not used for so long
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    pub session_timeout: Duration,

    /// End a lease that made no progress for so long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub lease_timeout: Duration,

    /// Send at most so many objects in a page
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    pub page_size: u32,

    /// Offer no checksums of what was exported
    #[arg(long)]
    pub no_manifest: bool,

    /// Send clients to this host for disks
    #[arg(long, value_name = "HOST", default_value = "*")]
    pub nfc_host: String,

    /// Refuse to send more disks than this at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub nfc_streams: Option<u32>,

    /// Let something go wrong: op=OP,object=TEXT,skip=N,max=N and what happens
    ///
    /// OP is a SOAP method, nfc, folder, screen, ticket for a screen that opens, lease for becoming
    /// ready (which takes a delay alone), task for the work of one (which takes a delay or a fault),
    /// or merge for the disks of a removed snapshot (which takes a fault alone); without it the rule
    /// is for all of them. TEXT is part of the object's id, of the file's name, or of the name of a
    /// clone that a task makes.
    /// The first N that match pass with skip, and at most N are hit with max. What happens:
    /// delay=TIME, late=TIME (a method is done and answered later), status=N with
    /// retry-after=SECONDS, fault=NAME, cut=BYTES (the connection breaks), short=BYTES (the body ends as if whole),
    /// corrupt=BYTE, expire (the login ends), lose (all leases end), whole (a range is ignored).
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<Rule>,

    /// Format of what is printed.
    #[command(flatten)]
    pub output: OutputFlags,

    /// Talk.
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// A machine and its image files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineArg {
    /// Folders and name.
    pub path: Vec<String>,
    /// The image files.
    pub files: Vec<PathBuf>,
}

/// Parses a machine and its files.
///
/// # Errors
/// What is wrong, in words.
pub fn machine(text: &str) -> Result<MachineArg, String> {
    let (path, files) = text.split_once('=').ok_or("give NAME=FILE")?;
    let path: Vec<String> = path.split('/').map(str::to_owned).collect();
    let files: Vec<PathBuf> = files.split(',').map(PathBuf::from).collect();
    if path.iter().any(String::is_empty) || files.iter().any(|file| file.as_os_str().is_empty()) {
        return Err("a name or a file is empty".to_owned());
    }
    Ok(MachineArg { path, files })
}

/// A machine with UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EfiArg {
    /// The machine's name.
    pub name: String,
    /// Whether Secure Boot is on.
    pub secure: bool,
    /// Whether it has a virtual TPM.
    pub tpm: bool,
}

fn efi(text: &str) -> Result<EfiArg, String> {
    let (name, kind) = text.split_once('=').map_or((text, None), |(a, b)| (a, Some(b)));
    let (secure, tpm) = match kind {
        None => (false, false),
        Some("secure") => (true, false),
        Some("tpm") => (true, true),
        Some(_) => return Err("KIND is secure or tpm".to_owned()),
    };
    Ok(EfiArg { name: name.to_owned(), secure, tpm })
}

/// A machine that an alarm is triggered on.
#[derive(Debug, Clone, Serialize)]
pub struct AlarmArg {
    /// The machine's name.
    pub name: String,
    /// How bad it is.
    pub status: &'static str,
    /// Who has taken note of it.
    pub by: Option<String>,
}

fn alarm(text: &str) -> Result<AlarmArg, String> {
    let (name, rest) = text.split_once('=').ok_or("give NAME=COLOUR")?;
    let (word, by) = rest.split_once(':').map_or((rest, None), |(word, by)| (word, Some(by)));
    let status = STATUSES.into_iter().find(|known| *known == word);
    let status = status.ok_or_else(|| format!("COLOUR is {}", STATUSES.join(" or ")))?;
    Ok(AlarmArg { name: name.to_owned(), status, by: by.map(str::to_owned) })
}

/// A machine and what is odd about its disks.
#[derive(Debug, Clone, Serialize)]
pub struct OddArg {
    /// The machine's name.
    pub name: String,
    /// What is odd.
    #[serde(skip)]
    pub kind: Oddity,
}

fn oddity(text: &str) -> Result<OddArg, String> {
    let (name, word) = text.split_once('=').ok_or("give NAME=KIND")?;
    let found = Oddity::ALL.iter().find(|(known, _)| *known == word);
    let (_, kind) = found.ok_or("KIND is independent, rdm, shared or encrypted")?;
    Ok(OddArg { name: name.to_owned(), kind: *kind })
}
