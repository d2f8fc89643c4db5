//! What `hyper sim kubevirt` takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hyper_common::time::parse_duration;
use hyper_common::tool::flags::{OutputFlags, TalkFlags};

use super::crds::Release;
use crate::args::{MachineArg, machine};
use crate::rule::Rule;

/// The arguments of `kubevirt`.
#[derive(Debug, Args)]
pub struct KubevirtArgs {
    /// Listen on this address; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Start this etcd; else HYPER_TB_ETCD, or the one on PATH
    #[arg(long, value_name = "FILE")]
    pub etcd: Option<PathBuf>,

    /// Start this kube-apiserver; else HYPER_TB_KUBE_APISERVER, or the one on PATH
    #[arg(long, value_name = "FILE")]
    pub apiserver: Option<PathBuf>,

    /// Start no servers, but stand in front of the cluster of this kubeconfig
    #[arg(long, value_name = "FILE", conflicts_with_all = ["etcd", "apiserver"])]
    pub kubeconfig: Option<PathBuf>,

    /// Serve the API of this release
    #[arg(long, value_name = "RELEASE", default_value = "1.9")]
    pub kubevirt_version: Release,

    /// Take the definitions of resources from the files of this folder, as far as it has them
    #[arg(long, value_name = "DIR")]
    pub crds: Option<PathBuf>,

    /// Call the contexts of the printed kubeconfig by this name
    #[arg(long, value_name = "NAME", default_value = "hyper-sim")]
    pub name: String,

    /// Have this machine, with image files as its disks, such as prod/web01=a.qcow2,b.raw
    ///
    /// What stands before the slash is the namespace. Without a file the disk is a small one that
    /// comes out of a container image.
    #[arg(long = "vm", value_name = "NAME[=FILE,…]", value_parser = optional_machine)]
    pub machines: Vec<MachineArg>,

    /// Have so many small machines
    #[arg(long, value_name = "N")]
    pub vms: Option<u32>,

    /// Have this machine run
    #[arg(long, value_name = "NAME")]
    pub running: Vec<String>,

    /// Have no guest agent in this machine
    #[arg(long, value_name = "NAME")]
    pub no_agent: Vec<String>,

    /// Have a metrics server that measures what machines use
    #[arg(long)]
    pub metrics: bool,

    /// Take so long for each step of an operation
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    pub pace: Duration,

    /// Let something go wrong: op=OP,object=TEXT,skip=N,max=N and what happens
    ///
    /// OP is list, watch, get, create, update, patch, delete or discovery for requests that the
    /// API server answers; log, console, vnc, vnc/screenshot, start, stop and the like for those
    /// that KubeVirt does; export, upload; controller (delay alone), and schedule, migration,
    /// datavolume, snapshot, restore or clone, which fail with fault=WORDS; links, for exports that
    /// offer the form fault=FORM alone. TEXT is part of the path, or of resource/namespace/name. The first N that match pass with skip, and at most N are hit
    /// with max. What happens: delay=TIME, status=N with retry-after=SECONDS, expire (401),
    /// cut=BYTES (the connection breaks), short=BYTES (the body ends as if whole), corrupt=BYTE,
    /// lose (the server of an export is gone for a while), whole (a range is ignored). While it
    /// runs it takes a rule more for each POST of one to /hyper-sim/faults.
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<Rule>,

    /// Format of what is printed.
    #[command(flatten)]
    pub output: OutputFlags,

    /// Talk.
    #[command(flatten)]
    pub talk: TalkFlags,
}

fn optional_machine(text: &str) -> Result<MachineArg, String> {
    let found = match text.contains('=') {
        true => machine(text)?,
        false => {
            MachineArg { path: text.split('/').map(str::to_owned).collect(), files: Vec::new() }
        }
    };
    let plain = |it: &String| {
        !it.is_empty()
            && it.len() < 64
            && it.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !it.starts_with('-')
            && !it.ends_with('-')
    };
    match found.path.len() <= 2 && found.path.iter().all(plain) {
        true => Ok(found),
        false => Err("give NAME or NAMESPACE/NAME, of small letters, digits and -".to_owned()),
    }
}
