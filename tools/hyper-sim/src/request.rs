//! What was asked for, checked.

use hyper_common::error::{Error, Result};
use serde::Serialize;

use crate::args::{MachineArg, OddArg, Platform, SimArgs, VsphereArgs};
use crate::kubevirt::request::Kubevirt;
use crate::rule::Rule;
use crate::vsphere::http::made_fault;

/// A checked request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Simulate vSphere.
    Vsphere(Box<Vsphere>),
    /// Simulate KubeVirt.
    Kubevirt(Box<Kubevirt>),
}

/// A vSphere to simulate.
#[derive(Debug, Serialize)]
pub struct Vsphere {
    /// What was typed, but for what follows.
    #[serde(skip)]
    pub args: VsphereArgs,
    /// Machines with image files.
    pub machines: Vec<MachineArg>,
    /// How many generated machines.
    pub generated: Generated,
    /// Rules.
    pub faults: Vec<Rule>,
}

/// Which machines are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Generated {
    /// A few that show what there is.
    Sample,
    /// So many of a kind.
    Many(u32),
}

impl Request {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `Usage` for machines that are not there or twice, and for unknown faults.
    pub fn new(args: SimArgs) -> Result<Self> {
        let mut args = match args.platform {
            Platform::Vsphere(args) => args,
            Platform::Kubevirt(args) => {
                return Ok(Self::Kubevirt(Box::new(Kubevirt::new(*args)?)));
            }
        };
        let machines = std::mem::take(&mut args.machines);
        let faults = std::mem::take(&mut args.faults);
        let generated = match args.vms {
            Some(count) => Generated::Many(count),
            None if machines.is_empty() => Generated::Sample,
            None => Generated::Many(0),
        };
        let vsphere = Vsphere { args: *args, machines, generated, faults };
        vsphere.check()?;
        Ok(Self::Vsphere(Box::new(vsphere)))
    }
}

impl Vsphere {
    fn check(&self) -> Result<()> {
        let mut names = self.names();
        names.sort();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(Error::usage("two machines have this name").with_subject(name));
        }
        let args = &self.args;
        let odd = args.odd.iter().map(|OddArg { name, .. }| name);
        let efi = args.efi.iter().map(|efi| &efi.name);
        let alarms = args.alarm.iter().map(|alarm| &alarm.name);
        let named = args.running.iter().chain(&args.serial);
        for name in named.chain(efi).chain(odd).chain(alarms) {
            if names.binary_search(name).is_err() {
                return Err(Error::usage("there is no such machine").with_subject(name));
            }
        }
        if args.esx && !args.alarm.is_empty() {
            return Err(Error::usage("a single host has no alarms"));
        }
        if args.esx && self.machines.iter().any(|machine| machine.path.len() > 1) {
            return Err(Error::usage("a single host has no folders for machines"));
        }
        let named = self.faults.iter().filter_map(|rule| rule.action.fault.as_deref());
        for name in named {
            if made_fault(name).is_none() {
                return Err(Error::usage("there is no fault that can be asked for by this name")
                    .with_subject(name)
                    .with_hint("such as NoPermission, HostNotConnected or InvalidState"));
            }
        }
        Ok(())
    }

    /// The names of all machines.
    pub fn names(&self) -> Vec<String> {
        let own = self.machines.iter().filter_map(|machine| machine.path.last().cloned());
        let generated: Vec<String> = match self.generated {
            Generated::Sample => SAMPLE.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Generated::Many(count) => (1..=count).map(generated_name).collect(),
        };
        own.chain(generated).collect()
    }
}

/// The machines that are there when none were asked for: name and number of disks.
pub const SAMPLE: [(&str, u32); 3] = [("web01", 1), ("db01", 2), ("app01", 1)];

/// The name of a generated machine.
pub fn generated_name(number: u32) -> String {
    format!("vm-{number:05}")
}
