//! What was asked for, checked.

use hyper_common::error::{Error, Result};
use serde::Serialize;

use super::args::KubevirtArgs;
use crate::args::MachineArg;
use crate::request::generated_name;
use crate::rule::Rule;

/// Operations that fail with words of their own.
const WORDS: [&str; 6] = ["schedule", "migration", "datavolume", "snapshot", "restore", "clone"];

/// A KubeVirt to simulate.
#[derive(Debug, Serialize)]
pub struct Kubevirt {
    /// What was typed, but for what follows.
    #[serde(skip)]
    pub args: KubevirtArgs,
    /// Machines of their own.
    pub machines: Vec<MachineArg>,
    /// The names of generated machines.
    pub generated: Vec<String>,
    /// Rules.
    pub faults: Vec<Rule>,
}

impl Kubevirt {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `Usage` for machines that are not there or twice, and for rules that could do nothing.
    pub fn new(mut args: KubevirtArgs) -> Result<Self> {
        let machines = std::mem::take(&mut args.machines);
        let faults = std::mem::take(&mut args.faults);
        let generated = (1..=args.vms.unwrap_or(0)).map(generated_name).collect();
        let kubevirt = Self { args, machines, generated, faults };
        kubevirt.check()?;
        Ok(kubevirt)
    }

    fn check(&self) -> Result<()> {
        let mut paths: Vec<String> = self.machines.iter().map(|it| it.path.join("/")).collect();
        paths.extend(self.generated.iter().cloned());
        paths.sort();
        if let Some([name, _]) = paths.array_windows().find(|[a, b]| a == b) {
            return Err(Error::usage("two machines have this name").with_subject(name));
        }
        for name in self.args.running.iter().chain(&self.args.no_agent) {
            if !self.machines.iter().any(|it| it.path.last() == Some(name)) {
                return Err(Error::usage("there is no such machine")
                    .with_subject(name)
                    .with_hint("name it with --vm; the machines of --vms do not run"));
            }
        }
        for rule in &self.faults {
            let op = rule.op.as_deref().unwrap_or_default();
            if rule.action.fault.is_some() && !WORDS.contains(&op) {
                return Err(Error::usage("fault=WORDS needs an operation that can fail by words")
                    .with_hint(format!("op is one of {}", WORDS.join(", "))));
            }
        }
        Ok(())
    }
}
